"""What Lightning's loggers, callbacks and profilers may be built with: what they write lies in the run folder."""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dip_lightning.errors import UserError

__all__ = ["settle_arguments"]

# Classes that a configuration cannot give what they need, or that would change what an iteration is.
_REFUSED = {
    "BatchSizeFinder": "a callback for a fit of one picture, which has no batches of several",
    "CometLogger": "a logger that keeps to the run folder, or trust=pytorch_lightning",
    "GradientAccumulationScheduler": "a callback for a fit in which one iteration is one step",
    "LambdaCallback": "a callback that takes no functions, which a configuration cannot give",
    "LearningRateFinder": "a callback without trial steps, which would count as iterations",
    "LitLogger": "a logger that keeps to the run folder, or trust=pytorch_lightning",
    "ThroughputMonitor": "a callback that takes no functions, which a configuration cannot give",
}
# Arguments that name a folder, which is put below the run folder, and is the run folder where nothing is given.
_FOLDERS = ("dir", "dirpath", "exclude_batches_path", "root_dir", "save_dir")
# Arguments that name a file or a folder below that one.
_NAMES = ("checkpoint_name", "filename", "filename_suffix", "id", "name", "run_id", "sub_dir", "version")
# Arguments whose text is only compared, shown or sent along. Any other text could name a file or a server.
_WORDS = (
    *("add_file_policy", "annealing_strategy", "anonymous", "device", "duration", "entity", "experiment_name"),
    *("flush_secs", "group", "header_style", "interval", "job_type", "log_model", "logging_interval", "max_queue"),
    *("metric", "mode", "monitor", "notes", "parameter_names", "prefix", "project", "pruning_fn", "purge_step"),
    *("run_name", "save_last", "sort_by_key", "tags"),
)
# Arguments of TensorBoard's writer, which fails in words of its own on anything else.
_NUMBERS = ("flush_secs", "max_queue")
# Of a name: nothing that is filled in later ($HOME, ~), no address, and of a format only {name} or {name:.2f}, since
# {epoch:/>9} would write slashes.
_NAME = re.compile(r"([^$~:\\{}\0]|\{\w+(/\w+)*(:[\d.]*[a-z]?)?\})*")
# Lightning's own checkpoints; checkpoints/ holds those that a fit goes on from.
_CHECKPOINTS = "model_checkpoints"


def settle_arguments(
    made: Callable[..., Any], arguments: Mapping[str, Any], folder: Path | None, *, trusted: bool
) -> dict[str, Any]:
    """Have a logger, callback or profiler write into the run folder.

    Args:
        made: What will be called; anything else than a kind of these takes its arguments as they are.
        arguments: With what; of plain containers.
        folder: The run folder; None where nothing is written.
        trusted: Whether it is of a package that is trusted: what is given is then taken.

    Returns:
        The arguments, with the folders below the run folder.

    Raises:
        UserError: It cannot be built from a configuration, or is given what could make it write elsewhere, run
            something or speak to a server.
    """
    settled = dict(arguments)
    if not _is_a(made, "Callback", "Logger", "Profiler"):
        return settled
    known = inspect.signature(made).parameters
    for name in _FOLDERS:
        if name not in known or folder is None or (trusted and name in settled):
            continue
        given = settled.get(name)
        if given is not None:
            settled[name] = str(folder / _within(made, name, given, folder))
        elif name == "dirpath" and _is_a(made, "Checkpoint"):
            settled[name] = str(folder / _CHECKPOINTS)
        else:
            settled[name] = str(folder)
    if not trusted:
        _check(made, arguments, folder)
    return settled


def _check(made: Callable[..., Any], arguments: Mapping[str, Any], folder: Path | None) -> None:
    known = inspect.signature(made).parameters
    if made.__name__ in _REFUSED:
        raise UserError(_full_name(made), _REFUSED[made.__name__], "leave it out; give it from Python")
    if folder is None and _is_a(made, "Checkpoint"):
        raise UserError(_full_name(made), "a run folder that it can write to", "name one, or leave it out")
    for name, value in arguments.items():
        if name in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 1):
            raise UserError(f"{_full_name(made)} with {name}={value}", "a number from 1 on", "leave it out")
        if name in _NAMES or (name in _FOLDERS and folder is None):
            _within(made, name, value, folder)
        elif name not in (*_FOLDERS, *_WORDS) and (_has_text(value) or (name not in known and _is_a(made, "Logger"))):
            raise UserError(
                f"{_full_name(made)} with {name}={value}",
                "arguments that cannot make it write elsewhere or run code",
                "leave it out, or give it from Python",
            )


def _is_a(made: Callable[..., Any], *kinds: str) -> bool:
    """Whether it is a class of a kind that a room of Lightning's is named after, and not of this package."""
    import pytorch_lightning as pl  # here: composing and printing a configuration must not load it

    rooms = (pl.callbacks, pl.loggers, pl.profilers)
    bases = tuple(getattr(room, kind) for kind in kinds for room in rooms if hasattr(room, kind))
    return inspect.isclass(made) and issubclass(made, bases) and not made.__module__.startswith("dip_lightning.")


def _has_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_text, value.values()))
    return any(map(_has_text, value)) if isinstance(value, list) else isinstance(value, (str, bytes, Path))


def _within(made: Callable[..., Any], name: str, value: Any, folder: Path | None) -> str:
    """Return a name that lies below a folder, whatever links there are."""
    text = "" if value is None else str(value)
    if folder is not None and _NAME.fullmatch(text) and ".." not in Path(text).parts:
        if (folder / text).resolve().is_relative_to(folder.resolve()):
            return text
    elif folder is None and not text:
        return text
    raise UserError(f"{_full_name(made)} with {name}={value}", "a name below the run folder", "try a plain name")


def _full_name(made: Callable[..., Any]) -> str:
    return f"{made.__module__}.{made.__qualname__}"
