"""Reading and writing image files: what goes in comes out with the same size, mode and depth."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dip_lightning.data import high_bit_depth
from dip_lightning.data.picture import Picture, picture_from_array
from dip_lightning.errors import UserError

__all__ = ["SUFFIXES", "read_image", "write_image"]

# The formats that are read, and the file name suffix each is written with.
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp"}

_FORMATS = "a PNG, JPEG, TIFF, WebP or BMP image"
# What Pillow's modes mean, those that are not handled.
_KINDS = {"1": "black and white (1 bit)", "I": "32-bit integers", "F": "32-bit floats", "CMYK": "inks (CMYK)"}

_ORIENTATION = 0x0112  # a tag of EXIF and of TIFF

# What each value of the EXIF orientation tag asks for, as an operation on rows and columns.
_UPRIGHT: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.swapaxes(a, 0, 1)[:, ::-1],
    7: lambda a: np.swapaxes(a, 0, 1)[::-1, ::-1],
    8: lambda a: np.swapaxes(a, 0, 1)[::-1],
}


def read_image(path: str | Path) -> Picture:
    """Read an image file: 8 or 16 bit; grey, RGB, palette, each with or without alpha; turned upright.

    Args:
        path: A PNG, JPEG, TIFF, WebP or BMP file; what it is is told by its content, not by its name.

    Returns:
        The picture, with all that :func:`write_image` needs to write one like it.

    Raises:
        UserError: There is no such file, it is no image, or of a kind that is not handled.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of what they get past; a picture that is read is read
            return _read(path)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no file {path}", _FORMATS, "check the path, which starts at the current folder") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder", _FORMATS, "name one file in it") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is no image that can be read", _FORMATS, "convert it to PNG first") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: {error}", "an image of less than 178 megapixels", "crop it first") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read", "a file that you may read", "check its permissions") from None
    except MemoryError:
        raise UserError(f"{path} is too large for the memory", "a smaller image", "crop it first") from None
    except Exception as error:  # of a damaged file decoders raise whatever they stumble over
        cause = str(error) or type(error).__name__
        raise UserError(f"{path} is damaged ({cause})", f"a complete {_FORMATS[2:]}", "get a fresh copy") from None


def _read(path: Path) -> Picture:
    deep = high_bit_depth.read_tiff(path)
    if deep is None:
        with Image.open(path, formats=list(SUFFIXES)) as image, _quiet_libtiff(image):
            return _decode(path, image)
    samples = _UPRIGHT.get(deep.orientation, np.asarray)(deep.samples)
    return _picture_of(path, samples, file_format="TIFF", metadata=deep.metadata)


@contextmanager
def _quiet_libtiff(image: Image.Image) -> Iterator[None]:
    """Keep libtiff from writing to standard error, past Python, what is wrong with a file."""
    if image.format != "TIFF":
        yield
        return
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _picture_of(path: Path, samples: NDArray[np.generic], **attributes: Any) -> Picture:
    try:
        return picture_from_array(samples, **attributes)
    except UserError as error:  # which knows an array, and no file
        raise UserError(f"{path} holds {error.problem}", error.expected, "convert it first") from None


def _decode(path: Path, image: Image.Image) -> Picture:
    # A JPEG that holds further pictures (of a phone, say) is opened under another name.
    file_format = "JPEG" if image.format == "MPO" else str(image.format)
    deep = file_format == "PNG" and _is_16_bit_png(image)  # asked first: reading EXIF may decode the image
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    metadata = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    palette = False
    if deep:
        samples = high_bit_depth.read_png(path)
        samples = _UPRIGHT.get(orientation, np.asarray)(samples)
    else:
        image.load()
        image = ImageOps.exif_transpose(image)
        transparent = "transparency" in image.info
        palette = image.mode == "P" and not transparent
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA" if transparent or image.mode == "PA" else "RGB")
        elif transparent and image.mode in ("L", "RGB"):
            image = image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            kind = _KINDS.get(image.mode, f"mode {image.mode}")
            raise UserError(f"{path} is of {kind}", "grey, RGB or a palette, 8 or 16 bit", "convert it first")
        samples = np.asarray(image)
    if _ORIENTATION in exif:
        del exif[_ORIENTATION]
    if len(exif) and file_format != "TIFF":  # the tags of a TIFF say how its samples are stored
        metadata["exif"] = exif.tobytes()
    return _picture_of(path, samples, file_format=file_format, palette=palette, metadata=metadata)


def _is_16_bit_png(image: Image.Image) -> bool:
    return any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))


def write_image(path: str | Path, picture: Picture) -> None:
    """Write a picture in its own format, mode and depth.

    JPEG is written at quality 95 without colour subsampling; WebP, PNG, TIFF and BMP lose nothing. A palette is
    chosen anew for the picture, 256 colours without dithering.

    Args:
        path: The file; its suffix should be ``SUFFIXES[picture.format]``.
        picture: What to write.
    """
    path = Path(path)
    parts = [picture.samples] if picture.alpha is None else [picture.samples, picture.alpha[:, :, None]]
    # Of a tensor turned round, the samples may lie in another order, which the encoders of 16 bits do not take.
    samples = np.ascontiguousarray(np.concatenate(parts, axis=2))
    if samples.shape[2] == 1:
        samples = samples[:, :, 0]
    if samples.dtype == np.uint16 and picture.format == "TIFF":
        high_bit_depth.write_tiff(path, samples, picture.metadata)
    elif samples.dtype == np.uint16:
        high_bit_depth.write_png(path, samples, picture.metadata)
    else:
        image = Image.fromarray(samples)
        if picture.palette:
            image = image.quantize(256, dither=Image.Dither.NONE)
        image.save(path, format=picture.format, **_WRITE_OPTIONS.get(picture.format, {}), **picture.metadata)


_WRITE_OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
