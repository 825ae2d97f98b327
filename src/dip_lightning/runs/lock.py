"""One run a folder: whoever writes to a run folder holds it, and lets go when its process ends, however it ends."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dip_lightning.errors import UserError

__all__ = ["LOCK", "HeldError", "hold"]

# Under a run folder. It stays: removing it would let two in who opened it before and after.
LOCK = ".lock"

# What each thread holds: a run that is part of another, in one folder, need not hold it again.
_own = threading.local()


class HeldError(UserError):
    """Another run is writing to the folder."""

    def __init__(self, run_folder: Path, holder: str) -> None:
        """Compose the line.

        Args:
            run_folder: The folder.
            holder: Who holds it: ``"process 4711 on node7"``.
        """
        self.holder = holder
        super().__init__(
            f"{run_folder} is being written by {holder}",
            "a run folder for each run",
            "wait until that one ends, or try another hydra.run.dir=NEW_FOLDER",
        )


@contextmanager
def hold(run_folder: Path | None) -> Iterator[None]:
    """Hold a run folder inside the ``with`` block.

    The lock is the operating system's, on a file of the folder: of a process that was killed nothing is left. Where a
    file system knows no locks, none is held.

    Args:
        run_folder: The folder; made where it is missing. None for a run that writes nothing.

    Raises:
        HeldError: Another process, or thread, holds it.
        OSError: The folder cannot be made.
    """
    if run_folder is None:
        yield
        return
    held: set[Path] = _own.__dict__.setdefault("held", set())
    place = Path(os.path.realpath(run_folder))  # pathlib raises RuntimeError for a link to itself
    if place in held:
        yield
        return
    run_folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run_folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HeldError(run_folder, _holder(run_folder)) from None
    except (OSError, NotImplementedError):
        yield
        return
    held.add(place)
    try:
        _sign(run_folder)
        yield
    finally:
        held.discard(place)
        lock.release()


def _sign(run_folder: Path) -> None:
    """Write down who holds it; where the lock forbids that, as on Windows, it remains unknown."""
    text = f"process {os.getpid()} on {platform.node() or 'this machine'}"
    try:
        (run_folder / LOCK).write_text(text, encoding="utf-8")
    except OSError:
        return


def _holder(run_folder: Path) -> str:
    try:
        return (run_folder / LOCK).read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"
