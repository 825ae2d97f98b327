"""``curves.csv``: a header, then one line an iteration, empty where a value was not measured. Imports no torch."""

import csv
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_curves", "write_curves"]

# The columns after `iteration`, in this order, others after them; a column that was not measured is left out.
_COLUMNS = ("loss", "psnr_one_pass", "psnr_averaged", "psnr_observation", "psnr_eval")


def write_curves(path: Path, curves: dict[str, NDArray[np.floating]]) -> None:
    """Write curves.

    Args:
        path: The file to write.
        curves: Arrays of equal length by name.
    """
    names = [name for name in _COLUMNS if name in curves] + sorted(set(curves) - set(_COLUMNS))
    rows = zip(*(curves[name] for name in names), strict=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["iteration", *names])
        for iteration, row in enumerate(rows):
            # Nine digits hold a float32 exactly.
            writer.writerow([iteration, *("" if np.isnan(value) else f"{value:.9g}" for value in row)])


def read_curves(path: Path) -> dict[str, NDArray[np.floating]]:
    """Read curves.

    Args:
        path: The file.

    Returns:
        One array an iteration, by name, without the column of iterations; NaN where a cell is empty.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names, *rows = list(csv.reader(file)) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path.name} is damaged ({error})") from None
    if names[:1] != ["iteration"] or any(len(row) != len(names) for row in rows):
        raise ValueError(f"{path.name} is damaged")
    # All cells at once: a hundred runs of thousands of iterations are to be read in a second or two.
    values = np.array([cell or "nan" for cell in chain.from_iterable(rows)], dtype=np.float64)
    table = values.reshape(-1, len(names))
    return {name: table[:, column] for column, name in enumerate(names) if column > 0}
