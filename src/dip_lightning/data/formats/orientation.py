"""Turning pictures upright, and saying in their metadata that they are."""

import re
import struct
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORIENTATION", "orientation_of_exif", "orientation_of_xmp", "turned", "upright_exif", "upright_xmp"]

ORIENTATION = 0x0112  # a tag of EXIF and of TIFF

# What each value of the orientation tag asks for, as an operation on rows and columns.
_UPRIGHT: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.swapaxes(a, 0, 1)[:, ::-1],
    7: lambda a: np.swapaxes(a, 0, 1)[::-1, ::-1],
    8: lambda a: np.swapaxes(a, 0, 1)[::-1],
}

_IN_XMP = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>\s*))([2-8])""")


def turned(samples: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Turn (H, W) or (H, W, C) upright; a value that is not from 2 to 8 asks for nothing."""
    return _UPRIGHT[orientation](samples) if orientation in _UPRIGHT else samples


def orientation_of_exif(exif: bytes) -> int:
    """Return the orientation that EXIF tells, 1 where it tells none or cannot be read.

    Args:
        exif: From the byte order on, or with ``Exif`` and two zeros before it.
    """
    place = _find(exif)
    return 1 if place is None else int.from_bytes(exif[place[0] : place[0] + 2], place[1])


def upright_exif(exif: bytes) -> bytes:
    """Return EXIF that says that the picture is upright.

    Two bytes are changed, all else stays where it is: notes of camera makers point into it.
    """
    place = _find(exif)
    if place is None:
        return exif
    at, order = place
    return exif[:at] + (1).to_bytes(2, order) + exif[at + 2 :]


def orientation_of_xmp(xmp: bytes) -> int:
    """Return the orientation that XMP tells, 1 where it tells none."""
    found = _IN_XMP.search(xmp)
    return int(found[2]) if found else 1


def upright_xmp(xmp: bytes) -> bytes:
    """Return XMP of the same length that says that the picture is upright."""
    return _IN_XMP.sub(rb"\g<1>1", xmp)


def _find(exif: bytes) -> "tuple[int, Literal['little', 'big']] | None":
    """Return where the value of the orientation tag stands, and the byte order; None where there is none."""
    start = 6 if exif[:6] == b"Exif\0\0" else 0
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[start : start + 4])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, start + 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start + directory)
        for entry in range(start + directory + 2, start + directory + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag == ORIENTATION and kind == 3 and number == 1:
                return entry + 8, "little" if order == "<" else "big"
    except struct.error:  # it is cut
        return None
    return None
