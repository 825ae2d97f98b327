"""The files of a finished run. Their names are stable: reports and other programs read them."""

import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data import SUFFIXES, Picture, write_image
from dip_lightning.data.image_io import STACKS
from dip_lightning.errors import UserError
from dip_lightning.names import as_json_text
from dip_lightning.runs import figures
from dip_lightning.runs.curves_csv import write_curves
from dip_lightning.runs.record import PREVIEW, RECORD, Summary
from dip_lightning.runs.written import write_own

__all__ = ["check_room", "write_run", "write_summary"]

log = logging.getLogger(__name__)

# What figures, curves and events of a usual fit take, in bytes.
_FIGURES = 2_000_000


def write_run(
    folder: Path,
    *,
    restored: Picture,
    observation: NDArray[np.floating],
    summary: Summary,
    curves: dict[str, NDArray[np.floating]],
    panels: Mapping[str, NDArray[np.floating]],
) -> Path:
    """Write the restored picture, the record, the curves and the figures, each whole or not at all.

    Args:
        folder: The run folder; made where it is missing.
        restored: What the user gets.
        observation: What was fitted, (H, W, C) in [0, 1]; it is written like the restored picture, as PNG; see
            :meth:`~dip_lightning.data.Picture.preview`.
        summary: The content of ``summary.json``.
        curves: One array an iteration, by name.
        panels: The images of ``comparison.png``, (H, W, C) in [0, 1], by title.

    Returns:
        The path of the restored picture.

    Raises:
        OSError: A file cannot be written; those before it are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"restored{SUFFIXES[restored.format]}"
    with write_own(picture) as part:
        write_image(part, restored)
    if restored.format in STACKS:  # which browsers do not show
        with write_own(folder / PREVIEW) as part:
            write_image(part, restored.preview(restored.to_unit()))
    with write_own(folder / "observation.png") as part:
        write_image(part, restored.preview(observation))
    with write_own(folder / "curves.csv") as part:
        write_curves(part, curves)
    interrupted = summary["signal"] is not None
    if interrupted:  # whoever sent the signal may not wait for the figures
        write_summary(folder, summary)
    _draw(folder / "comparison.png", figures.draw_comparison, panels)
    _draw(folder / "curves.png", figures.draw_curves, curves, summary)
    if not interrupted:  # last: a folder with the record of an end is a finished run
        write_summary(folder, summary)
    return picture


def _draw(path: Path, draw: Callable[..., None], *what: Any) -> None:
    """Draw a figure; one that cannot be drawn (settings of matplotlib that call for what is not there) is left out."""
    try:
        with write_own(path) as part:
            draw(part, *what)
    except OSError:
        raise
    except Exception as error:
        log.warning("%s could not be drawn (%s: %s)", path.name, type(error).__name__, str(error).split("\n")[0])


def write_summary(folder: Path, summary: Summary) -> None:
    """Write the record alone.

    Args:
        folder: The run folder; made where it is missing.
        summary: The content of ``summary.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = as_json_text(json.dumps(_without_nan(summary), indent=2, ensure_ascii=False))
    with write_own(folder / RECORD) as part:
        part.write_text(text + "\n", encoding="utf-8")


def check_room(folder: Path, samples: int, weights: int) -> None:
    """Check that a fit's files will fit on the disk, before there is anything to lose.

    Args:
        folder: The run folder.
        samples: Size of the restored picture in bytes, uncompressed.
        weights: Size of the checkpoint in bytes; 0 for none.

    Raises:
        UserError: There is not enough room.
    """
    needed = 2 * samples + weights + _FIGURES
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{free / 1e6:.1f} MB of room for the run folder {folder}",
            f"about {needed / 1e6:.1f} MB",
            "make room, or try hydra.run.dir=NEW_FOLDER on another disk",
        )


def _without_nan(value: Any) -> Any:
    """Replace what JSON cannot say (NaN, infinity) by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
