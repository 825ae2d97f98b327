"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_write", "sync"]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Hand out a name in the same folder to write to; what was written there becomes ``path`` when the block ends.

    If the block fails, nothing is left of it, and an older file of the name is as it was. The data reach the disk
    before the name does, and the name before this returns, so that not even a power failure leaves half a file.

    Args:
        path: The file that is to be written.

    Raises:
        OSError: It cannot be written.
    """
    # The same suffix, by which some writers choose the format; hidden, so that nobody takes it for a result.
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make sure that the data of a file, or the names in a folder, are on the disk.

    Args:
        path: The file, or the folder; one that cannot be opened, as on Windows, is left to the system.

    Raises:
        OSError: They are not.
    """
    if os.name != "posix" and path.is_dir():
        return
    # A file for writing, too, or Windows would not sync it.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
