"""A compressed picture's own bounds, of a file or of one that is made."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.cropping import box_of
from dip_lightning.data.degradation import DefaultNoise, Degradation, JpegCompression
from dip_lightning.data.jpeg_grid import JpegGrid, read_grid
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError

__all__ = ["grid_of"]


def grid_of(
    path: str | Path | NDArray[np.generic],
    whole: Picture,
    exact: NDArray[np.float64],
    degradation: Degradation | DefaultNoise,
    crop: int | Sequence[int] | None,
    align: int,
) -> JpegGrid:
    """Return what is known of the part that is fitted.

    Args:
        path: What the picture was read from.
        whole: What was read.
        exact: The picture that is compressed, (H, W, C), where ``degradation`` does so.
        degradation: What is done to it.
        crop: The part.
        align: What its corner is a multiple of.

    Raises:
        UserError: It is no JPEG, or one that is not handled.
    """
    if isinstance(degradation, JpegCompression):
        if exact.shape[2] not in (1, 3):
            raise UserError(f"problem=dejpeg of {exact.shape[2]} channels", "grey or colour", "try image.bands=[0]")
        return read_grid(degradation.encode(exact), "what is made")
    if not isinstance(path, (str, Path)) or not Path(path).is_file():
        raise UserError("problem=dejpeg of what is no file", "a JPEG", "try image.path=photo.jpg, or degradation=jpeg")
    box = box_of(whole.height, whole.width, crop, align)
    if box[2:] != exact.shape[:2]:
        raise UserError("problem=dejpeg with image.size", "the blocks as they are in the file", "try image.crop")
    grid = read_grid(Path(path), str(path))
    if len(grid.planes) != exact.shape[2]:
        raise UserError("problem=dejpeg of some of the bands", "all of them", "leave image.bands and image.page out")
    return grid.cropped(*box)
