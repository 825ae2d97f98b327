"""Holes in a picture: which pixels of it are lost, as a mask or its own transparency says."""

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dip_lightning.data.image_io import read_image
from dip_lightning.data.picture import Picture, picture_from_array
from dip_lightning.errors import UserError
from dip_lightning.names import counted

__all__ = ["pasted_pixels", "with_holes"]

# Samples of a mask that are neither black nor white by more than this share of white are told.
_BETWEEN = 0.02


def with_holes(picture: Picture, mask: str | None) -> Picture:
    """Take out of a picture what is lost.

    Args:
        picture: The whole picture.
        mask: An image file of its size, white where a pixel is known and black where it is lost; ``"alpha"`` for what
            is wholly transparent, and what comes out is opaque; None for what the picture says itself.

    Raises:
        UserError: The mask has another size or another kind, or nothing is lost, or everything.
    """
    told: tuple[str, ...] = ()
    if mask is None:
        if picture.known is None:
            raise UserError("a picture without lost samples", "a mask", "try problem.mask=mask.png, white is known")
        return picture
    if mask == "alpha":
        if picture.alpha is None:
            raise UserError(
                "problem.mask=alpha of an opaque picture", "transparent pixels", "try problem.mask=mask.png"
            )
        known, told = picture.alpha > 0, ()
        picture = replace(picture, alpha=None, associated=0)
    else:
        known, told = _read_mask(mask, picture)
    share = known.mean()
    if share in (0, 1):
        what = "without a hole: all of it is known" if share else "in which nothing is known"
        expected = "white where a pixel is known, and black where it is lost"
        raise UserError(f"problem.mask={mask} {what}", expected, "paint the holes black")
    both = known[:, :, None] if picture.known is None else picture.known & known[:, :, None]
    return replace(picture, known=np.broadcast_to(both, picture.samples.shape).copy(), notes=(*picture.notes, *told))


def _read_mask(name: str, picture: Picture) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return which pixels are known, (H, W), and what is to be told."""
    asked = f"problem.mask={name}"
    mask = _read_one_bit(name) or read_image(name)
    if (mask.height, mask.width) != (picture.height, picture.width):
        expected = f"{picture.height}x{picture.width} pixels, as the picture"
        raise UserError(f"{asked} of {mask.height}x{mask.width} pixels", expected, "make it as large")
    planes = mask.filled()
    if (planes != planes[:, :, :1]).any():
        raise UserError(f"{asked} in colour", "black and white", "save it as a grey picture")
    samples = planes[:, :, 0].astype(np.float64)
    kind = planes.dtype
    # Of files with one bit or 0 and 1 as well as of 8 and 16 bits: what is as bright as it gets is white.
    white = float(samples.max())
    if kind.kind == "u" and white > 1:
        white = float(np.iinfo(kind).max)
    if white <= 0:
        return np.zeros(samples.shape, bool), ()
    level = samples / white
    between = int(np.count_nonzero((level > _BETWEEN) & (level < 1 - _BETWEEN)))
    pixels = f"{counted(between, 'pixel')} of the mask {'is' if between == 1 else 'are'}"
    told = (f"{pixels} neither black nor white: known are those above half",) if between else ()
    return level > 0.5, told


def _read_one_bit(name: str) -> Picture | None:
    """A mask of one bit a pixel, as many programs write them; None for any other, also for one that cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(name) as file:
                return picture_from_array(np.asarray(file.convert("L"))) if file.mode == "1" else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def pasted_pixels(
    noisy: NDArray[np.float64], known: NDArray[np.bool_], paste: bool | None
) -> NDArray[np.float64] | None:
    """Return what may be handed back as it was observed, (H, W, C), NaN elsewhere; None for nothing.

    Args:
        noisy: The observation, (H, W, C).
        known: Which samples of it were measured, likewise.
        paste: Whether these are handed back as they were; None where they are nearer than the restored ones.
    """
    if paste is False:
        return None
    pasted: NDArray[np.float64] = np.where(known, noisy, np.nan)
    return pasted
