"""Which picture, which part of it, and in which size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage.data
import skimage.transform
from numpy.typing import NDArray

from dip_lightning.checks import check_choice, check_integer
from dip_lightning.data.formats import fits
from dip_lightning.data.image_io import read_image
from dip_lightning.data.picture import LARGEST_AREA, Picture, picture_from_array
from dip_lightning.errors import UserError
from dip_lightning.names import counted

__all__ = [
    "DEFAULT_SAMPLE",
    "SAMPLES",
    "SAMPLE_PREFIX",
    "crop_picture",
    "read_clean",
    "read_source",
    "resize_picture",
    "with_lost",
]

# Photographs that scikit-image brings along; `image.path=skimage:NAME` picks one.
SAMPLES = ("astronaut", "camera", "chelsea", "coffee", "coins", "moon", "rocket", "brick", "grass", "gravel")

SAMPLE_PREFIX = "skimage:"

# The picture that is fitted where none is named.
DEFAULT_SAMPLE = f"{SAMPLE_PREFIX}astronaut"

# The share of known samples from which one that is mixed of several counts as known; the rest is rounding.
_WHOLLY = 0.999


def read_source(
    path: str | Path | NDArray[np.generic],
    name: str = "image.path",
    *,
    page: int | str | None = None,
    bands: Sequence[int] | str | None = None,
) -> Picture:
    """Read a picture: a file, a sample of scikit-image, or an array.

    Args:
        path: What it is.
        name: The setting, for messages.
        page: Which page of a file, from 0; None for the first.
        bands: Which bands are to be restored, from 0; None for all. Of an array no channel is alpha then.

    Raises:
        UserError: There is no such picture, or none that can be read.
    """
    if page == "all" or bands == "each":  # which the command does, of one file
        told = "image.page=all" if page == "all" else "image.bands=each"
        raise UserError(told, "one of them at a time", "try the command dip, or image.page=0 image.bands=[0]")
    number = None if page is None else check_integer("image.page", page, 0, example=0)
    picture = _read(path, name, number, named=bands is not None)
    return picture if bands is None else _chosen(picture, bands)


def _read(path: str | Path | NDArray[np.generic], name: str, page: int | None, *, named: bool) -> Picture:
    if isinstance(path, np.ndarray):
        _check_one_page(page, "an array")
        return picture_from_array(path, alpha=False if named else None)
    if not isinstance(path, (str, Path)):
        raise UserError(f"{name}={path}", "the name of an image file", f"try {name}=photo.png")
    path = str(path)
    if not path:
        raise UserError(f"{name}=", "the name of an image file", f"try {name}=photo.png")
    if path.startswith(("http:/", "https:/", "ftp:/")):
        raise UserError(f"{name}={path}", "a file on this machine", "download it first")
    if not path.startswith(SAMPLE_PREFIX):
        return read_image(path, page)
    sample = path.removeprefix(SAMPLE_PREFIX)
    if sample not in SAMPLES:
        raise UserError(f"{name}={path}", f"one of {', '.join(SAMPLES)}", f"try {name}={SAMPLE_PREFIX}astronaut")
    _check_one_page(page, path)
    return picture_from_array(getattr(skimage.data, sample)())


def _check_one_page(page: int | None, what: str) -> None:
    if page:
        raise UserError(f"image.page={page} of {what}", "a file with several pages", "leave it out")


def _chosen(picture: Picture, bands: Sequence[int] | str) -> Picture:
    """Take some bands of a picture.

    Raises:
        UserError: It has no such bands.
    """
    count = picture.samples.shape[2]
    numbers = list(bands) if isinstance(bands, Sequence) and not isinstance(bands, str) else []
    whole = all(isinstance(band, int) and not isinstance(band, bool) and 0 <= band < count for band in numbers)
    if not numbers or not whole or len({*numbers}) < len(numbers):
        expected = f"some of its {count} bands, 0 to {count - 1}, each once" if count > 1 else "its only band, 0"
        raise UserError(f"image.bands={_plain(bands)}", expected, "try image.bands=[0]")
    if numbers == list(range(count)):
        return picture
    rest = [band for band in range(count) if band not in numbers]
    told = f"{'band' if len(rest) == 1 else 'bands'} {', '.join(map(str, rest))} handed through as in the file"
    return replace(picture.with_bands(tuple(numbers)), notes=(*picture.notes, told))


def read_clean(
    clean: str | Path | NDArray[np.generic], page: int | str | None, bands: Sequence[int] | str | None
) -> Picture:
    """Read a clean image; of a file with several pages the same one.

    Args:
        clean: What it is, as for :func:`read_source`.
        page: Which page is fitted.
        bands: Which bands are fitted.

    Raises:
        UserError: There is no such image, or none that can be read.
    """
    first = read_source(clean, "image.clean", bands=bands)
    return read_source(clean, "image.clean", page=page, bands=bands) if page and first.pages > 1 else first


def with_lost(picture: Picture, lost: str) -> Picture:
    """Say what becomes of samples that were lost, and how many there are.

    Args:
        picture: What was read.
        lost: ``"fill"`` or ``"keep"``, see :class:`~dip_lightning.data.picture.Picture`.

    Raises:
        UserError: It is neither.
    """
    check_choice("image.lost", lost, ("fill", "keep"))
    if picture.known is None:
        return picture
    count = int(np.count_nonzero(~picture.known))
    if picture.associated and picture.alpha is not None:  # what cannot be seen is none of them
        count -= int(np.count_nonzero(~picture.known & (picture.alpha == 0)[:, :, None]))
    were, are, left = ("was", "is", "left as it was") if count == 1 else ("were", "are", "left as they were")
    becomes = f"{are} {'filled' if lost == 'fill' else left}"
    told = (f"{counted(count, 'sample')} that {were} lost (NaN, masked, no data) {becomes}",) if count else ()
    return replace(picture, lost=lost, notes=(*picture.notes, *told))


def crop_picture(picture: Picture, crop: int | Sequence[int] | None, scale: int = 1, align: int = 1) -> Picture:
    """Cut out a part.

    Args:
        picture: The whole.
        crop: Side of the central square, or ``[top, left, height, width]``; None for all.
        scale: What ``crop`` counts are blocks of so many pixels a side.
        align: Rows and columns that a part begins at are multiples of this; the central square is moved there.

    Raises:
        UserError: There is no such part, or it begins elsewhere.
    """
    if crop is None:
        return picture
    top, left, rows, columns = (scale * n for n in box_of(picture.height // scale, picture.width // scale, crop, align))
    part = picture.cropped(top, left, rows, columns)
    if part.known is not None and not part.known.any(axis=(0, 1)).all():
        raise UserError(f"image.crop={_plain(crop)}", "a part with samples that are known", "take another part")
    return part if (rows, columns) == (picture.height, picture.width) else _in_part(part)


def box_of(height: int, width: int, crop: int | Sequence[int] | None, align: int = 1) -> tuple[int, int, int, int]:
    """Return the rectangle that a part covers: top, left, height, width.

    Args:
        height: Of the whole.
        width: Of the whole.
        crop: See :func:`crop_picture`.
        align: See :func:`crop_picture`.

    Raises:
        UserError: See :func:`crop_picture`.
    """
    if crop is None:
        return 0, 0, height, width
    if isinstance(crop, int):
        side = check_integer("image.crop", crop, 1, example=128)
        top, left, rows, columns = (height - side) // 2, (width - side) // 2, side, side
        top, left = (edge // align * align if edge > 0 else edge for edge in (top, left))
    else:
        top, left, rows, columns = _whole_numbers("image.crop", crop, 4, "[top,left,height,width]")
        if top % align or left % align:
            near = f"[{top // align * align},{left // align * align},{rows},{columns}]"
            raise UserError(f"image.crop={_plain(crop)}", f"a corner at multiples of {align}", f"try image.crop={near}")
    if top < 0 or left < 0 or rows < 1 or columns < 1 or top + rows > height or left + columns > width:
        raise UserError(
            f"image.crop={_plain(crop)}",
            f"a part of the picture of {height}x{width} pixels",
            f"try image.crop={min(height, width)}",
        )
    return top, left, rows, columns


def resize_picture(picture: Picture, size: int | Sequence[int] | None, scale: int = 1) -> Picture:
    """Resize, with an antialiasing filter and cubic interpolation.

    Args:
        picture: As it is.
        size: Longest side, or ``[height, width]``; None to leave it.
        scale: What ``size`` counts are blocks of so many pixels a side.

    Raises:
        UserError: It makes no sense, or is beyond 178 megapixels.
    """
    if size is None:
        return picture
    if isinstance(size, int):
        longest = check_integer("image.size", size, 1, example=512)
        ratio = longest / max(picture.height, picture.width)
        rows, columns = max(1, round(picture.height * ratio)), max(1, round(picture.width * ratio))
    else:
        rows, columns = _whole_numbers("image.size", size, 2, "[height,width]")
        check_integer("image.size", min(rows, columns), 1, example=512)
    rows, columns = scale * rows, scale * columns
    if rows * columns > LARGEST_AREA:
        raise UserError(f"image.size={_plain(size)}", "at most 178 megapixels", "try image.size=512")

    def scaled(image: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = skimage.transform.resize(image, (rows, columns), order=3, anti_aliasing=True)  # type: ignore[no-untyped-call]
        return result

    def resized(planes: NDArray[np.generic], like: Picture) -> NDArray[np.generic]:
        whole = replace(like, samples=planes, known=None)
        return whole.with_unit(scaled(whole.to_unit())).samples

    samples = resized(picture.filled(), picture)
    known = None
    if picture.known is not None:
        # Of what is mixed from lost and known samples, none is known; where it is kept, it is as the nearest was.
        known = scaled(picture.known.astype(np.float64)) > _WHOLLY
        nearest = [np.arange(count) * old // count for count, old in ((rows, picture.height), (columns, picture.width))]
        samples = np.where(known, samples, picture.samples[np.ix_(*nearest)])
        known &= np.isfinite(samples)
        if not known.any(axis=(0, 1)).all():
            raise UserError(f"image.size={_plain(size)} of a picture with lost samples", "a larger one", "leave it out")
    return replace(
        _in_part(picture),
        samples=samples,
        known=known,
        alpha=None if picture.alpha is None else resized(picture.alpha[:, :, None], picture)[:, :, 0],
        others=None if picture.others is None else resized(picture.others, picture),
    )


def _in_part(picture: Picture) -> Picture:
    """Take out of the metadata what holds for the whole picture alone, and tell of it."""
    metadata, gone = dict(picture.metadata), []
    if "tiff" in metadata:
        tags, gone = metadata["tiff"].tags.of_part()
        metadata["tiff"] = replace(metadata["tiff"], tags=tags)
    if "fits" in metadata:
        metadata["fits"], gone = fits.of_part(metadata["fits"])
    told = (f"{' and '.join(gone)} of the whole picture: left out",) if gone else ()
    return replace(picture, metadata=metadata, notes=(*picture.notes, *told))


def _whole_numbers(name: str, value: object, count: int, form: str) -> list[int]:
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(numbers) != count or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise UserError(f"{name}={_plain(value)}", f"a whole number or {form}", f"try '{name}={form}' with numbers")
    return numbers


def _plain(value: object) -> str:
    """Write a list as the user would, without blanks."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    return str(value).replace(" ", "")
