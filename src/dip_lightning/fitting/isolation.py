"""Running a fit so that nothing of it is left to the next one in the same process."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dip_lightning.system.allocator import memory_kept
from dip_lightning.system.loggers import quiet_writers
from dip_lightning.system.randomness import global_numbers_kept

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


@contextmanager
def isolated() -> Iterator[None]:
    """Keep Lightning's remarks out of the output, and settings and random states from outliving the fit."""
    logger = logging.getLogger("pytorch_lightning")
    level, deterministic = logger.level, torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for remark in _REMARKS:
                warnings.filterwarnings("ignore", message=f".*{remark}")
            with global_numbers_kept(), quiet_writers(), memory_kept():
                yield
    finally:
        logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark
