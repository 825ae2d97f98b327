"""Which files of a run folder were written by runs: no other file is overwritten or removed."""

import hashlib
import json
import os.path
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from dip_lightning.errors import UserError
from dip_lightning.runs.atomic import atomic_write
from dip_lightning.runs.record import PREVIEW, RECORD, TILE_FOLDERS

__all__ = [
    "WRITTEN",
    "adopt",
    "check_copies",
    "check_own",
    "check_sought",
    "check_sweep",
    "copy_own",
    "hand_over",
    "note_sought",
    "write_own",
]

# Under a run folder: the digests that each result had when it was written, the last two by name.
WRITTEN = ".written.json"
# The same of reports: in a run folder, a run's curves.png is not theirs.
_REPORTED = ".report.json"
# The same of what a sweep has sought.
_FOUND = ".sought.json"

# What somebody may want to keep, or to retouch: known by content. The rest belongs to the folder of a run as a whole.
_RESULTS = ("restored.*", PREVIEW, "observation.png", "comparison.png", "curves.png", "curves.csv")
_BELOW = (*TILE_FOLDERS, "parts")
_TABLE = ("csv/metrics.csv", "csv/hparams.yaml")  # of logger=csv
_REST = (RECORD, "hparams.yaml", "metrics.csv", *_TABLE, "events.out.tfevents*", "checkpoints", *_BELOW)
# What Hydra writes below .hydra, in this order.
_COMPOSED = ("config.yaml", "hydra.yaml", "overrides.yaml")
# Where the sweepers of other packages write the best job, in the sweep's folder.
_BEST = "optimization_results.yaml"
# How far into a checkpoint its configuration is looked for, in bytes.
_HEAD = 4_000_000


def check_own(folder: Path, *, hydra: bool = False) -> None:
    """Check that all which a run would write over was written by a run, before anything is computed.

    Args:
        folder: The run folder; one that is not there has nothing to lose.
        hydra: Whether Hydra has yet to write there, too.

    Raises:
        UserError: A file was not, or has been changed since.
    """
    foreign = next(_foreign(folder, hydra), None) if folder.is_dir() else None
    if foreign is None:
        return
    problem = f"{foreign} was not written by this run, which would overwrite it"
    raise UserError(problem, "a run folder of its own", f"name another, such as {_free(folder, 'run')}")


def adopt(folder: Path) -> None:
    """Take note that the results in a folder which :func:`check_own` has let pass are those of runs.

    Args:
        folder: The run folder.
    """
    if folder.is_dir() and _read(folder) is None:
        _write(folder, {path.name: [_digest(path)] for path in _results(folder)})


