"""What raises the peak of a fit whose noise neighbours share: ways to fit a photograph, against fitting it as it is.

Each photograph is a pair of files in one folder, `NAME_real.png` and `NAME_mean.png`, as for `real_photographs.py`;
without a folder pairs are made of two of scikit-image's pictures. Of the central part each way is fitted by itself,
with the U-net of 32 channels, and the best averaged output is held against the clean picture.

    python benchmarks/photograph_peaks.py [PHOTOS] [--only WORD,...] [--side 128] [--iterations 1500] [--out FOLDER]

Fits that are in the table already are passed over. Writes `peaks.csv` into the folder.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dip_lightning import restore
from dip_lightning.data.noise_model import NoiseModel, estimate_model
from dip_lightning.models import UNet
from fitted_tables import read_central, write_table
from real_photographs import make_pairs

COLUMNS = ("photograph", "way", "peak averaged", "at", "peak one-pass", "averaged at the end", "seconds each")

# Brightness and two colours, orthonormal: squared errors of the three add up to those of red, green and blue.
_OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])
# Of noise that is whitened: what the spectrum keeps at least of its mean, so that no frequency counts without bounds.
_FLOOR = 0.05
# Blocks that are hidden in an iteration: their side in pixels, and how many of them.
_BLOCK, _HIDDEN = 8, 0.1


class Interleaved(nn.Module):
    """A network on the sub-pictures of every second pixel, in one batch; their outputs are put together again."""

    def __init__(self, network: nn.Module, stride: int = 2) -> None:
        """Take the network of the sub-pictures."""
        super().__init__()
        self.network, self.stride = network, stride

    def forward(self, z: Tensor) -> Tensor:
        """Return (1, C, H, W) for z of (1, D, H, W)."""
        parts = (
            F.pixel_unshuffle(z, self.stride).unflatten(1, (z.shape[1], self.stride**2)).transpose(1, 2).flatten(0, 1)
        )
        outputs = self.network(parts).unflatten(0, (1, self.stride**2)).transpose(1, 2).flatten(1, 2)
        return F.pixel_shuffle(outputs, self.stride)


class Hidden:
    """The squared error of all pixels but some blocks, others in each iteration."""

    def __init__(self) -> None:
        """Draw from one seed."""
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, prediction: Tensor, observation: Tensor) -> Tensor:
        """Return the error a sample; 0 where it is hidden, the others weigh more instead."""
        rows, columns = (-(-side // _BLOCK) for side in observation.shape[-2:])
        shown = (torch.rand((1, 1, rows, columns), generator=self.generator) >= _HIDDEN).to(prediction)
        shown = shown.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)
        shown = shown[..., : observation.shape[-2], : observation.shape[-1]]
        return (prediction - observation) ** 2 * (shown / shown.mean())


class Whitened:
    """The squared error of what is left, whitened: by the spectrum of the noise, by what colours share, or by both."""

    mixes_samples = True

    def __init__(self, noise: NoiseModel, *, spectrum: bool, colours: bool) -> None:
        """Take the noise of a picture."""
        self.noise, self.spectrum = noise, spectrum
        values, vectors = np.linalg.eigh(noise.colors)
        root = vectors / np.sqrt(np.maximum(values, _FLOOR)) @ vectors.T
        self.mixing = torch.from_numpy(root if colours else np.eye(len(root))).float()

    def __call__(self, prediction: Tensor, observation: Tensor) -> Tensor:
        """Return the error a sample."""
        left = (prediction - observation).float()
        if self.spectrum and not self.noise.is_white:
            height, width = left.shape[-2:]
            kernel = np.zeros((height, width))
            reach = len(self.noise.autocorrelation) // 2
            offsets = np.arange(-reach, reach + 1)
            np.add.at(kernel, np.ix_(offsets % height, offsets % width), self.noise.autocorrelation)
            power = np.maximum(np.fft.rfft2(kernel).real, _FLOOR)
            gain = torch.from_numpy(1 / np.sqrt(power)).float()
            left = torch.fft.irfft2(torch.fft.rfft2(left) * gain, (height, width))
        return torch.einsum("dc,nchw->ndhw", self.mixing, left) ** 2


def main() -> None:
    """Fit what is missing, and write the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="folder with NAME_real.png and NAME_mean.png")
    parser.add_argument("--only", default="", help="those whose name has one of these words in it, with commas between")
    parser.add_argument("--side", type=int, default=128, help="side of the central part, in pixels")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("outputs/photograph-peaks"))
    arguments = parser.parse_args()
    photos = (arguments.photos or make_pairs(arguments.out / "made")).expanduser()
    table = arguments.out / "peaks.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8"))) if table.exists() else []
    done = {(row["photograph"], row["way"]) for row in rows}
    for file in sorted(photos.glob("*_real.*")):
        name = file.stem.removesuffix("_real")
        if not any(word.strip() in name for word in arguments.only.split(",")):
            continue
        noisy, clean = (
            read_central(path, arguments.side) for path in (file, file.with_name(file.name.replace("_real", "_mean")))
        )
        for way, fit in _ways(noisy, clean, arguments.iterations):
            if (name, way) in done:
                continue
            rows.append({"photograph": name, "way": way, **fit()})
            write_table(rows, table, COLUMNS)
            print(*rows[-1].values(), flush=True)


