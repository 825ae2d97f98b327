"""The pictures of a folder."""

import shlex
from contextlib import suppress
from pathlib import Path

from dip_lightning.errors import UserError

__all__ = ["find_pictures"]

# What is taken for a picture in a folder; what it is in truth, reading tells.
_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".npy", ".fits", ".fit", ".fts"}


def find_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder by the endings of their names, in order; hidden files and subfolders are left out.

    Args:
        folder: The folder.

    Raises:
        UserError: There is none, or the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and not path.is_dir()]
    except PermissionError:
        raise UserError(f"{folder} cannot be read", "a folder that you may read", "check its permissions") from None
    pictures = sorted(path for path in found if not path.name.startswith("."))
    if not pictures:
        expected = f"files that end in {', '.join(sorted(_SUFFIXES))}"
        raise UserError(f"no picture in {folder}", expected, _way_below(folder))
    return pictures


def _way_below(folder: Path) -> str:
    """Name a folder in it that has pictures: each is a command of its own."""
    for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        with suppress(OSError):
            if any(path.suffix.lower() in _SUFFIXES for path in below.iterdir()):
                return f"one folder at a time: try image.path={shlex.quote(str(below))}"
    return "name another"
