"""BMP: through Pillow, but for 32 bits a pixel, whose masks and fourth byte it does not hand on."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dip_lightning.data.formats import flat
from dip_lightning.data.picture import LARGEST_AREA, Picture, picture_from_array
from dip_lightning.errors import UserError

__all__ = ["read", "write"]

_INCH = 0.0254  # metres
_RGB, _BITFIELDS, _ALPHA_BITFIELDS = 0, 3, 6
_USUAL = (0x00FF0000, 0x0000FF00, 0x000000FF)  # the masks of red, green and blue where a file names none
_PROFILE, _SRGB = b"DEBM", b"BGRs"  # kinds of colour space in a header of version 5


def read(path: Path, page: int) -> Picture:
    """Read a BMP.

    Raises:
        UserError: It is of a kind that is not handled, or a page but the first is asked for.
        Exception: The file is damaged; what is raised depends on where.
    """
    flat.check_page(path, page, 1)
    data = path.read_bytes()
    metadata: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    size = int.from_bytes(data[14:18], "little")
    if size >= 124 and data[70:74] == _PROFILE:
        start, length = struct.unpack_from("<II", data, 126)
        metadata["icc_profile"] = data[14 + start : 14 + start + length]
    if size >= 40 and int.from_bytes(data[28:30], "little") == 32:
        samples, alpha = _read_32_bits(path, data, size)
        dots = struct.unpack_from("<ii", data, 38)
        if all(dots):
            metadata["dpi"] = tuple(value * _INCH for value in dots)
        spare: dict[str, Any] = {} if alpha else {"order": (0, 1, 2, 3), "others": samples[:, :, 3:]}
        return picture_from_array(
            samples if alpha else samples[:, :, :3], file_format="BMP", metadata=metadata, alpha=alpha, **spare
        )
    with Image.open(path, formats=["BMP"]) as image:
        samples, alpha, palette = flat.decode(path, image)
        if image.info.get("dpi") and all(image.info["dpi"]):
            metadata["dpi"] = image.info["dpi"]
    if metadata.get("icc_profile") and (palette or samples.ndim == 2):
        del metadata["icc_profile"]
        notes = ("its colour profile is left out",)
    return picture_from_array(samples, file_format="BMP", palette=palette, metadata=metadata, alpha=alpha, notes=notes)


def _read_32_bits(path: Path, data: bytes, size: int) -> tuple[NDArray[np.uint8], bool]:
    """Return (H, W, 4), red, green, blue and a fourth, and whether that is alpha."""
    width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    top_down, height = height < 0, abs(height)
    if width < 1 or height < 1:
        raise ValueError(f"{width}x{height} pixels")
    if width * height > LARGEST_AREA:
        raise UserError(
            f"{path} of {height}x{width} pixels",
            "an image of less than 178 megapixels",
            "crop it beforehand",
        )
    masks, alpha = _USUAL, 0
    if compression in (_BITFIELDS, _ALPHA_BITFIELDS):
        masks = struct.unpack_from("<III", data, 54)  # within the header or behind it, at the same place
        if size >= 56 or compression == _ALPHA_BITFIELDS:
            (alpha,) = struct.unpack_from("<I", data, 66)
    elif compression != _RGB:
        raise UserError(f"{path} is a compressed BMP of 32 bits", "one that is not compressed", "convert it to PNG")
    unused = 0xFFFFFFFF ^ masks[0] ^ masks[1] ^ masks[2]
    fourth = alpha or unused
    if any(mask not in (0xFF, 0xFF00, 0xFF0000, 0xFF000000) for mask in (*masks, fourth)) or fourth != unused:
        told = ", ".join(f"{mask:08x}" for mask in (*masks, alpha))
        raise UserError(f"{path} is a BMP with the masks {told}", "8 bits a sample", "convert it to PNG first")
    pixels = np.frombuffer(data, "<u4", width * height, int.from_bytes(data[10:14], "little")).reshape(height, width)
    samples = np.stack([(pixels // (mask & -mask)).astype(np.uint8) for mask in (*masks, fourth)], axis=2)
    return samples if top_down else samples[::-1], alpha != 0


def write(path: Path, picture: Picture) -> None:
    """Write a picture of 1 or 3 bands, uint8; with alpha, a fourth byte or a colour profile as other programs do."""
    samples, metadata = picture.interleaved(), picture.metadata
    profile = metadata.get("icc_profile", b"")
    dots = metadata.get("dpi")
    if samples.shape[2] == 1 or picture.palette or (samples.shape[2] == 3 and not profile):
        options = {} if dots is None else {"dpi": dots}
        flat.encode(samples, picture.palette).save(path, "BMP", **options)
        return
    height, width, count = samples.shape
    alpha = picture.alpha is not None
    per_metre = (0, 0) if dots is None else tuple(round(float(value) / _INCH) for value in dots)
    order = [2, 1, 0, 3][:count]
    rows = np.zeros((height, -(-width * count // 4) * 4), np.uint8)
    rows[:, : width * count] = samples[::-1, :, order].reshape(height, -1)
    full = alpha or profile
    header = struct.pack(
        "<IiiHHIIiiII",
        124 if full else 40, width, height, 1, 8 * count, _BITFIELDS if alpha else _RGB, rows.size, *per_metre, 0, 0,
    )  # fmt: skip
    if full:
        masks = (*_USUAL, 0xFF000000) if alpha else (0, 0, 0, 0)
        space = _PROFILE if profile else _SRGB
        where = (124 + rows.size, len(profile)) if profile else (0, 0)
        header += struct.pack("<IIII4s48xIIII", *masks, space, 4, *where, 0)
    offset = 14 + len(header)
    body = header + rows.tobytes() + profile
    path.write_bytes(struct.pack("<2sIHHI", b"BM", 14 + len(body), 0, 0, offset) + body)
