"""What a file is, told by its first bytes, never by its name."""

from pathlib import Path

from dip_lightning.errors import UserError

__all__ = ["FORMATS", "format_of", "raw_file"]

FORMATS = "a PNG, JPEG, TIFF, WebP, BMP, NumPy (.npy) or FITS image"

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: beyond 4 GB

# What is read, by where its mark stands.
_READ = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
    (0, b"\x93NUMPY", "NPY"),
    (0, b"SIMPLE  =", "FITS"),
)

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
    if head[:4] in _TIFF and head[4:12] != b"\x10\0\0\0CR\2\0":  # Canon's CR2 is a TIFF that begins with a preview
        return "TIFF"
    for at, mark, name in _READ:
        if head[at : at + len(mark)] == mark and (name != "WEBP" or head[:4] == b"RIFF"):
            return name
    if head[:4] in _TIFF or any(head[at : at + len(mark)] == mark for at, mark in _RAW):
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
