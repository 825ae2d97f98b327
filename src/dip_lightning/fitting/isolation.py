"""Running a fit so that nothing of it is left to the next one in the same process."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning_utilities.core import rank_zero

from dip_lightning.system.allocator import memory_kept
from dip_lightning.system.loggers import quiet_writers
from dip_lightning.system.output import open_streams
from dip_lightning.system.randomness import global_numbers_kept
from dip_lightning.system.shared_state import Turns

__all__ = ["isolated"]

# Remarks of Lightning that do not concern one image.
_REMARKS = (
    "does not have many workers",  # a batch is a number
    "GPU available but not used",
    "Experiment logs directory .* is not empty",  # which CSVLogger then writes anew, from the beginning of the fit
    "is smaller than the logging interval",  # CurveLogger logs what is left at the end
    "AMP with fp16 is not supported on CPU",  # refused by Precision.check_device; Lightning would do something else
    "isinstance.treespec, LeafSpec",  # Lightning 2.6 on torch 2.13
)


# What keeps all processes but the first from writing; it remembers which this one is.
_only_first: Any = rank_zero.rank_zero_only

# What Lightning sets where operations are to be the same each time.
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def isolated(*, deterministic: bool = False) -> Iterator[None]:
    """Keep Lightning's remarks out of the output, and settings and random states from outliving the fit.

    Several threads may be in it. What belongs to the whole process is put back when the last of them leaves; one that
    wants another process waits until the others have left.

    Args:
        deterministic: Whether operations must be the same each time, which holds for the whole process.
    """
    with _process.take(deterministic), _as_usual():
        yield


@contextmanager
def _as_usual() -> Iterator[None]:
    """What belongs to a thread, as torch has it from the start: gradients, and tensors on the CPU."""
    device = torch.get_default_device()
    usual = nullcontext() if device.type == "cpu" else torch.device("cpu")
    with usual, torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def _changed_process(deterministic: bool) -> Iterator[None]:
    """Change what belongs to the process, and put it back; ``deterministic`` is set by Lightning itself."""
    logger = logging.getLogger("pytorch_lightning")
    level, raises, rank = logger.level, logging.raiseExceptions, getattr(_only_first, "rank", 0)
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, dtype = torch.backends.cudnn.benchmark, torch.get_default_dtype()
    workspace = os.environ.get(_WORKSPACE)
    logger.setLevel(logging.WARNING)
    logging.raiseExceptions = False  # what cannot be logged is no reason to end a fit
    _only_first.rank = 0  # which Lightning has taken from the environment: others log nothing
    torch.set_default_dtype(torch.float32)
    try:
        with warnings.catch_warnings(), open_streams(), quiet_writers(), memory_kept():
            for remark in _REMARKS:
                warnings.filterwarnings("ignore", message=f".*{remark}")
            with global_numbers_kept():
                yield
    finally:
        logger.setLevel(level)
        logging.raiseExceptions, _only_first.rank = raises, rank
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        torch.backends.cudnn.benchmark = benchmark
        torch.set_default_dtype(dtype)
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = workspace


_process = Turns(_changed_process)
