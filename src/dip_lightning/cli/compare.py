"""The command ``dip-compare``: how good a restored picture is, and whether what was removed was noise or picture."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dip_lightning.cli.one_line import OneLineParser, errors_in_one_line
from dip_lightning.config.paths import expand_home
from dip_lightning.data.image_io import read_image
from dip_lightning.data.own_range import find_range, range_of_clean
from dip_lightning.data.picture import Picture
from dip_lightning.data.value_range import ValueRange
from dip_lightning.data.whiteness import REACH, measure_whiteness
from dip_lightning.errors import UserError
from dip_lightning.runs.figures import draw_comparison

__all__ = ["main", "psnr_ssim"]

# Side of the window of the structural similarity (Wang et al., 2004, as scikit-image has it).
_SSIM_WINDOW = 7


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
    parser = OneLineParser(
        prog="dip-compare",
        description="Compare a restored picture with its clean one: PSNR, SSIM, and whether what was removed, and the "
        "error that is left, is white as noise from pixel to pixel is.",
    )
    parser.add_argument("restored", type=expand_home, help="the restored picture")
    parser.add_argument("clean", nargs="?", type=expand_home, help="its clean picture, if there is one")
    noisy, out = "the picture that was restored: shows what was removed from it", "the pictures and their differences"
    parser.add_argument("--noisy", type=expand_home, help=noisy)
    parser.add_argument("--out", type=lambda name: Path(expand_home(name)), help=f"write {out} side by side (PNG)")
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
    pictures = {name: read_image(path) for name, path in paths.items() if path is not None}
    fitted_name, scale = _range_of_fit(pictures)
    fitted = replace(pictures[fitted_name], scale=scale)
    images = {name: range_of_clean(fitted, one).to_unit(one.filled()) for name, one in pictures.items()}
    shapes = {name: image.shape for name, image in images.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {h}x{w} with {c} channel{'s' * (c > 1)}" for name, (h, w, c) in shapes.items())
        raise UserError(f"pictures that differ ({told})", "the same size and channels", "name the pictures of one run")
    console = Console(emoji=False)
    if scale != fitted.limits:
        console.print(f"Black and white are {scale.low:g} and {scale.high:g}, the range of {fitted_name}.")
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
            f"neighbours {white.neighbours:+.3f}, within {REACH} pixels {white.rms:.3f} (chance {white.chance:.3f})",
            soft_wrap=True,
            highlight=False,
        )
    if out is not None:
        draw_comparison(out, images | {title: _shown(difference) for title, difference in differences.items()})
        console.print(f"Written: {out}", soft_wrap=True, highlight=False, markup=False)


def _range_of_fit(pictures: dict[str, Picture]) -> tuple[str, ValueRange]:
    """Return the range that a picture was fitted in, and which picture tells: the one that was fitted, if it is given.

    Of the restored and the clean one it is the wider: what is restored may just fall short of where a range ends.
    """
    first = next(iter(pictures))
    if first == "noisy":
        return first, find_range(pictures[first])
    ranges = {name: find_range(one) for name, one in pictures.items() if one.limits == pictures[first].limits}
    widest = max(ranges, key=lambda name: ranges[name].span)
    return widest, ranges[widest]


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
