"""Loggers that cannot write any more do not end a fit, and those that can write one file a fit."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger

__all__ = ["close_loggers", "kept_open", "quiet_writers", "spared_loggers"]

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
def kept_open(trainer: pl.Trainer) -> Iterator[None]:
    """Keep TensorBoard's files open when the trainer has ended: what is written then would begin another file.

    Whoever has written the last of it calls :func:`close_loggers`; where the fit ends in an error, it is done here.

    Args:
        trainer: What runs the fit.
    """
    kept = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    for logger in kept:
        logger.finalize = lambda status: None  # type: ignore[method-assign]
    try:
        yield
    except BaseException:
        for logger in kept:
            del logger.finalize  # the one of its class is in force again
            with suppress(OSError, ValueError):  # of a full disk, which is no news then
                logger.finalize("failed")
        raise
    for logger in kept:
        del logger.finalize


def close_loggers(trainer: pl.Trainer) -> None:
    """Close the loggers of a fit that has ended; where that fails, say so.

    Args:
        trainer: What has run the fit.
    """
    with spared_loggers(trainer) as loggers:
        for logger in loggers:
            logger.finalize("success")


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
