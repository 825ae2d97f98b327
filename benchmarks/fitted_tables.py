"""What benchmarks share that fit pictures and keep a table of what came of them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noise_estimate import central

__all__ = ["read_central", "write_table"]


def read_central(path: Path, side: int) -> NDArray[np.float64]:
    """Read the central square of a picture, (side, side, 3) in [0, 1]."""
    with Image.open(path) as image:
        return central(np.asarray(image.convert("RGB")) / 255, side)


def write_table(rows: Sequence[Mapping[str, Any]], table: Path, columns: Sequence[str]) -> None:
    """Write rows as CSV, into a folder that is made where it is missing."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
