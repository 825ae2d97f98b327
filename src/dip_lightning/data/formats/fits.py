"""FITS through astropy: one image of the file is restored, headers and all other extensions stay as they are."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.formats.flat import check_page
from dip_lightning.data.picture import LARGEST_AREA, Picture, picture_from_array
from dip_lightning.errors import UserError

__all__ = ["of_part", "read", "write"]

# How the cards begin that tell where a picture lies on the sky.
_COORDINATES = ("CRPIX", "CRVAL", "CDELT", "CD1_", "CD2_", "PC1_", "PC2_", "CTYPE", "CUNIT", "CROTA", "WCSAXES")


def read(path: Path, page: int) -> Picture:
    """Read a plane of the first image of a FITS file.

    Samples are those in the file, not multiplied by BSCALE; the offset by which it tells unsigned integers is undone.

    Raises:
        UserError: There is no image or no such plane, or astropy is missing.
        Exception: The file is damaged; what is raised depends on where.
    """
    fits = _astropy(path)
    data = path.read_bytes()
    with fits.open(io.BytesIO(data), do_not_scale_image_data=True, memmap=False) as file:
        index = _find(path, file)
        image = file[index]
        raw, header = image.data, image.header
        unsigned = _is_unsigned(header)
        blank = header.get("BLANK") if raw.dtype.kind in "iu" else None
        names = [hdu.name or f"extension {number}" for number, hdu in enumerate(file)]
        notes = [f"{names[index]} is restored, its other extensions are handed through"] if len(file) > 1 else []
    lead = raw.shape[:-2]
    pages = int(np.prod(lead, dtype=np.int64))
    check_page(path, page, pages)
    height, width = raw.shape[-2:]
    if height * width > LARGEST_AREA:
        raise UserError(
            f"{path} of {height}x{width} pixels",
            "an image of less than 178 megapixels",
            "crop it beforehand",
        )
    plane: NDArray[Any] = raw[np.unravel_index(page, lead)] if lead else raw
    if blank is not None:
        plane = np.ma.MaskedArray(_shifted(plane, unsigned), mask=plane == blank)
    else:
        plane = _shifted(plane, unsigned)
    stored = {"data": data, "index": index, "unsigned": unsigned, "shape": raw.shape}
    stored["coordinates"] = any(card.startswith(_COORDINATES) for card in header)
    return picture_from_array(
        plane,
        file_format="FITS",
        metadata={"fits": stored},
        alpha=False,
        page=page,
        pages=pages,
        notes=tuple(notes),
    )


def write(path: Path, pictures: Sequence[Picture]) -> None:
    """Write one picture, or all planes of a cube, in the place of the image that was read."""
    fits = _astropy(path)
    stored: dict[str, Any] = pictures[0].metadata.get("fits", {})
    arrays = [picture.interleaved()[:, :, 0] for picture in pictures]
    whole = arrays[0] if len(arrays) == 1 else np.stack(arrays)
    if not stored:
        fits.PrimaryHDU(whole).writeto(path, overwrite=True)
        return
    shape, whole = stored["shape"], _shifted(whole, stored["unsigned"])
    if len(arrays) == pictures[0].pages:
        whole = whole.reshape(*shape[:-2], *whole.shape[-2:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cards that were not as the standard has them
        with fits.open(io.BytesIO(stored["data"]), do_not_scale_image_data=True, memmap=False) as file:
            image = file[stored["index"]]
            checked = "CHECKSUM" in image.header
            header = image.header.copy()
            if stored.get("part"):
                for card in [card for card in header if card.startswith(_COORDINATES)]:
                    del header[card]
            kind = fits.PrimaryHDU if stored["index"] == 0 else fits.ImageHDU
            made = kind(whole, header, do_not_scale_image_data=True)
            for card in ("BSCALE", "BZERO", "BLANK"):  # which an array that is put in takes away
                if card in header:
                    made.header[card] = (header[card], header.comments[card])
            if checked:
                made.add_checksum()
            file[stored["index"]] = made
            file.writeto(path, overwrite=True, output_verify="silentfix+ignore")


def of_part(stored: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what is true of a part of a picture, and in words what is not: the coordinates on the sky."""
    if stored.get("part"):
        return stored, []
    return {**stored, "part": True}, ["the coordinates (WCS)"] if stored["coordinates"] else []


def _astropy(path: Path) -> ModuleType:
    try:
        from astropy.io import fits
    except ImportError:
        raise UserError(
            f"{path} is a FITS image", "the package astropy", "try pip install 'dip-lightning[fits]'"
        ) from None
    return fits  # type: ignore[no-any-return]


def _find(path: Path, file: Any) -> int:
    """Return which part of a FITS file holds the first image."""
    for index, hdu in enumerate(file):
        axes = hdu.header.get("ZNAXIS", hdu.header.get("NAXIS", 0))
        if not hdu.is_image or axes < 2:
            continue
        if "ZNAXIS" in hdu.header:
            raise UserError(f"{path} holds a compressed image", "one that is not", "try funpack on it first")
        return index
    raise UserError(f"{path} holds no image", "an image of two axes or more", "name another file")


def _is_unsigned(header: Any) -> bool:
    """Whether integers are unsigned ones, by the standard's offset of half their range (FITS 4.0, 5.2.5)."""
    bits = header["BITPIX"]
    return bits in (16, 32) and header.get("BSCALE", 1) == 1 and header.get("BZERO", 0) == 2 ** (bits - 1)


def _shifted(samples: NDArray[Any], unsigned: bool) -> NDArray[Any]:
    """Turn the integers of a file into the unsigned ones that they stand for, or back: it is the highest bit."""
    if not unsigned:
        return samples
    native = samples.astype(samples.dtype.newbyteorder("="))
    bits = 8 * native.dtype.itemsize
    flipped = native.view(f"u{native.dtype.itemsize}") ^ np.array(2 ** (bits - 1), f"u{native.dtype.itemsize}")
    shifted: NDArray[Any] = flipped if native.dtype.kind == "i" else flipped.view(f"i{native.dtype.itemsize}")
    return shifted
