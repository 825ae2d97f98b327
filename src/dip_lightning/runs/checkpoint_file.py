"""The files that a fit can go on from: written so that a crash at any moment leaves a whole one, read without trust."""

import logging
import pickle
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict, cast

from dip_lightning.errors import UserError
from dip_lightning.runs.atomic import sync

__all__ = [
    "FOLDER",
    "NEWEST",
    "PREVIOUS",
    "CheckpointContent",
    "FitDescription",
    "FitState",
    "find_checkpoint",
    "read_checkpoint",
    "remove_checkpoints",
    "write_checkpoint",
]

log = logging.getLogger(__name__)

# Under a run folder, the names of the last two.
FOLDER, NEWEST, PREVIOUS = "checkpoints", "last.ckpt", "previous.ckpt"

_UNFINISHED = "unfinished.ckpt"

# Raised by one when older programs could not make sense of what newer ones write, or newer ones of older.
_FORMAT = 5


class FitDescription(TypedDict):
    """Which fit a checkpoint is of."""

    config: dict[str, Any]  # resolved
    sources: dict[str, str | None]  # path and clean as named; "array" for samples, "tile" for an observation
    current_folder: str  # which the sources are relative to
    iterations: int  # at most
    shape: list[int]  # of the observation, (1, C, H, W)
    digest: str  # of the observation's pixels
    own: dict[str, str]  # the types of the objects of one's own, by what they stand for


class FitState(TypedDict):
    """What a fit changes while it runs; names that Lightning's checkpoints have, too, are theirs."""

    global_step: int  # how many iterations are done
    state_dict: dict[str, Any]
    optimizer_states: list[dict[str, Any]]
    precision: dict[str, Any]  # of Lightning's plugin: fp16's scale of the loss
    callbacks: dict[str, dict[str, Any]]  # by Lightning's keys
    iterate: dict[str, Any]
    curves: dict[str, Any]
    lr_schedulers: list[dict[str, Any]]  # of its scheduler, if there is one
    random: dict[str, Any]  # the states of the generators: cpu and cuda, the process's own, and the fit's streams


class CheckpointContent(FitDescription, FitState):
    """What a checkpoint holds, besides its format."""

    seconds: float  # that the fit has taken
    precision_in_force: str  # its name; the guard may have raised the one that was asked for


class _DamagedError(Exception):
    """The file is not as it was written."""


def write_checkpoint(run_folder: Path, state: CheckpointContent) -> Path:
    """Write a checkpoint beside the one before, which is only given up once the new one is whole and on the disk.

    Args:
        run_folder: The run folder; made where it is missing.
        state: What it is to hold.

    Returns:
        The path of the checkpoint.

    Raises:
        OSError: There is no room, or the folder cannot be written. The earlier checkpoints are as before.
    """
    import torch  # here: whoever looks for a checkpoint need not load it

    folder = run_folder / FOLDER
    unfinished, newest = folder / _UNFINISHED, folder / NEWEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            # With its version, Lightning reads the module from it, by load_from_checkpoint.
            lightning = {"pytorch-lightning_version": version("pytorch-lightning")}
            torch.save({"format": _FORMAT, **lightning, **state}, file)
        sync(unfinished)
        # Between these two there is no newest, and the one before is taken.
        if newest.exists():
            newest.replace(folder / PREVIOUS)
        unfinished.replace(newest)
        sync(folder)
    except (OSError, RuntimeError) as error:
        _remove(unfinished)
        # Where a write fails, torch complains of a position that it did not expect, with the reason behind that.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise reason from None
    return newest


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.debug("%s could not be removed: %s", path, error)


def remove_checkpoints(run_folder: Path, *, keep_newest: bool = False) -> None:
    """Remove what a fit that is finished, or begins anew, has no use for.

    Args:
        run_folder: The run folder.
        keep_newest: Whether the newest one stays.
    """
    folder = run_folder / FOLDER
    for name in (_UNFINISHED, PREVIOUS) if keep_newest else (_UNFINISHED, PREVIOUS, NEWEST):
        _remove(folder / name)


def find_checkpoint(run_folder: Path) -> Path | None:
    """Return the newest checkpoint of a run, or None where there is none."""
    folder = run_folder / FOLDER
    return next((folder / name for name in (NEWEST, PREVIOUS) if (folder / name).is_file()), None)


def read_checkpoint(path: Path, *, tell: bool = True) -> CheckpointContent:
    """Read a checkpoint; if it is damaged, the one before.

    Nothing in the file is executed: it may hold tensors, numbers and words, and is refused if it holds more.

    Args:
        path: The newest checkpoint, see :func:`find_checkpoint`.
        tell: Whether a damaged one costs a warning; not where it will be read once more.

    Returns:
        What was written, on the CPU.

    Raises:
        UserError: It cannot be read, holds code, or is of another program or version.
    """
    candidates = [path, *(other for other in (path.with_name(PREVIOUS),) if other != path and other.is_file())]
    damages = []
    for candidate in candidates:
        try:
            state = _read(candidate)
        except _DamagedError as error:
            damages.append(f"{candidate.name}: {error}")
            continue
        if damages and tell:
            log.warning("%s is damaged; going on from %s, which is older", path, candidate.name)
        return state
    raise UserError(
        f"{path.parent} holds no checkpoint that is whole ({'; '.join(damages)})",
        f"{NEWEST} or {PREVIOUS} as they were written",
        "remove that folder, and resume to begin the fit anew",
    )


def _read(path: Path) -> CheckpointContent:
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            # torch does not compare the checksums that it writes.
            spoiled = archive.testzip()
    # The last is what zipfile says of a compression that it does not know: a flipped bit can name one.
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise _DamagedError(str(error)) from error
    if spoiled is not None:
        raise _DamagedError(f"{spoiled} differs from its checksum")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} holds more than numbers and words, and would run code", "a checkpoint of dip", "do not trust it"
        ) from None
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise _DamagedError(str(error).splitlines()[0]) from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != _FORMAT:
        told = "of another program" if found is None else f"of format {found}"
        raise UserError(f"{path} is {told}", f"a checkpoint of dip, of format {_FORMAT}", "use the version it is from")
    return cast(CheckpointContent, state)
