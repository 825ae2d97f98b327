"""The run folder of a run that came to nothing. Apart from its other files: a mistake must not wait for matplotlib."""

import shutil
from pathlib import Path

from dip_lightning.runs.lock import LOCK
from dip_lightning.runs.written import WRITTEN

__all__ = ["remove_if_empty"]

# What is written before anything is computed.
_BEFORE = {".hydra", "dip.log", LOCK, WRITTEN}


def remove_if_empty(folder: Path, since: float) -> None:
    """Remove a run folder in which nothing is but what Hydra writes first, and the folders made for it below this one.

    Args:
        folder: The run folder.
        since: When the command started, in seconds since the epoch; what is older stays.
    """
    try:
        found = {path.name for path in folder.iterdir()}
        log = folder / "dip.log"
        if not found <= _BEFORE or not _is_made_since(folder, since) or (log.exists() and log.stat().st_size):
            return
        shutil.rmtree(folder)
        here = Path.cwd()
        for parent in folder.absolute().parents:
            if here not in parent.parents or not _is_made_since(parent, since):
                return
            parent.rmdir()
    except OSError:  # another run's folder lies in it, or it may not be removed: it stays
        return


def _is_made_since(folder: Path, since: float) -> bool:
    """Whether a folder is new: making it has changed the folder that it lies in."""
    return folder.parent.stat().st_mtime >= since and folder.stat().st_ctime >= since
