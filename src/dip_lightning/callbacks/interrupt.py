"""Ctrl-C ends a fit after the present iteration, with everything written."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl

__all__ = ["Interrupt"]

log = logging.getLogger(__name__)


class Interrupt(pl.Callback):
    """Turns the first SIGINT into a clean end; a second one stops the process at once.

    Lightning's own handling exits the process, which would lose the outputs computed so far.
    """

    def __init__(self) -> None:
        """Start without having been interrupted."""
        self.interrupted = False
        self._before: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over SIGINT, where this thread is the one that gets it."""
        self.interrupted = False
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self.interrupted = True
            trainer.should_stop = True
            self._give_back()
            log.warning("interrupted: ending after this iteration (Ctrl-C again to stop at once)")

        self._before = signal.signal(signal.SIGINT, stop)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give SIGINT back."""
        self._give_back()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give SIGINT back."""
        self._give_back()

    def _give_back(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
