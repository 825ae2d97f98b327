"""Where restored pictures differ from the clean one: by spatial frequency, and at edges, in texture and in flat parts.

For finished runs of one picture, by `restored.png` in their run folders:

    python benchmarks/where_errors_lie.py CLEAN RUN... [--crop SIDE] [--out errors.csv]

A run is NAME=FOLDER or FOLDER; runs of one name are averaged. Frequencies are rings of the two-dimensional Fourier
transform, in cycles a pixel; the squared error of each is told relative to the squared noise of the observation there,
in dB, so that 0 dB means that nothing was gained. Edges are the tenth of the pixels where the clean picture's gradient
is the largest; of the others, texture is the half with the larger standard deviation in 5x5 pixels, flat the rest; of
these the PSNR is told.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude, uniform_filter

from arguments import mistakes_told
from dip_lightning.data.cropping import crop_picture
from dip_lightning.data.image_io import read_image
from dip_lightning.errors import UserError

Pixels = NDArray[np.float64]
# Rings of frequencies, in cycles a pixel; the last one has the corners.
RINGS = ((0.0, 1 / 32), (1 / 32, 1 / 16), (1 / 16, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1.0))
EDGES = 0.1


def main() -> None:
    """Measure each run, and write a line for each name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clean", type=Path, help="the clean picture")
    parser.add_argument("runs", nargs="+", help="run folders, or NAME=FOLDER")
    parser.add_argument("--crop", type=int, help="side of the central part that was fitted")
    parser.add_argument("--out", type=Path, default=Path("outputs/errors.csv"))
    arguments = parser.parse_args()
    picture = read_image(arguments.clean)
    clean = (picture if arguments.crop is None else crop_picture(picture, arguments.crop)).to_unit()
    measured: dict[str, list[dict[str, float]]] = defaultdict(list)
    for run in arguments.runs:
        name, _, folder = run.rpartition("=")
        measured[name or Path(folder).name].append(measure(Path(folder), clean))
    columns = list(next(iter(measured.values()))[0])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["setting", "runs", *columns])
        for name, runs in measured.items():
            row = [name, len(runs), *(f"{np.mean([run[key] for run in runs]):.2f}" for key in columns)]
            writer.writerow(row)
            print("  ".join(map(str, row)))


def measure(folder: Path, clean: Pixels) -> dict[str, float]:
    """Return the figures of a run, by column.

    Args:
        folder: Its run folder.
        clean: The clean picture, (H, W, C).
    """
    restored, noisy = (_read(folder / f"{name}.png") for name in ("restored", "observation"))
    if restored.shape != clean.shape:
        told = f"{folder} of {restored.shape[1]}x{restored.shape[0]} pixels"
        raise UserError(told, f"{clean.shape[1]}x{clean.shape[0]}, as the clean picture", "try --crop")
    error, noise = restored - clean, noisy - clean
    return {"PSNR": _psnr(error)} | _by_frequency(error, noise) | _by_region(error, clean)


def _by_frequency(error: Pixels, noise: Pixels) -> dict[str, float]:
    height, width = error.shape[:2]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    power = [np.square(np.abs(np.fft.fft2(values, axes=(0, 1)))).sum(axis=2) for values in (error, noise)]
    rings = {f"{low:.3g} to {high:.3g}": (radius >= low) & (radius < high) for low, high in RINGS}
    return {name: float(10 * np.log10(power[0][ring].sum() / power[1][ring].sum())) for name, ring in rings.items()}


def _by_region(error: Pixels, clean: Pixels) -> dict[str, float]:
    grey = clean.mean(axis=2)
    slope = gaussian_gradient_magnitude(grey, 1.0)
    edges = slope >= np.quantile(slope, 1 - EDGES)
    spread = uniform_filter(np.square(grey), 5) - np.square(uniform_filter(grey, 5))
    texture = ~edges & (spread > np.median(spread[~edges]))
    regions = {"edges": edges, "texture": texture, "flat": ~(edges | texture)}
    return {name: _psnr(error[where]) for name, where in regions.items()}


def _psnr(error: Pixels) -> float:
    return float(-10 * np.log10(np.square(error).mean())) if error.size else float("nan")


def _read(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), np.float64) / 255


if __name__ == "__main__":
    with mistakes_told():
        main()
