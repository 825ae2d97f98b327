"""The command ``dip-compare``: how good a restored picture is, and whether what was removed was noise or picture."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dip_lightning.cli.one_line import errors_in_one_line
from dip_lightning.data.image_io import read_image
from dip_lightning.errors import UserError
from dip_lightning.runs.figures import draw_comparison

__all__ = ["Whiteness", "main", "measure_whiteness", "psnr_ssim"]

# How far apart, in pixels, two samples of a residual may be for their correlation to count.
_REACH = 3
# A correlation of neighbours below this is taken for none, even where more pixels would tell it from chance.
_NEGLIGIBLE = 0.05
# Side of the window of the structural similarity (Wang et al., 2004, as scikit-image has it).
_SSIM_WINDOW = 7


@dataclass(frozen=True)
class Whiteness:
    """How much the samples of a residual tell about their neighbours; those of white noise tell nothing.

    Attributes:
        neighbours: Mean correlation of horizontal and vertical neighbours, in [-1, 1].
        rms: Root mean square of the correlations at all distances up to three pixels in both directions.
        empty: Whether there is no residual at all.
        chance: The standard deviation that the correlation of white noise has, 1/√(number of samples).
    """

    neighbours: float
    rms: float
    chance: float
    empty: bool = False

    @property
    def verdict(self) -> str:
        """What the figures say, in words."""
        if self.empty:
            return "nothing"
        if self.rms <= max(_NEGLIGIBLE, 3 * self.chance):
            return "white, as noise from pixel to pixel is"
        if self.neighbours > 0:
            return "not white, neighbours are alike: picture, or noise that neighbours share"
        return "not white, neighbours differ more than by chance"


def measure_whiteness(residual: NDArray[np.floating]) -> Whiteness:
    """Measure the autocorrelation of a residual, each channel apart, its mean removed.

    Args:
        residual: (H, W, C), of any range.

    Returns:
        The correlations, means over the channels; all 0 for a residual without variation.
    """
    height, width, channels = residual.shape
    centred = residual - residual.mean(axis=(0, 1))
    variance = float(np.square(centred).mean())
    chance = 1 / np.sqrt(height * width * channels)
    if variance < 1e-20:
        return Whiteness(0.0, 0.0, chance, empty=True)
    correlations = {}
    for down in range(min(_REACH, height - 1) + 1):
        for right in range(-min(_REACH, width - 1), min(_REACH, width - 1) + 1):
            if (down, right) > (0, 0):  # half of the plane: the other half is its mirror image
                upper = centred[: height - down, max(0, -right) : width - max(0, right)]
                lower = centred[down:, max(0, right) : width - max(0, -right)]
                correlations[down, right] = float((upper * lower).mean()) / variance
    nearest = [correlations[lag] for lag in ((0, 1), (1, 0)) if lag in correlations]
    return Whiteness(
        float(np.mean(nearest)) if nearest else 0.0,
        float(np.sqrt(np.mean(np.square(list(correlations.values()))))) if correlations else 0.0,
        float(chance),
    )


def psnr_ssim(image: NDArray[np.floating], clean: NDArray[np.floating]) -> tuple[float, float]:
    """Measure PSNR in dB and structural similarity in [-1, 1]; both images (H, W, C) in [0, 1].

    Images of less than seven pixels on a side have no structural similarity: NaN.
    """
    with np.errstate(divide="ignore"):  # equal images: infinite
        quality = float(peak_signal_noise_ratio(clean, image, data_range=1.0))  # type: ignore[no-untyped-call]
    if min(image.shape[:2]) < _SSIM_WINDOW:
        return quality, float("nan")
    return quality, float(structural_similarity(clean, image, data_range=1.0, channel_axis=-1))  # type: ignore[no-untyped-call]


def main() -> NoReturn:
    """Run the command line.

    Raises:
        SystemExit: 0 after a comparison, 2 for a mistake of the user.
    """
    parser = argparse.ArgumentParser(
        prog="dip-compare",
        description="Compare a restored picture with its clean one: PSNR, SSIM, and whether what was removed, and the "
        "error that is left, is white as noise from pixel to pixel is.",
    )
    parser.add_argument("restored", help="the restored picture")
    parser.add_argument("clean", nargs="?", help="its clean picture, if there is one")
    parser.add_argument("--noisy", help="the picture that was restored: shows what was removed from it")
    parser.add_argument("--out", type=Path, help="write the pictures and their differences side by side (PNG)")
    with errors_in_one_line("dip-compare"):
        options = parser.parse_args()
        _compare(options.restored, options.clean, options.noisy, options.out)
    sys.exit(0)


def _compare(restored: str, clean: str | None, noisy: str | None, out: Path | None) -> None:
    if clean is None and noisy is None:
        raise UserError("one picture", "a clean picture, or --noisy", f"try dip-compare {restored} clean.png")
    if out is not None and (out.suffix.lower() != ".png" or not out.parent.is_dir()):
        raise UserError(f"--out {out}", "a name that ends in .png, in a folder that exists", "try --out figure.png")
    paths = {"noisy": noisy, "restored": restored, "clean": clean}
    images = {name: read_image(path).to_unit() for name, path in paths.items() if path is not None}
    shapes = {name: image.shape for name, image in images.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {h}x{w} with {c} channel{'s' * (c > 1)}" for name, (h, w, c) in shapes.items())
        raise UserError(f"pictures that differ ({told})", "the same size and channels", "name the pictures of one run")
    console = Console(emoji=False)
    if clean is not None:
        console.print(_table({name: images[name] for name in ("noisy", "restored") if name in images}, images["clean"]))
    differences = {}
    if noisy is not None:
        differences["removed (noisy - restored)"] = images["noisy"] - images["restored"]
    if clean is not None:
        differences["error (restored - clean)"] = images["restored"] - images["clean"]
    for title, difference in differences.items():
        white = measure_whiteness(difference)
        console.print(
            f"{title}: {white.verdict}. RMS {255 * np.sqrt(np.square(difference).mean()):.2f} of 255; correlation of "
            f"neighbours {white.neighbours:+.3f}, within {_REACH} pixels {white.rms:.3f} (chance {white.chance:.3f})",
            soft_wrap=True,
            highlight=False,
        )
    if out is not None:
        draw_comparison(out, images | {title: _shown(difference) for title, difference in differences.items()})
        console.print(f"Written: {out}", soft_wrap=True, highlight=False, markup=False)


def _table(images: dict[str, NDArray[np.floating]], clean: NDArray[np.floating]) -> Table:
    """PSNR and SSIM of each image."""
    table = Table()
    for title in ("", "PSNR (dB)", "SSIM"):
        table.add_column(title, justify="right" if title else "left")
    for name, image in images.items():
        quality, similarity = psnr_ssim(image, clean)
        table.add_row(name, f"{quality:.2f}", "too small" if np.isnan(similarity) else f"{similarity:.4f}")
    return table


def _shown(difference: NDArray[np.floating]) -> NDArray[np.floating]:
    """Map a difference to [0, 1]: grey where there is none, three standard deviations to black or white."""
    shown: NDArray[np.floating] = np.clip(0.5 + difference / max(6 * float(difference.std()), 1e-6), 0, 1)
    return shown
