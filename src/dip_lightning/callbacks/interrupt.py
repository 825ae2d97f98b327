"""Ctrl-C, SIGTERM, a closed terminal and time that is up end a fit after the present iteration, with all written."""

import logging
import signal
import threading
from typing import Any

import pytorch_lightning as pl

from dip_lightning.module import DeepImagePrior
from dip_lightning.system.signals import install_handlers, restore_handlers

__all__ = ["Interrupt"]

log = logging.getLogger(__name__)


class Interrupt(pl.Callback):
    """Turns the first signal that asks to end into a clean end; a second one does what it did before the fit.

    Lightning's own handling exits the process, which would lose the outputs computed so far.

    Attributes:
        signal: The number of the signal that came, or None.
        cut_short: Whether it ended the fit; not where the fit had just ended by itself.
    """

    def __init__(self) -> None:
        """Start without having been interrupted."""
        self.signal: int | None = None
        self.cut_short = False
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals, where this thread is the one that gets them."""
        self.signal, self.cut_short = None, False
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(number: int) -> None:
            self.signal = number
            self._give_back()
            name = signal.Signals(number).name
            log.warning("%s: ending after this iteration (once more to stop at once)", name)

        self._before = install_handlers(stop)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the fit after this iteration, unless it ends anyway."""
        last = pl_module.iterate.iteration + 1 == pl_module.curves.iterations
        if self.signal is not None and not last and not trainer.should_stop:
            self.cut_short = True
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the signals back."""
        self._give_back()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        restore_handlers(self._before)
        self._before = {}
