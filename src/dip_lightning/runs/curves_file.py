"""``curves.csv``: the values of each iteration, written and read. NumPy only: reports read it without torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "read_curves", "write_curves"]

# The columns of `curves.csv` after `iteration`, in this order; a column that was not measured is left out.
COLUMNS = ("loss", "psnr_one_pass", "psnr_averaged", "psnr_observation", "psnr_eval")


def write_curves(path: Path, curves: dict[str, NDArray[np.floating]]) -> None:
    """Write curves as text: a header, then one line an iteration; empty where a value was not measured.

    Args:
        path: The file to write.
        curves: Arrays of equal length by name.
    """
    names = [name for name in COLUMNS if name in curves] + sorted(set(curves) - set(COLUMNS))
    rows = zip(*(curves[name] for name in names), strict=True)
    lines = [",".join(["iteration", *names])]
    for iteration, row in enumerate(rows):
        # Nine digits hold a float32 exactly.
        lines.append(",".join([str(iteration), *("" if np.isnan(value) else f"{value:.9g}" for value in row)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_curves(path: Path) -> dict[str, NDArray[np.floating]]:
    """Read a ``curves.csv``.

    Args:
        path: The file.

    Returns:
        One array an iteration, by name, without the column of iterations; NaN where a cell is empty.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such table.
    """
    head, _, body = path.read_text(encoding="utf-8").partition("\n")
    names = head.split(",")
    # All cells at once: a hundred runs of thousands of iterations are to be read in a second or two.
    cells = body.strip("\n").replace("\n", ",").split(",") if body.strip() else []
    values = np.array([cell or "nan" for cell in cells], dtype=np.float64)
    if names[0] != "iteration" or values.size % len(names):
        raise ValueError(f"{path.name} is damaged")
    table = values.reshape(-1, len(names))
    return {name: table[:, column] for column, name in enumerate(names) if column > 0}
