"""Writing TIFF through tifffile, as the file was that was read: samples, byte order, planes, tags."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.formats import flat
from dip_lightning.data.formats.quiet import quiet_tifffile
from dip_lightning.data.formats.tiff import TiffStorage
from dip_lightning.data.formats.tiff_directories import DIRECTORIES, write_directories
from dip_lightning.data.picture import Picture

__all__ = ["write"]

_MINISWHITE, _RGB, _PALETTE = 0, 2, 3
_FLOAT_PREDICTOR = 3


def write(path: Path, pictures: Sequence[Picture]) -> None:
    """Write one picture, or all pages of a file.

    Args:
        path: The file.
        pictures: Of any type and number of bands; byte order and size of offsets are those of the first.
    """
    import tifffile

    storages = [_storage_of(picture, alone=len(pictures) == 1) for picture in pictures]
    big = storages[0].big or sum(picture.interleaved().nbytes for picture in pictures) > 2**31
    with quiet_tifffile():
        with tifffile.TiffWriter(path, bigtiff=big, byteorder=storages[0].order, shaped=False, ome=False) as file:
            for picture, storage in zip(pictures, storages, strict=True):
                _write_page(file, picture, storage, alone=len(pictures) == 1)
        write_directories(path, [storage.tags.directories for storage in storages])


def _storage_of(picture: Picture, *, alone: bool) -> TiffStorage:
    """How a picture is to be stored: as it was, without what is not true of one page or of a part."""
    storage: TiffStorage | None = picture.metadata.get("tiff")
    if storage is None:
        return _usual(picture)
    if picture.pages == 1:
        return storage
    tags = storage.tags
    if alone:
        return replace(storage, tags=tags.of_one_page())
    return replace(storage, tags=tags.of_later_page() if storage.shared and picture.page else tags.of_many_pages())


def _usual(picture: Picture) -> TiffStorage:
    """How a picture is stored that was no TIFF."""
    count = picture.interleaved().shape[2]
    alpha = picture.alpha is not None
    colours = 3 if count - alpha == 3 else 1
    extras = (*[0] * (count - colours - alpha), *[2] * alpha)
    storage = TiffStorage(photometric=_RGB if colours == 3 else 1, extras=extras)
    storage.tags.profile = picture.metadata.get("icc_profile")
    if picture.metadata.get("dpi"):
        across, down = (tifffile_rational(float(dots)) for dots in picture.metadata["dpi"])
        storage.tags.resolution, storage.tags.unit = (across, down), 2
    if picture.palette:
        storage.photometric = _PALETTE
    return storage


def tifffile_rational(value: float) -> tuple[int, int]:
    """Return a positive number as numerator and denominator."""
    import tifffile

    numerator, denominator = tifffile.tifffile.rational(value)
    return int(numerator), int(denominator)


def _write_page(file: Any, picture: Picture, storage: TiffStorage, *, alone: bool) -> None:
    samples = picture.interleaved()
    options: dict[str, Any] = {}
    if storage.photometric == _PALETTE:
        image = flat.encode(samples, palette=True)
        samples = np.asarray(image)[:, :, None]
        table = np.zeros(768, np.uint8)
        entries = np.array(image.getpalette("RGB"), np.uint8)
        table[: len(entries)] = entries
        options["colormap"] = np.ascontiguousarray(table.reshape(256, 3).T).astype(np.uint16) * 257
    elif storage.photometric == _MINISWHITE and samples.dtype.kind == "u":
        samples[:, :, 0] = int(picture.limits.high) - samples[:, :, 0]
    count = samples.shape[2]
    packed = picture.bits is not None
    tags = storage.tags
    extra: list[tuple[int | str, int, int, Any, bool]] = list(tags.extra)
    extra += [(DIRECTORIES[code], 16 if storage.big else 4, 1, 0, False) for code in tags.directories]
    if tags.resolution is not None:
        options |= {"resolution": tags.resolution, "resolutionunit": tags.unit}
    file.write(
        _arranged(samples, storage.planar),
        photometric=storage.photometric,
        extrasamples=storage.extras or None,
        planarconfig=None if count == 1 else ("separate" if storage.planar else "contig"),
        bitspersample=picture.bits,
        # tifffile does not compress samples that are packed.
        compression=None if packed or storage.compression == 1 else storage.compression,
        predictor=None if packed or storage.compression == 1 else _predictor(storage, samples),
        tile=None if packed else storage.tile,
        iccprofile=tags.profile,
        extratags=extra,
        subfiletype=None if alone else 2,
        metadata=None,
        software=False,
        contiguous=False,
        maxworkers=1,
        **options,
    )


def _arranged(samples: NDArray[Any], planar: bool) -> NDArray[Any]:
    if samples.shape[2] == 1:
        return samples[:, :, 0]
    return np.ascontiguousarray(np.moveaxis(samples, -1, 0)) if planar else samples


def _predictor(storage: TiffStorage, samples: NDArray[Any]) -> int | None:
    """The predictor that the file had, where it suits the samples."""
    suits = storage.predictor == (_FLOAT_PREDICTOR if samples.dtype.kind == "f" else 2)
    return storage.predictor if suits else None
