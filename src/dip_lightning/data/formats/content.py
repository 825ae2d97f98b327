"""What a file is, told by its first bytes, never by its name."""

from pathlib import Path

from dip_lightning.errors import UserError

__all__ = ["FORMATS", "format_of", "raw_file"]

FORMATS = "a PNG, JPEG, TIFF, WebP, BMP, NumPy (.npy) or FITS image"

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: beyond 4 GB

# Raw files of cameras that are no TIFF, by where their mark stands (LibRaw's identify.cpp).
_RAW = (
    (0, b"FUJIFILMCCD-RAW"),
    (0, b"IIRO"),
    (0, b"IIRS"),
    (0, b"MMOR"),
    (0, b"IIU\0"),
    (0, b"FOVb"),
    (0, b"\0MRM"),
    (4, b"ftypcrx"),
    (6, b"HEAPCCDR"),
)

# What people have, and is not read: by its mark, with its name.
_OTHERS = (
    (0, b"GIF8", "a GIF"),
    (4, b"ftyphei", "an HEIF (HEIC)"),
    (4, b"ftypmif1", "an HEIF (HEIC)"),
    (4, b"ftypavif", "an AVIF"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"v/1\x01", "an OpenEXR"),
    (0, b"#?RADIANCE", "a Radiance HDR"),
    (0, b"8BPS", "a Photoshop"),
    (0, b"PK\x03\x04", "a ZIP (.npz, say)"),
    (0, b"\x89HDF", "an HDF5"),
)


def format_of(path: Path) -> str | None:
    """Return the name of a file's format as ``Picture.format`` has it; None for one that is not known.

    Raises:
        UserError: It is a raw file of a camera, or of a format that is known and not read.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(32)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:4] in _TIFF:
        if head[8:10] == b"CR":  # Canon's CR2: a TIFF whose first page is a preview
            raise raw_file(path)
        return "TIFF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM":
        return "BMP"
    if head[:6] == b"\x93NUMPY":
        return "NPY"
    if head[:9] == b"SIMPLE  =":
        return "FITS"
    if any(head[at : at + len(mark)] == mark for at, mark in _RAW):
        raise raw_file(path)
    for at, mark, name in _OTHERS:
        if head[at : at + len(mark)] == mark:
            raise UserError(f"{path} is {name} file, which is no image that can be read", FORMATS, "convert it first")
    return None


def raw_file(path: Path) -> UserError:
    """Return the refusal of a raw file, of which only the small preview could be shown."""
    return UserError(
        f"{path} is a raw file of a camera",
        "a developed picture; the preview in it is not taken for one",
        "develop it first, as a TIFF of 16 bits (with darktable, RawTherapee or dcraw -T -4)",
    )
