"""The files of a finished run. Their names are stable: reports and other programs read them."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning import figures
from dip_lightning.curves import write_csv
from dip_lightning.data import SUFFIXES, Picture, write_image

__all__ = ["write_run"]


def write_run(
    folder: Path,
    *,
    restored: Picture,
    observation: NDArray[np.floating],
    summary: dict[str, Any],
    curves: dict[str, NDArray[np.floating]],
    panels: Mapping[str, NDArray[np.floating]],
) -> Path:
    """Write the restored picture, the record, the curves and the figures.

    Args:
        folder: The run folder; made where it is missing.
        restored: What the user gets.
        observation: What was fitted, (H, W, C) in [0, 1]; it is written like the restored picture, as PNG.
        summary: The content of ``summary.json``.
        curves: One array an iteration, by name.
        panels: The images of ``comparison.png``, (H, W, C) in [0, 1], by title.

    Returns:
        The path of the restored picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"restored{SUFFIXES[restored.format]}"
    write_image(picture, restored)
    write_image(folder / "observation.png", replace(restored.with_unit(observation), format="PNG", palette=False))
    write_csv(folder / "curves.csv", curves)
    figures.write_comparison(folder / "comparison.png", panels)
    figures.write_curves(folder / "curves.png", curves, summary)
    # Last: a folder with a summary is a finished run.
    text = json.dumps(_without_nan(summary), indent=2, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    return picture


def _without_nan(value: Any) -> Any:
    """Replace what JSON cannot say (NaN, infinity) by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