@contextmanager
def write_own(path: Path) -> Iterator[Path]:
    """Write a file of a run whole or not at all, and note that it is one, see :func:`~.atomic.atomic_write`.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_write(path) as part:
        yield part
        # Before the name is taken: after a crash in between the older file is known still, and the new one already.
        adopt(path.parent)
        known = _read(path.parent) or {}
        known[path.name] = [*known.get(path.name, []), _digest(part)][-2:]
        _write(path.parent, known)


def check_sweep(folder: Path, jobs: Iterable[str]) -> None:
    """Check that no file of another program is where a sweep and its jobs would write.

    Args:
        folder: Of the sweep; one that is not there has nothing to lose.
        jobs: The names of its jobs' folders.

    Raises:
        UserError: There is one.
    """
    # What tells a file of ours, by its name.
    marks = {folder / "multirun.yaml": b"dip_lightning", folder / "sweep.json": b'"differs"'}
    foreign = [file for file, mark in marks.items() if file.is_file() and mark not in file.read_bytes()]
    foreign += [file for job in jobs for file in _not_composed(folder / job)]
    _refuse_sweep(folder, foreign)


def check_sought(folder: Path) -> None:
    """Check the same of a sweep that seeks the best job: it writes down which, and its jobs have numbers.

    Args:
        folder: Of the sweep; one that is not there has nothing to lose.

    Raises:
        UserError: There is a file of another program, or the best job was written down by another hand.
    """
    jobs = [path.name for path in sorted(folder.glob("[0-9]*")) if path.name.isdecimal()]
    check_sweep(folder, jobs)
    best, known = folder / _BEST, _read(folder, _FOUND)
    if known is None and any((folder / job / ".hydra" / "config.yaml").is_file() for job in jobs):
        return  # of an earlier version, or cut off before its notes
    if _is_foreign(best, known or {}):
        _refuse_sweep(folder, [best])


def note_sought(folder: Path) -> None:
    """Take note of what a sweep that has ended has written down as the best job.

    Args:
        folder: Of the sweep.

    Raises:
        OSError: The notes cannot be written.
    """
    if (folder / _BEST).is_file():
        _write(folder, {_BEST: [_digest(folder / _BEST)]}, _FOUND)


def check_copies(copies: Iterable[Path], run_folder: Path) -> None:
    """Check that no file is where results will be copied to, but what runs have copied there, see :func:`copy_own`.

    Args:
        copies: Where they go.
        run_folder: What the user would name otherwise.

    Raises:
        UserError: There is one, or a copy has been changed since.
    """
    for place in copies:
        # The notes second: another run writes them before the copy.
        if os.path.lexists(place) and _is_foreign(place, _read(place.parent) or {}):
            problem = f"{place} was not written by this run, which would overwrite it"
            remedy = f"move it away, or try another hydra.run.dir={_free(run_folder, 'run')}"
            raise UserError(problem, "a run folder of its own", remedy)


def copy_own(file: Path, place: Path) -> None:
    """Copy a result of a run to another folder, over nothing but what runs have written there.

    Args:
        file: The result.
        place: The copy, whose folder is made where it is missing.

    Raises:
        UserError: A file of this name was not written by a run, or has been changed since.
        OSError: The folder cannot be written.
    """
    if _is_foreign(place, _read(place.parent) or {}):
        problem = f"{place} was not written by this run, which would overwrite it"
        raise UserError(problem, "a free name", f"move it away; the result is {file}")
    if place.exists() and _digest(place) == _digest(file):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with write_own(place) as part:
        shutil.copyfile(file, part)


def hand_over(files: Sequence[Path], folder: Path) -> list[Path]:
    """Copy the files of a report to where it goes, over nothing but what reports have written there.

    Args:
        files: Those that were made elsewhere.
        folder: Where they go; made where it is missing.

    Returns:
        The files there.

    Raises:
        UserError: A file of one of these names was not written by a report, or has been changed since. Nothing is
            copied then.
        OSError: The folder cannot be written.
    """
    known = _read(folder, _REPORTED) or {}
    for file in files:
        place = folder / file.name
        if _is_foreign(place, known):
            problem = f"{place} was not written by a report, which would overwrite it"
            remedy = f"name another, such as --out {_free(folder, 'report')}"
            raise UserError(problem, "a folder of its own", remedy)
    folder.mkdir(parents=True, exist_ok=True)
    # The notes first: what is cut off in between is known, too.
    _write(folder, known | {file.name: [*known.get(file.name, []), _digest(file)][-2:] for file in files}, _REPORTED)
    for file in files:
        with atomic_write(folder / file.name) as part:
            shutil.copyfile(file, part)
    return [folder / file.name for file in files]


def _foreign(folder: Path, hydra: bool) -> Iterator[Path]:
    known = _read(folder)
    if hydra and known is None:
        yield from _not_composed(folder)
    if known is None and _is_of_earlier_version(folder):
        return
    for path in _results(folder):
        if known is None or _digest(path) not in known.get(path.name, ()):
            yield path
    if known is None:
        for pattern in _REST:
            yield from sorted(folder.glob(pattern))


def _not_composed(folder: Path) -> Iterator[Path]:
    """What is in ``.hydra`` of another program: all, or nothing, since ours is known by the first that is written."""
    there = [file for name in _COMPOSED if (file := folder / ".hydra" / name).is_file()]
    if there and not (there[0].name == _COMPOSED[0] and b"dip_lightning" in there[0].read_bytes()):
        yield from there


def _refuse_sweep(folder: Path, foreign: Sequence[Path]) -> None:
    for file in foreign:
        problem = f"{file} was not written by this sweep, which would overwrite it"
        raise UserError(problem, "a folder of its own", f"try hydra.sweep.dir={_free(folder, 'sweep')}")


def _free(folder: Path, kind: str) -> Path:
    """A name in a folder that nothing has."""
    return next(name for number in count(1) if not os.path.lexists(name := folder / f"{kind}-{number}"))


def _is_of_earlier_version(folder: Path) -> bool:
    """Whether a folder without notes is that of a run: by its record, a checkpoint, or a part."""
    try:
        summary = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if isinstance(summary, dict) and "stopping" in summary and "versions" in summary:
            return True
    except (OSError, ValueError):
        pass
    for checkpoint in folder.glob("checkpoints/*.ckpt"):
        with checkpoint.open("rb") as file:
            if b"dip_lightning" in file.read(_HEAD):
                return True
    return any(_is_of_earlier_version(part) for below in _BELOW for part in folder.glob(f"{below}/*"))


def _results(folder: Path) -> list[Path]:
    return sorted(path for pattern in _RESULTS for path in folder.glob(pattern) if path.is_file())


def _is_foreign(place: Path, known: dict[str, list[str]]) -> bool:
    """Whether something is there that the notes do not know."""
    return os.path.lexists(place) and not (place.is_file() and _digest(place) in known.get(place.name, ()))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _read(folder: Path, notes: str = WRITTEN) -> dict[str, list[str]] | None:
    """The notes of a folder; None where there are none, or they are damaged."""
    try:
        known = json.loads((folder / notes).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def _write(folder: Path, known: dict[str, list[str]], notes: str = WRITTEN) -> None:
    with atomic_write(folder / notes) as part:
        part.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
