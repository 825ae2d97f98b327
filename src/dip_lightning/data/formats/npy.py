"""NumPy's ``.npy``: one array, which is a picture, a picture of several bands, or a stack of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dip_lightning.data.formats.flat import check_page
from dip_lightning.data.picture import LARGEST_AREA, Picture, picture_from_array
from dip_lightning.errors import UserError
from dip_lightning.names import counted

__all__ = ["read", "write"]

# As many of the last axis are taken for the bands of a pixel; more are columns.
_MOST_BANDS = 4


def read(path: Path, page: int) -> Picture:
    """Read a page of an array (H, W), (H, W, C), (N, H, W), (N, H, W, C) or of more axes before these.

    Raises:
        UserError: There is no such page, or it is of a kind that is not handled.
        Exception: The file is damaged; what is raised depends on where.
    """
    try:
        whole = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" not in str(error):
            raise
        raise UserError(f"{path} holds Python objects", "an array of numbers", "save its samples alone") from None
    shape, dtype = whole.shape, whole.dtype
    fortran = whole.flags.f_contiguous and not whole.flags.c_contiguous
    if len(shape) < 2 or 0 in shape:
        told = "x".join(map(str, shape)) or "one number"
        raise UserError(
            f"{path} holds an array of shape {told}", "(H, W), (H, W, C) or (N, H, W)", "rearrange its axes"
        )
    banded = len(shape) >= 3 and shape[-1] <= _MOST_BANDS
    axes = 3 if banded else 2
    lead = shape[: len(shape) - axes]
    pages = int(np.prod(lead, dtype=np.int64))
    check_page(path, page, pages)
    picture = shape[len(lead) :]
    if picture[0] * picture[1] > LARGEST_AREA:
        raise UserError(
            f"{path} of {picture[0]}x{picture[1]} pixels",
            "an image of less than 178 megapixels",
            "crop it beforehand",
        )
    samples = whole[np.unravel_index(page, lead)] if lead else whole
    notes = []
    if banded:
        bands = f"{shape[-1]} bands" if shape[-1] > 1 else "one band"
        notes.append(f"its axes {'x'.join(map(str, shape))} are taken for {bands} of {picture[0]}x{picture[1]} pixels")
    elif lead:
        notes.append(
            f"its axes {'x'.join(map(str, shape))} are taken for {counted(pages, 'page')} of "
            f"{picture[0]}x{picture[1]} pixels"
        )
    stored = {"dtype": dtype, "fortran": fortran, "lead": lead, "banded": banded}
    return picture_from_array(
        samples,
        file_format="NPY",
        metadata={"npy": stored},
        alpha=False,
        page=page,
        pages=pages,
        notes=tuple(notes),
    )


def write(path: Path, pictures: Sequence[Picture]) -> None:
    """Write one picture, or all pages of a stack, with the type, the byte order and the axes that were read."""
    stored: dict[str, Any] = pictures[0].metadata.get("npy", {})
    arrays = [picture.interleaved() for picture in pictures]
    if not stored.get("banded", arrays[0].shape[2] > 1):
        arrays = [array[:, :, 0] for array in arrays]
    whole = arrays[0] if len(arrays) == 1 else np.stack(arrays)
    if len(arrays) == pictures[0].pages:
        whole = whole.reshape(*stored.get("lead", ()), *arrays[0].shape)
    whole = whole.astype(stored.get("dtype", whole.dtype), copy=False)
    with path.open("wb") as file:  # np.save would add a suffix to the name of a part
        np.save(file, np.asfortranarray(whole) if stored.get("fortran") else whole)
