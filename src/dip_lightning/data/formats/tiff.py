"""Reading TIFF, all kinds, through tifffile: what a sample is, its tags say, not how many there are."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.formats.content import raw_file
from dip_lightning.data.formats.flat import check_page
from dip_lightning.data.formats.orientation import ORIENTATION, turned, upright_xmp
from dip_lightning.data.formats.quiet import quiet_tifffile
from dip_lightning.data.formats.tiff_tags import Tags, read_tags
from dip_lightning.data.picture import LARGEST_AREA, Picture, dissociate, picture_from_array
from dip_lightning.errors import UserError

__all__ = ["TiffStorage", "read"]

_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _MASK, _YCBCR = 0, 1, 2, 3, 4, 6
_RAW = (32803, 34892)  # colour filter array, linear raw
_COLOURS = {_MINISWHITE: 1, _MINISBLACK: 1, _RGB: 3, _PALETTE: 1}
_REFUSED = {5: "inks (CMYK)", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*"}
_JPEG = (6, 7)  # in which tifffile hands out YCbCr as RGB
_UNSPECIFIED, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
_XMP = 700
_LARGEST_TILE = 4096  # of a side in pixels; larger ones are of a file that is damaged, and would be written
# What a writer writes again as it was; all lossless.
_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)


@dataclass
class TiffStorage:
    """How a page of a TIFF was stored, and what it says of its picture.

    Attributes:
        order: The byte order, ``"<"`` or ``">"``.
        big: Whether it is a BigTIFF.
        photometric: What the colours are: 0 white is zero, 1 black is zero, 2 RGB, 3 a palette.
        planar: Whether each sample of the pixels has a plane of its own.
        extras: What each sample beyond the colours is: 0 unspecified, 1 associated alpha, 2 unassociated alpha.
        compression: TIFF's number of the compression.
        predictor: TIFF's number of the predictor.
        tile: Height and width of a tile; None for strips.
        tags: What it says.
        shared: Whether the tags of the first page are those of all.
    """

    order: Literal["<", ">"] = "<"
    big: bool = False
    photometric: int = _MINISBLACK
    planar: bool = False
    extras: tuple[int, ...] = ()
    compression: int = 8
    predictor: int = 1
    tile: tuple[int, int] | None = None
    tags: Tags = field(default_factory=Tags)
    shared: bool = False


def read(path: Path, page: int) -> Picture:
    """Read a page of a TIFF; previews, reduced copies and masks are no pages.

    Raises:
        UserError: There is no such page, or it is of a kind that is not handled.
        Exception: The file is damaged; what is raised depends on where.
    """
    import tifffile

    with quiet_tifffile(), tifffile.TiffFile(path) as file:
        pages, left_out = _pages_of(path, file)
        virtual = _virtual_pages(file, pages)
        count = virtual or len(pages)
        check_page(path, page, count)
        one = pages[0 if virtual else page]
        photometric = _check(path, one, virtual)
        storage = _storage_of(file, one, photometric)
        if virtual or file.is_imagej or file.is_ome:
            storage.shared, storage.tags = True, read_tags(pages[0])
        if virtual:
            stack = file.series[0].asarray()
            samples = stack.reshape(virtual, *one.shape)[page]
        else:
            samples = np.asarray(one.asarray(maxworkers=1))
        colormap = one.colormap if photometric == _PALETTE else None
    if one.axes == "SYX":  # one plane a sample
        samples = np.moveaxis(samples, 0, -1)
    notes = [f"left out: {', '.join(left_out)}"] if left_out else []
    return _picture_of(samples, storage, one, colormap, (page, count), notes)


def _picture_of(
    samples: NDArray[Any],
    storage: TiffStorage,
    page: Any,
    colormap: NDArray[np.uint16] | None,
    place: tuple[int, int],
    notes: list[str],
) -> Picture:
    """Make a picture of the samples of a page, (H, W) or (H, W, S) as they lie in the file."""
    orientation = _orientation_of(page)
    samples = turned(samples, orientation)
    if orientation != 1:
        _say_upright(storage.tags, orientation)
    if samples.ndim == 2:
        samples = samples[:, :, None]
    tags = storage.tags
    lacking = [*tags.left_out, *([tags.about_all_pages] if place[1] > 1 and tags.about_all_pages else [])]
    if lacking:
        notes.append(f"left out: {', '.join(lacking)}")
    known_to_all = {"icc_profile": tags.profile, "dpi": tags.dpi}
    common: dict[str, Any] = {
        "file_format": "TIFF",
        "metadata": {"tiff": storage} | {key: value for key, value in known_to_all.items() if value is not None},
        "page": place[0],
        "pages": place[1],
        "notes": tuple(notes),
    }
    if colormap is not None:
        colours = (np.asarray(colormap)[:, samples[:, :, 0].astype(np.intp)] >> 8).astype(np.uint8)
        return picture_from_array(np.moveaxis(colours, 0, -1), palette=True, alpha=False, **common)
    samples = np.array(samples, samples.dtype.newbyteorder("="))
    if samples.dtype.kind == "u" and page.bitspersample % 8:
        common["bits"] = page.bitspersample
    return _lost(_sorted(samples, storage, common), tags.nodata)


def _sorted(samples: NDArray[Any], storage: TiffStorage, common: dict[str, Any]) -> Picture:
    """Sort the samples of the pixels, (H, W, S): colours and bands, alpha, others that are handed through."""
    whole = samples.dtype.kind == "u"
    white = 2 ** common.get("bits", 8 * samples.dtype.itemsize) - 1 if whole else 1
    if storage.photometric == _MINISWHITE and whole:
        samples[:, :, 0] = white - samples[:, :, 0]
    colours = _COLOURS[storage.photometric]
    alphas = [colours + at for at, kind in enumerate(storage.extras) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    if not alphas:
        return picture_from_array(samples, alpha=False, **common)
    # A second alpha (a mask that somebody has made) is no band: it is handed through as it is.
    first, others = alphas[0], alphas[1:]
    bands = [at for at in range(samples.shape[2]) if at not in alphas]
    where = {at: new for new, at in enumerate([*bands, *others, first])}
    taken: NDArray[Any] = samples[:, :, [*bands, first]]
    if storage.extras[first - colours] == _ASSOCIATED:
        alpha = samples[:, :, first]
        taken[:, :, :colours] = dissociate(taken[:, :, :colours], alpha, white)
        common["associated"], clear = colours, alpha == 0
        if clear.any() and not clear.all():
            # Nothing is known of the colour of what cannot be seen.
            mask = np.zeros(taken.shape, bool)
            mask[clear, :colours] = True
            taken = np.ma.MaskedArray(taken, mask=mask)
    return picture_from_array(
        taken,
        alpha=True,
        others=samples[:, :, others] if others else None,
        order=tuple(where[at] for at in range(samples.shape[2])),
        **common,
    )


def _say_upright(tags: Tags, orientation: int) -> None:
    """Say in the tags that the picture stands upright."""
    tags.extra = [
        (code, kind, count, upright_xmp(value) if code == _XMP else value, once)
        for code, kind, count, value, once in tags.extra
    ]
    if orientation >= 5 and tags.resolution is not None:
        tags.resolution = tags.resolution[::-1]


def _lost(picture: Picture, nodata: float | None) -> Picture:
    """Mark the samples that have the value by which a file (GDAL) tells that they were lost."""
    if nodata is None or nodata != nodata:
        return picture
    known = picture.samples != nodata
    if picture.known is not None:
        known &= picture.known
    if known.all() or not known.any(axis=(0, 1)).all():
        return picture
    return replace(picture, known=known)


def _pages_of(path: Path, file: Any) -> tuple[list[Any], list[str]]:
    """Return the pages that are pictures, and what else there is, in words.

    Raises:
        UserError: It is a raw file, or holds nothing but previews.
    """
    top = list(file.pages)
    below = [sub for page in top for sub in (page.pages or ()) if page.subifds]
    every = [*top, *below]
    if 50706 in top[0].tags or any(int(page.photometric) in _RAW for page in every):
        raise raw_file(path)
    pages = [page for page in top if not _is_reduced(page) and not _is_mask(page)]
    if not pages:
        pages = [page for page in below if not _is_reduced(page) and not _is_mask(page)]
    if not pages:
        raise UserError(f"{path} holds nothing but a preview", "a picture", "name the file that it is a preview of")
    reduced = sum(_is_reduced(page) for page in every)
    masks = sum(_is_mask(page) for page in every)
    other = len(every) - reduced - masks - len(pages)
    told = (("reduced copy or preview", reduced), ("transparency mask", masks), ("page below another", other))
    return pages, [f"{name} ({count})" for name, count in told if count]


def _is_mask(page: Any) -> bool:
    return bool(int(page.subfiletype or 0) & 4) or int(page.photometric) == _MASK


def _is_reduced(page: Any) -> bool:
    """Whether a page is a smaller copy of a picture: by its tags, or since the picture lies below it."""
    old = page.tags.get(255)
    if int(page.subfiletype or 0) & 1 or (old is not None and old.value == 2):
        return True
    area = page.imagewidth * page.imagelength
    return bool(page.subifds) and any(sub.imagewidth * sub.imagelength > area for sub in page.pages)


def _virtual_pages(file: Any, pages: list[Any]) -> int:
    """How many pages there are of which only the first has tags (ImageJ beyond 4 GB, MetaMorph); 0 for none."""
    if len(pages) != 1 or not (file.is_imagej or file.is_shaped or file.is_stk or file.is_lsm):
        return 0
    try:
        shape = file.series[0].shape
    except Exception:  # a description that is no one's: what is raised depends on where
        return 0
    size, one = int(np.prod(shape, dtype=np.int64)), int(np.prod(pages[0].shape, dtype=np.int64))
    return size // one if size > one and size % one == 0 else 0


def _check(path: Path, page: Any, pages: int) -> int:
    """Check that a page can be restored, before anything is allocated; returns its photometric interpretation."""
    if page.imagewidth * page.imagelength > LARGEST_AREA or page.size > 4 * LARGEST_AREA:
        size = f"{page.imagelength}x{page.imagewidth} pixels of {page.samplesperpixel} samples"
        raise UserError(f"{path} of {size}", "an image of less than 178 megapixels", "crop it beforehand")
    largest = max(page.imagewidth * page.imagelength, _LARGEST_TILE**2)
    if page.is_tiled and page.tilewidth * page.tilelength > 4 * largest:
        raise ValueError(f"tiles of {page.tilelength}x{page.tilewidth} pixels")
    photometric = int(page.photometric)
    if photometric == _YCBCR and int(page.compression) in _JPEG:
        photometric = _RGB
    if photometric not in _COLOURS:
        kind = _REFUSED.get(photometric, f"photometric interpretation {photometric}")
        raise UserError(f"{path} is of {kind}", "grey, RGB, a palette or bands", "convert it first")
    if page.imagedepth > 1:
        raise UserError(f"{path} is a volume of {page.imagedepth} planes", "a page each", "convert it first")
    if isinstance(page.bitspersample, tuple) or page.dtype is None:
        told = f"{page.bitspersample} bits of sample format {int(page.sampleformat)}"
        raise UserError(f"{path} holds samples of {told}", "integers or floats", "convert it first")
    if photometric != _PALETTE and (page.dtype.kind == "b" or page.bitspersample == 1):
        raise UserError(f"{path} is of black and white (1 bit)", "grey, RGB or a palette", "convert it first")
    if photometric == _PALETTE and page.colormap is None:
        raise ValueError("a palette without colours")
    if page.samplesperpixel < _COLOURS[photometric] or (photometric == _PALETTE and page.samplesperpixel > 1):
        told = f"{page.samplesperpixel} samples a pixel in {('white is zero', 'grey', 'RGB', 'a palette')[photometric]}"
        raise UserError(f"{path} has {told}", "as many as its colours need", "convert it first")
    return photometric


def _storage_of(file: Any, page: Any, photometric: int) -> TiffStorage:
    count = page.samplesperpixel - _COLOURS[photometric]
    tag = page.tags.get(338)
    extras = () if tag is None else (tag.value if isinstance(tag.value, tuple) else (tag.value,))
    # What is not told is unspecified; so is what no standard knows.
    extras = tuple(int(kind) if int(kind) in (1, 2) else _UNSPECIFIED for kind in (*extras, *[0] * count)[:count])
    compression = int(page.compression)
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else None
    return TiffStorage(
        order=file.byteorder,
        big=file.is_bigtiff,
        photometric=photometric,
        planar=int(page.planarconfig) == 2 and page.samplesperpixel > 1,
        extras=extras,
        compression=compression if compression in _COMPRESSIONS else 8,
        predictor=int(page.predictor) if compression in _COMPRESSIONS and photometric != _PALETTE else 1,
        tile=tile if tile is not None and all(side % 16 == 0 and side <= _LARGEST_TILE for side in tile) else None,
        tags=read_tags(page),
    )


def _orientation_of(page: Any) -> int:
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 1
