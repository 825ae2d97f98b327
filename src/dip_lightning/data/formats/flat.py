"""What Pillow decodes, as samples: grey, RGB and palettes of 8 bits, with or without alpha."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dip_lightning.errors import UserError

__all__ = ["decode", "encode", "frame_of"]

# What Pillow's modes mean, those that are not handled.
_KINDS = {"1": "black and white (1 bit)", "I": "32-bit integers", "F": "32-bit floats", "CMYK": "inks (CMYK)"}


def decode(path: Path, image: Image.Image) -> tuple[NDArray[Any], bool, bool]:
    """Decode an image that Pillow has opened.

    Args:
        path: The file, for messages.
        image: As it was opened, at the frame that is wanted.

    Returns:
        (H, W) or (H, W, C) uint8, alpha last; whether the last is alpha; whether it was indices into a palette.

    Raises:
        UserError: It is neither grey nor RGB.
    """
    image.load()
    transparent = "transparency" in image.info
    palette = image.mode == "P" and not transparent
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if transparent or image.mode == "PA" else "RGB")
    elif transparent and image.mode in ("L", "RGB"):
        image = image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        kind = _KINDS.get(image.mode, f"mode {image.mode}")
        raise UserError(f"{path} is of {kind}", "grey, RGB or a palette", "convert it first")
    return np.asarray(image), image.mode in ("LA", "RGBA"), palette


def encode(samples: NDArray[Any], palette: bool = False) -> Image.Image:
    """Return (H, W, C) uint8, C = 1 to 4, as an image of Pillow's; of a palette 256 colours, chosen anew."""
    image = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    return image.quantize(256, dither=Image.Dither.NONE) if palette and samples.shape[2] == 3 else image


def frame_of(path: Path, image: Image.Image, page: int) -> int:
    """Go to a frame of an image that Pillow has opened, and return how many it has.

    Raises:
        UserError: There is no such frame.
    """
    frames = int(getattr(image, "n_frames", 1))
    check_page(path, page, frames)
    if page:
        image.seek(page)
    return frames


def check_page(path: Path, page: int, pages: int) -> None:
    """Check that a file has a page.

    Raises:
        UserError: It has not.
    """
    if page >= pages:
        only = "page 0 alone" if pages == 1 else f"one of its pages, 0 to {pages - 1}"
        raise UserError(f"image.page={page} of {path}", only, "try image.page=0")
