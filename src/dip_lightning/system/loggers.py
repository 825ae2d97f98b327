"""Loggers that cannot write any more do not end a fit."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

__all__ = ["quiet_writers", "spared_loggers"]

log = logging.getLogger(__name__)


@contextmanager
def spared_loggers(trainer: pl.Trainer) -> Iterator[list[Logger]]:
    """Hand out the loggers of a fit; where writing fails, say so once, and let the fit go on without them.

    Args:
        trainer: What runs the fit.
    """
    loggers = trainer.loggers
    try:
        for logger in loggers:
            if logger.save_dir is not None:
                Path(logger.save_dir).mkdir(parents=True, exist_ok=True)  # somebody may have removed it
    except OSError as error:
        _give_up(trainer, error)
    try:
        yield trainer.loggers
        for logger in trainer.loggers:
            logger.save()
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__  # Lightning wraps what TensorBoard raises
        if not isinstance(cause, OSError):
            raise
        _give_up(trainer, cause)


def _give_up(trainer: pl.Trainer, error: OSError) -> None:
    log.warning("loggers cannot write any more (%s); the fit goes on without them", error.strerror or error)
    trainer.loggers = []


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Keep the thread that writes TensorBoard's events from printing a traceback; its error is raised here, too."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not issubclass(arguments.exc_type, OSError):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
