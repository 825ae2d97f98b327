"""What a sweep says of its jobs: how their folders are named, and what tells them apart."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dip_lightning.runs.atomic import atomic_write

__all__ = ["Sweep", "differing", "job_names", "read_sweep"]

_FILE = "sweep.json"
# Longer values are cut, and longer names: file systems take 255 bytes, and the files of a run have names, too.
_LONGEST_VALUE, _LONGEST_NAME = 32, 160
# How many folders above a job's the sweep's is looked for: subfolders of one's own may lie in each other.
_DEEPEST = 4


@dataclass(frozen=True)
class Sweep:
    """A sweep, as its folder tells it in ``sweep.json``.

    Attributes:
        differs: The settings that are not the same in all jobs, in the order of the command line.
        jobs: For each run folder, by its name and in the order of the jobs, what the job sets of those. None are named
            where a sweeper chooses the next job by what came of others; every folder in the sweep's is a job then.
        name: Of the job whose folder was asked for.
    """

    differs: list[str]
    jobs: dict[str, dict[str, Any]]
    name: str = ""

    @property
    def own(self) -> dict[str, Any]:
        """What the job whose folder was asked for sets of the settings that differ."""
        return self.jobs.get(self.name, {})

    def write(self, folder: Path) -> None:
        """Write it into the folder of the sweep."""
        with atomic_write(folder / _FILE) as part:
            content = {"differs": self.differs, "jobs": self.jobs}
            part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_sweep(run_folder: Path) -> Sweep | None:
    """Read of what sweep a run is a job.

    Args:
        run_folder: The folder of the run.

    Returns:
        The sweep; None for a run that is of none, or of one whose folder does not tell.
    """
    run_folder = run_folder.resolve()
    for folder in run_folder.parents[:_DEEPEST]:
        name = run_folder.relative_to(folder).as_posix()
        try:
            content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            jobs = {str(job): dict(settings) for job, settings in content["jobs"].items()}
            sweep = Sweep([str(key) for key in content["differs"]], jobs, name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if name in sweep.jobs or not (sweep.jobs or "/" in name):
            return sweep
    return None


def differing(jobs: Sequence[Mapping[str, Hashable]]) -> list[str]:
    """Tell which settings are not the same in all jobs; one that only some of them set is not.

    Args:
        jobs: The settings of each job.

    Returns:
        Their keys, in the order in which the jobs name them.
    """
    keys: list[str] = []
    for job in jobs:
        place = len(keys)
        for key in reversed(list(job)):  # what another job lacks stands before what both go on with
            if key in keys:
                place = keys.index(key)
            else:
                keys.insert(place, key)
    missing = object()
    return [key for key in keys if len({job.get(key, missing) for job in jobs}) > 1]


def job_names(jobs: Sequence[Mapping[str, str]]) -> list[str]:
    """Name each job of a sweep by what tells it from the others: ``model=unet,dropout=0.1,seed=1``.

    A value that is long or holds what a file name may not is shortened; where two would then read alike, each gets some
    letters of its digest.

    Args:
        jobs: The settings of each job, as they are written on the command line.

    Returns:
        As many names as there are jobs, each of letters, digits and ``= , . _ + -``, and no two alike, whatever the
        case of their letters. Where nothing differs they are the jobs' numbers.
    """
    keys = differing(jobs)
    if not keys:
        return [str(number) for number in range(len(jobs))]
    ends = Counter(key.rsplit(".", 1)[-1] for key in keys)
    titles = {key: end if ends[end := key.rsplit(".", 1)[-1]] == 1 else key for key in keys}
    values = {key: _told_apart({job[key] for job in jobs if key in job}) for key in keys}
    names = [",".join(f"{_plain(titles[key])}={values[key][job[key]]}" for key in keys if key in job) for job in jobs]
    names = [_cut(name or "as-it-is", _LONGEST_NAME) for name in names]
    alike = Counter(name.casefold() for name in names)
    return [
        name if alike[name.casefold()] == 1 else f"{name}_{_digest(repr(sorted(job.items())))}"
        for name, job in zip(names, jobs, strict=True)
    ]


def _told_apart(values: set[str]) -> dict[str, str]:
    """A short text that a file name may hold for each of some values, no two alike."""
    short = {value: _cut(_plain(value), _LONGEST_VALUE) for value in values}
    alike = Counter(text.casefold() for text in short.values())
    return {v: text if alike[text.casefold()] == 1 else f"{text}_{_digest(v)}" for v, text in short.items()}


def _plain(text: str) -> str:
    """Leave out what a file name may not hold, and of a path all but its last part."""
    text = unicodedata.normalize("NFC", text)
    text = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return re.sub(r"[^\w.+-]+", "_", text).strip("_") or "_"


def _cut(text: str, length: int) -> str:
    """Cut a text to a number of bytes, and add some letters of its digest."""
    if len(text.encode()) <= length:
        return text
    return f"{text.encode()[: length - 9].decode(errors='ignore')}_{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
