"""Reading and writing image files: what goes in comes out with the same size, mode and depth."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dip_lightning.data.picture import Picture
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
        if _is_tiff(path):
            deep = _read_deep_tiff(path)
            if deep is not None:
                return deep
        with Image.open(path, formats=list(SUFFIXES)) as image:
            return _decode(path, image)
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
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error})", f"a complete {_FORMATS[2:]}", "get a fresh copy") from None


def _decode(path: Path, image: Image.Image) -> Picture:
    # A JPEG that holds further pictures (of a phone, say) is opened under another name.
    file_format = "JPEG" if image.format == "MPO" else str(image.format)
    deep = file_format == "PNG" and _is_16_bit_png(image)  # asked first: reading EXIF may decode the image
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    metadata = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    palette = False
    if deep:
        samples = _decode_png16(path)
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
    return picture_from_array(samples, file_format=file_format, palette=palette, metadata=metadata)


def picture_from_array(
    samples: NDArray[np.generic],
    *,
    file_format: str = "PNG",
    palette: bool = False,
    metadata: dict[str, object] | None = None,
) -> Picture:
    """Take apart an array of samples.

    Args:
        samples: (H, W), or (H, W, C) with C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha; uint8 or uint16.
        file_format: What it is to be written as.
        palette: Whether it came from indices into a table of colours.
        metadata: Handed on to the writer.

    Raises:
        UserError: The shape or the type is another.
    """
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4) or 0 in samples.shape:
        shape = "x".join(map(str, samples.shape))
        raise UserError(f"an array of shape {shape}", "(H, W), or (H, W, C) with 1 to 4 channels", "rearrange its axes")
    if samples.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"samples of type {samples.dtype}", "uint8 or uint16", "convert it, scaled to 0..255 or 0..65535"
        )
    # A copy: the array may be a view into a decoder's memory, or turned.
    whole = np.ascontiguousarray(samples).astype(samples.dtype.newbyteorder("="))
    has_alpha = whole.shape[2] in (2, 4)
    return Picture(
        samples=whole[:, :, :-1] if has_alpha else whole,
        alpha=whole[:, :, -1] if has_alpha else None,
        format=file_format,
        palette=palette,
        metadata=metadata or {},
    )


def _is_16_bit_png(image: Image.Image) -> bool:
    return any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))


def _decode_png16(path: Path) -> NDArray[np.generic]:
    # Pillow cuts 16-bit colour down to 8. Imported where needed: most files never get here.
    import imagecodecs

    try:
        samples: NDArray[np.generic] = imagecodecs.png_decode(path.read_bytes())
    except imagecodecs.PngError as error:
        raise UserError(f"{path} is damaged ({error})", "a complete PNG image", "get a fresh copy") from None
    return samples


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: files beyond 4 GB


def _read_deep_tiff(path: Path) -> Picture | None:
    """Read a TIFF of 16-bit samples, of which Pillow knows only some; None for any other TIFF."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if page.dtype != np.uint16:
                return None
            samples = np.asarray(page.asarray())
            metadata = _metadata_of(page)
    except tifffile.TiffFileError as error:
        raise UserError(f"{path} is damaged ({error})", "a complete TIFF image", "get a fresh copy") from None
    if page.axes == "SYX":  # one plane a channel
        samples = np.moveaxis(samples, 0, -1)
    photometric = tifffile.PHOTOMETRIC(page.photometric)
    if photometric is tifffile.PHOTOMETRIC.MINISWHITE:
        samples = 65535 - samples
    elif photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
        raise UserError(f"{path} is a {photometric.name} TIFF", "grey or RGB at 16 bit", "convert it first")
    tag = page.tags.get(_ORIENTATION)
    samples = _UPRIGHT.get(1 if tag is None else int(tag.value), np.asarray)(samples)
    return picture_from_array(samples, file_format="TIFF", metadata=metadata)


def _metadata_of(page: Any) -> dict[str, object]:
    """The colour profile and the resolution of a TIFF page, as Pillow calls them; the resolution in dots an inch."""
    metadata: dict[str, object] = {}
    if page.iccprofile:
        metadata["icc_profile"] = page.iccprofile
    if {"XResolution", "YResolution", "ResolutionUnit"} <= {tag.name for tag in page.tags}:
        metadata["dpi"] = page.get_resolution("inch")
    return metadata


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
    samples = np.concatenate(parts, axis=2)
    if samples.shape[2] == 1:
        samples = samples[:, :, 0]
    if samples.dtype == np.uint16 and picture.format == "TIFF":
        import tifffile

        tifffile.imwrite(
            path,
            samples,
            photometric="rgb" if picture.samples.shape[2] == 3 else "minisblack",
            extrasamples=None if picture.alpha is None else ["unassalpha"],
            planarconfig="contig" if samples.ndim == 3 else None,
            compression="zlib",
            iccprofile=picture.metadata.get("icc_profile"),
            resolution=picture.metadata.get("dpi"),
            resolutionunit="inch" if "dpi" in picture.metadata else None,
        )
    elif samples.dtype == np.uint16:
        import imagecodecs

        path.write_bytes(_with_chunks(imagecodecs.png_encode(samples), picture.metadata))
    else:
        image = Image.fromarray(samples)
        if picture.palette:
            image = image.quantize(256, dither=Image.Dither.NONE)
        image.save(path, format=picture.format, **_WRITE_OPTIONS.get(picture.format, {}), **picture.metadata)


def _with_chunks(png: bytes | bytearray, metadata: dict[str, Any]) -> bytes:
    """Insert colour profile and resolution behind the header of a PNG (PNG specification, 11.3.2.3 and 11.3.4.3)."""
    chunks = []
    if "icc_profile" in metadata:
        chunks.append(b"iCCP" + b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"]))
    if "dpi" in metadata:
        per_metre = [round(float(dots) / 0.0254) for dots in metadata["dpi"]]
        chunks.append(b"pHYs" + struct.pack(">IIB", *per_metre, 1))
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    header = 8 + 25  # the signature, and the IHDR chunk
    return bytes(png[:header]) + b"".join(framed) + bytes(png[header:])


_WRITE_OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
