"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Hand out a name in the same folder to write to; what was written there becomes ``path`` when the block ends.

    If the block fails, nothing is left of it, and an older file of the name is as it was. The data reach the disk
    before the name does, so that not even a power failure leaves half a file.

    Args:
        path: The file that is to be written.

    Raises:
        OSError: It cannot be written.
    """
    # The same suffix, by which some writers choose the format; hidden, so that nobody takes it for a result.
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        with part.open("rb+") as file:  # for writing, too, or Windows would not sync it
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
