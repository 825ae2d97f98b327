"""Reading and writing image files: what goes in comes out with the same size, type, bands and metadata."""

import errno
import glob
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dip_lightning.data.formats import bmp, fits, jpeg, npy, png, tiff, tiff_writer, webp
from dip_lightning.data.formats.content import FORMATS, format_of
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError

__all__ = ["STACKS", "SUFFIXES", "check_readable", "read_image", "write_image", "write_pages"]

# The formats that are read, and the file name suffix each is written with.
SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "NPY": ".npy",
    "FITS": ".fits",
}

_READERS: dict[str, Callable[[Path, int], Picture]] = {
    "PNG": png.read,
    "JPEG": jpeg.read,
    "TIFF": tiff.read,
    "WEBP": webp.read,
    "BMP": bmp.read,
    "NPY": npy.read,
    "FITS": fits.read,
}
_WRITERS: dict[str, Callable[[Path, Picture], None]] = {
    "PNG": png.write,
    "JPEG": jpeg.write,
    "WEBP": webp.write,
    "BMP": bmp.write,
}
# Formats of which all pages can be written into one file.
STACKS: dict[str, Callable[[Path, Sequence[Picture]], None]] = {
    "TIFF": tiff_writer.write,
    "NPY": npy.write,
    "FITS": fits.write,
}

# What decoders warn of is silenced for the whole process; two threads that did so at once would leave it silenced.
_silence = threading.Lock()


def read_image(path: str | Path, page: int | None = None) -> Picture:
    """Read an image file: any integers or floats, any number of bands, with or without alpha; turned upright.

    Args:
        path: A PNG, JPEG, TIFF, WebP, BMP, NumPy or FITS file; what it is is told by its content, not by its name.
        page: Which page, frame or plane of a file with several, from 0; None for the first.

    Returns:
        The picture, with all that :func:`write_image` needs to write one like it.

    Raises:
        UserError: There is no such file or page, it is no image, or of a kind that is not handled.
    """
    path = Path(path)
    try:
        with _silence, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a picture that is read is read
            file_format = format_of(path)
            if file_format is None:
                raise UnidentifiedImageError
            picture = _READERS[file_format](path, page or 0)
    except Exception as error:  # of a damaged file decoders raise whatever they stumble over
        raise _told(path, error) from None
    return replace(picture, notes=(*_page_note(picture, page), *picture.notes))


def check_readable(path: str | Path) -> None:
    """Check that a file is there and is a picture by its first bytes, without reading it.

    Args:
        path: The file.

    Raises:
        UserError: As of :func:`read_image`, as far as it can be told.
    """
    path = Path(path)
    try:
        if format_of(path) is None:
            raise UnidentifiedImageError
    except (OSError, UserError) as error:
        raise _told(path, error) from None


def _told(path: Path, error: Exception) -> UserError:
    """Say in one line why a file cannot be read."""
    if isinstance(error, UserError):
        if str(path) in error.problem:
            return error
        return UserError(
            f"{path} holds {error.problem}", error.expected, error.remedy
        )  # it knows an array, and no file
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        loops = error.errno == errno.ELOOP
        problem = f"{path} is a link that leads back to itself" if loops else f"{path} has a name that is too long"
        return UserError(problem, FORMATS, "name the file itself" if loops else "rename it")
    crop = "crop it beforehand, in another program"
    lines = {
        FileNotFoundError: _of_missing(path),
        IsADirectoryError: (f"{path} is a folder", FORMATS, "name one file in it"),
        UnidentifiedImageError: (f"{path} is no image that can be read", FORMATS, "convert it to PNG first"),
        Image.DecompressionBombError: (f"{path} is too large{_megapixels(error)}", "less than 178 megapixels", crop),
        PermissionError: (f"{path} cannot be read", "a file that you may read", "check its permissions"),
        MemoryError: (f"{path} is too large for the memory", "a smaller image", crop),
    }
    for kind, line in lines.items():
        if isinstance(error, kind):
            return UserError(*line)
    cause = str(error) or type(error).__name__
    if "nsupported" in cause:
        return UserError(f"{path} is of a kind that is not handled ({cause})", FORMATS, "convert it first")
    return UserError(f"{path} is damaged ({cause})", f"a complete {FORMATS[2:]}", "get a fresh copy")


def _of_missing(path: Path) -> tuple[str, str, str]:
    if glob.has_magic(str(path)):
        expected = "one picture, or the folder of all: there are no patterns"
        return f"no file {path}", expected, f"try image.path={path.parent}/, or a loop of the shell"
    return f"no file {path}", FORMATS, "check the path, which starts at the current folder"


def _megapixels(error: Exception) -> str:
    """How large a decoder says that an image is."""
    found = re.search(r"(\d+) pixels", str(error))
    return "" if found is None else f" ({int(found[1]) / 1e6:.0f} megapixels)"


def _page_note(picture: Picture, page: int | None) -> tuple[str, ...]:
    """Say that a file has several pages, and where nobody has chosen one, how to."""
    if picture.pages == 1:
        return ()
    if page is not None:
        return (f"page {page} of {picture.pages}, from 0",)
    every = ", image.page=all restores every one" if picture.format in STACKS else ""
    return (f"the first of {picture.pages} pages: image.page= chooses another, from 0{every}",)


def write_image(path: str | Path, picture: Picture) -> None:
    """Write a picture in its own format, with its type, bits, bands, byte order and metadata.

    JPEG is written at quality 95 without colour subsampling; all others lose nothing. A palette is chosen anew for the
    picture, 256 colours without dithering.

    Args:
        path: The file; its suffix should be ``SUFFIXES[picture.format]``.
        picture: What to write; its format must be able to hold it.
    """
    path = Path(path)
    if picture.format in STACKS:
        STACKS[picture.format](path, [picture])
    else:
        _WRITERS[picture.format](path, picture)


def write_pages(path: str | Path, pictures: Sequence[Picture]) -> None:
    """Write all pages of a file, in its own format.

    Args:
        path: The file; its suffix should be ``SUFFIXES[pictures[0].format]``.
        pictures: The pages in their order, as many as the file had, of a format in ``STACKS``.
    """
    STACKS[pictures[0].format](Path(path), pictures)
