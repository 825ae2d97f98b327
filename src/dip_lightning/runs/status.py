"""What has become of a run, by its record: the one answer to whether it is done, or must be gone on with."""

import hashlib
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.paths import PATHS
from dip_lightning.config.settings import WITHOUT_INFLUENCE, flatten
from dip_lightning.runs.record import Summary, read_summary

__all__ = ["RunStatus", "fingerprint", "is_finished", "read_status", "status_of"]


class RunStatus(Enum):
    """What has become of a run."""

    UNRECORDED = "without a record: it was not begun, or was killed"
    INTERRUPTED = "ended by a signal"
    OUT_OF_MEMORY = "ended for want of memory"
    GAVE_UP = "ended, since it diverged again and again"
    STOPPED = "ended by the stopping rules"
    CAP_REACHED = "ended after all its iterations"

    @property
    def is_end(self) -> bool:
        """Whether the same command would bring nothing new."""
        return self in (RunStatus.GAVE_UP, RunStatus.STOPPED, RunStatus.CAP_REACHED)


def status_of(summary: Summary) -> RunStatus:
    """Tell what has become of a run.

    Args:
        summary: Its record; one of an older version may lack keys.
    """
    if summary.get("signal") is not None:
        return RunStatus.INTERRUPTED
    if summary.get("out_of_memory"):
        return RunStatus.OUT_OF_MEMORY
    if summary.get("gave_up"):
        return RunStatus.GAVE_UP
    done, stopping = summary.get("iterations", 0), summary.get("stopping")
    cap = stopping["cap"] if stopping and "cap" in stopping else done
    return RunStatus.STOPPED if done < cap else RunStatus.CAP_REACHED


def read_status(run_folder: Path) -> RunStatus:
    """Tell what has become of the run of a folder; a record that is damaged is as good as none."""
    try:
        return status_of(read_summary(run_folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return RunStatus.UNRECORDED


def is_finished(run_folder: Path, cfg: DictConfig, digest: str | Callable[[], str | None]) -> bool:
    """Tell whether a run folder holds the finished run of a configuration, so that it need not be done again.

    Args:
        run_folder: Where the run would be written.
        cfg: The composed configuration.
        digest: Of the observation, or what reads it, which is asked last: whatever the dates of the files are, other
            pixels are another run. None where the pictures are gone, and so cannot be others.
    """
    if not read_status(run_folder).is_end:
        return False
    summary = read_summary(run_folder)
    if summary.get("fingerprint") != fingerprint(cfg) or not any(run_folder.glob("restored.*")):
        return False
    present = digest if isinstance(digest, str) else digest()
    return present is None or summary.get("digest") == present


def fingerprint(cfg: DictConfig) -> str:
    """Return sixteen hexadecimal digits that two configurations share if they describe the same fit.

    Args:
        cfg: The composed configuration.
    """
    settings = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(settings, dict)
    without = WITHOUT_INFLUENCE if cfg.tile is not None else (*WITHOUT_INFLUENCE, "tile", "overlap")
    flat = flatten(settings, without)
    for key in PATHS:  # however a path is spelled, it is the same picture
        if flat.get(key) is not None and Path(str(flat[key])).exists():
            flat[key] = str(Path(str(flat[key])).resolve())
    text = json.dumps(flat, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
