"""A file of several pages, or bands that are restored each by itself: a folder in one file, and one file again."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console

from dip_lightning.data import SUFFIXES, Picture
from dip_lightning.data.cropping import crop_picture, read_source, resize_picture
from dip_lightning.data.image_io import STACKS, write_image, write_pages
from dip_lightning.errors import UserError
from dip_lightning.fitting.resume_check import read_digest, resumable
from dip_lightning.runs.status import is_finished
from dip_lightning.runs.written import check_own, write_own
from dip_lightning.workflows.folder import FolderResult, tell_one
from dip_lightning.workflows.restore import fit

__all__ = ["restore_parts"]

_FOLDER = "parts"


@dataclass(frozen=True)
class _Part:
    """A page, or a band of one."""

    page: int
    bands: tuple[int, ...] | None
    name: str


def restore_parts(cfg: DictConfig, run_folder: Path, console: Console | None = None) -> FolderResult:
    """Fit every page of a file, or every band by itself, and write one file of all.

    A part that has a finished run in ``run_folder``, of the same pixels, is passed over.

    Args:
        cfg: The composed configuration, with ``image.page=all`` or ``image.bands=each``.
        run_folder: Where the file goes; each part gets a run folder of its own below ``parts/``.
        console: Where to tell about each part; None for standard output.

    Returns:
        What became of them.

    Raises:
        UserError: The file cannot be read or its format holds one page alone, or a part cannot be restored.
    """
    console = console or Console(emoji=False)
    check_own(run_folder)
    parts = _parts_of(cfg)
    result = FolderResult(total=len(parts))
    samples: dict[_Part, NDArray[Any]] = {}
    for number, part in enumerate(parts, 1):
        one, place = _settings_of(cfg, part), run_folder / _FOLDER / part.name
        if is_finished(place, one, partial(read_digest, one)):
            result.find(part.name, place)
            (restored,) = place.glob("restored.*")
            samples[part] = read_source(restored, bands=part.bands).samples
            continue
        if one.callbacks.get("fit_progress"):
            one.callbacks.fit_progress.title = f"{number}/{len(parts)} {part.name}"
        fitted = fit(one, place, resume=resumable(place, one))
        tell_one(console, f"{number}/{len(parts)} {part.name}", fitted.summary)
        result.take(part.name, fitted)
        if fitted.signal is not None:
            return result
        samples[part] = fitted.picture.samples
    _write(cfg, run_folder, samples)
    return result


def _parts_of(cfg: DictConfig) -> list[_Part]:
    path, page, bands = cfg.image.path, cfg.image.page, cfg.image.bands
    first = read_source(path, page=None if page == "all" else page)
    if page == "all" and first.pages > 1 and first.format not in STACKS:
        raise UserError(
            f"image.page=all of a {first.format}", f"one of {', '.join(STACKS)}, which hold many", "try image.page=0"
        )
    pages = range(first.pages) if page == "all" else [page or 0]
    count = first.samples.shape[2]
    chosen = [(band,) for band in range(count)] if bands == "each" else [None if bands is None else tuple(bands)]
    parts = []
    for at, some in product(pages, chosen):
        names = [f"page-{at}"] if page == "all" else []
        names += [f"band-{some[0]}"] if bands == "each" and some is not None else []
        parts.append(_Part(at, some, "-".join(names)))
    return parts


def _settings_of(cfg: DictConfig, part: _Part) -> DictConfig:
    one = deepcopy(cfg)
    one.image.page, one.image.bands = part.page, None if part.bands is None else list(part.bands)
    return one


def _write(cfg: DictConfig, run_folder: Path, samples: dict[_Part, NDArray[Any]]) -> None:
    """Put the parts together, and write them as the file was."""
    pictures = []
    for page in sorted({part.page for part in samples}):
        pieces = {part: piece for part, piece in samples.items() if part.page == page}
        pictures.append(_joined(cfg, page, pieces))
    with write_own(run_folder / f"restored{SUFFIXES[pictures[0].format]}") as whole:
        if len(pictures) > 1:
            write_pages(whole, pictures)
        else:
            write_image(whole, pictures[0])


def _joined(cfg: DictConfig, page: int, pieces: dict[_Part, NDArray[Any]]) -> Picture:
    """Return a page with the bands that were restored."""
    whole = resize_picture(crop_picture(read_source(cfg.image.path, page=page), cfg.image.crop), cfg.image.size)
    height, width, _ = next(iter(pieces.values())).shape
    if (height, width) != (whole.height, whole.width):  # a small picture was of a large one
        whole = resize_picture(whole, [height, width])
    restored = np.array(whole.samples)
    for part, piece in pieces.items():
        restored[:, :, slice(None) if part.bands is None else list(part.bands)] = piece
    return replace(whole, samples=restored)
