"""How well the noise of a picture is told from the picture alone.

Of photographs: each is a pair of files in one folder, `NAME_real.png` and `NAME_mean.png`; their difference is the true
noise. Of noise that is made, on three of scikit-image's pictures: white, blurred, behind a colour filter array and
demosaiced bilinearly, after JPEG of quality 75 and 95, resized, and demosaiced with JPEG of quality 92 behind it.

    python benchmarks/noise_estimate.py [PHOTOS] [--out FOLDER]

Writes `estimate.csv` into the folder; seconds.
"""

import argparse
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter
from skimage.transform import resize

from dip_lightning.data.noise_model import estimate_model

Pixels = NDArray[np.float64]

COLUMNS = (
    "picture",
    "noise",
    "side",
    "true",
    "estimated",
    "true correlation",
    "correlation",
    "within 15%",
    "within 0.1",
)
SIGMA, SEED = 15, 0


def main() -> None:
    """Estimate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="folder with NAME_real.png and NAME_mean.png")
    parser.add_argument("--out", type=Path, default=Path("outputs/noise-estimate"))
    arguments = parser.parse_args()
    rows = [] if arguments.photos is None else list(of_photographs(arguments.photos.expanduser()))
    rows += of_made_noise()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "estimate.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    for row in rows:
        print(*row, sep=", ")


def of_photographs(folder: Path) -> Iterator[list[str]]:
    """Yield a row of each photograph: of its central 256x256 pixels, and of the whole."""
    for path in sorted(folder.glob("*_real.*")):
        noisy, clean = (read(one) for one in (path, path.with_name(path.name.replace("_real", "_mean"))))
        whole = min(noisy.shape[:2])
        for side in sorted({min(whole, 256), whole}):
            yield row_of(path.stem.removesuffix("_real"), "a camera's", central(noisy, side), central(clean, side))


def of_made_noise() -> Iterator[list[str]]:
    """Yield a row of each picture and each kind of noise."""
    for name in ("coffee", "astronaut", "chelsea"):
        clean = central(getattr(skimage.data, name)() / 255, 256)
        for kind, make in MADE.items():
            noisy, reference = make(clean, np.random.default_rng(SEED))
            yield row_of(name, kind, noisy, reference)


def row_of(name: str, kind: str, noisy: Pixels, clean: Pixels) -> list[str]:
    """Return a row of the table."""
    noise = noisy - clean
    true, variance = 255 * float(noise.std()), float(noise.var())
    shared = [float((noise[:, 1:] * noise[:, :-1]).mean()), float((noise[1:] * noise[:-1]).mean())]
    correlation = sum(shared) / 2 / variance
    model = estimate_model(np.clip(noisy, 0, 1))
    good = (abs(model.level / true - 1) <= 0.15, abs(model.neighbours - correlation) <= 0.1)
    figures = (f"{true:.2f}", f"{model.level:.2f}", f"{correlation:.2f}", f"{model.neighbours:.2f}")
    return [name, kind, str(len(noisy)), *figures, *("yes" if one else "no" for one in good)]


def white(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """White noise."""
    return clean + rng.normal(0, SIGMA / 255, clean.shape), clean


def blurred(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """White noise that was blurred by a Gaussian of one pixel."""
    return clean + gaussian_filter(rng.normal(0, 2 * SIGMA / 255, clean.shape), (1, 1, 0)), clean


def demosaiced(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """White noise on a mosaic, interpolated bilinearly; against the same without noise."""
    raw = rng.normal(0, SIGMA / 255, clean.shape[:2])
    red, blue = np.zeros_like(raw), np.zeros_like(raw)
    red[::2, ::2], blue[1::2, 1::2] = 1, 1
    masks = np.stack([red, 1 - red - blue, blue], axis=2)
    kernels = (np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4, np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4)

    def interpolated(mosaic: Pixels) -> Pixels:
        order = (kernels[0], kernels[1], kernels[0])
        return np.stack([convolve(mosaic * masks[..., c], order[c], mode="mirror") for c in range(3)], axis=2)

    seen = (clean * masks).sum(axis=2)
    return interpolated(seen + raw), interpolated(seen)


def compressed(quality: int) -> Callable[[Pixels, np.random.Generator], tuple[Pixels, Pixels]]:
    """White noise, then JPEG; against the picture itself."""

    def make(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        return _through_jpeg(white(clean, rng)[0], quality), clean

    return make


def _through_jpeg(image: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray((255 * image).clip(0, 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float64) / 255


def photographed(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """White noise on a mosaic, interpolated, then JPEG of quality 92: a phone's picture; against it without both."""
    noisy, reference = demosaiced(clean, rng)
    return _through_jpeg(noisy, 92), reference


def resized(clean: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """White noise, then enlarged by a half with cubic interpolation; against the same without noise."""
    side = 3 * len(clean) // 2
    return resize(white(clean, rng)[0], (side, side), order=3), resize(clean, (side, side), order=3)


MADE = {
    "white": white,
    "blurred": blurred,
    "demosaiced": demosaiced,
    "JPEG 95": compressed(95),
    "JPEG 75": compressed(75),
    "resized": resized,
    "photograph": photographed,
}


def read(path: Path) -> Pixels:
    """Read a file as (H, W, 3) in [0, 1]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float64) / 255


def central(image: Pixels, side: int) -> Pixels:
    """Return the central square."""
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


if __name__ == "__main__":
    main()