def _ways(
    noisy: NDArray[np.float64], clean: NDArray[np.float64], iterations: int
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Each way to fit a picture, by its name."""
    noise = estimate_model(noisy)

    def fitted(**settings: Any) -> dict[str, Any]:
        return _row(_curves(noisy, clean, iterations, **settings))

    yield "as it is", fitted
    yield "sub-pictures of stride 2", lambda: fitted(model=Interleaved(_network(3)))
    yield "blocks hidden anew", lambda: fitted(data_term=Hidden())
    yield "both", lambda: fitted(model=Interleaved(_network(3)), data_term=Hidden())
    yield "whitened by spectrum and colours", lambda: fitted(data_term=Whitened(noise, spectrum=True, colours=True))
    yield "whitened by colours", lambda: fitted(data_term=Whitened(noise, spectrum=False, colours=True))
    yield "brightness and colours apart", lambda: _row(_apart(noisy, clean, iterations))


def _network(channels: int) -> UNet:
    torch.manual_seed(0)
    return UNet(channels=32, output_channels=channels)


def _curves(noisy: NDArray[np.float64], clean: NDArray[np.float64], iterations: int, **settings: Any) -> dict[str, Any]:
    """Fit, and return the curves and the seconds of an iteration."""
    settings = {"model": _network(noisy.shape[2]), "stopping": "none", "optimizer": "adam", **settings}
    result = restore(noisy, clean=clean, iterations=iterations, **settings)
    return {**result.curves, "seconds each": result.summary["seconds_per_iteration"]}


def _apart(noisy: NDArray[np.float64], clean: NDArray[np.float64], iterations: int) -> dict[str, Any]:
    """Fit brightness and the two colours each by itself, and put the squared errors together."""
    errors: dict[str, Any] = {"psnr_averaged": 0, "psnr_one_pass": 0, "seconds each": 0}
    # Each within [0, 1], by a shift and a scale of its own.
    for channels, shift, scale in ((slice(0, 1), 0.0, np.sqrt(3)), (slice(1, 3), 1.0, 2.0)):
        pair = [((picture @ _OPPONENT.T)[:, :, channels] + shift) / scale for picture in (noisy, clean)]
        curves = _curves(pair[0].clip(0, 1), pair[1].clip(0, 1), iterations)
        for name in ("psnr_averaged", "psnr_one_pass"):
            errors[name] += 10 ** (-curves[name] / 10) * scale**2 * pair[0].shape[2] / 3
        errors["seconds each"] += curves["seconds each"]
    return {name: values if name == "seconds each" else -10 * np.log10(values) for name, values in errors.items()}


def _row(curves: dict[str, Any]) -> dict[str, Any]:
    averaged = curves["psnr_averaged"]
    return {
        "peak averaged": f"{averaged.max():.2f}",
        "at": int(averaged.argmax()),
        "peak one-pass": f"{curves['psnr_one_pass'].max():.2f}",
        "averaged at the end": f"{averaged[-1]:.2f}",
        "seconds each": f"{curves['seconds each']:.4f}",
    }


if __name__ == "__main__":
    main()
