"""Checkpoints while a fit runs, and going on from one."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl

from dip_lightning.callbacks.fit_state import capture, put_back
from dip_lightning.callbacks.interrupt import Interrupt
from dip_lightning.checks import check_integer, check_number
from dip_lightning.module import DeepImagePrior
from dip_lightning.runs.checkpoint_file import CheckpointContent, write_checkpoint

__all__ = ["Checkpoint"]

log = logging.getLogger(__name__)

# A checkpoint that took long to write makes the next one wait: writing takes no more than this share of the time.
_SHARE = 0.01


class Checkpoint(pl.callbacks.Checkpoint):  # Lightning runs such a one after all others
    """Writes the state of the fit to the run folder, and puts an earlier one back before the first iteration.

    A checkpoint is due after some seconds, since what is lost in a crash is time; or after some iterations, where it
    must be known which. A fit that is ended by a signal writes one, too. One that cannot be written costs a warning.

    Attributes:
        run_folder: Where checkpoints are written, set by the fit; None for nowhere.
        about: What a checkpoint says of the fit besides its state, set by the fit.
        resumed: The checkpoint that the fit goes on from, set by the fit; None for a fit that begins.
    """

    def __init__(self, seconds: float = 60, iterations: int | None = None) -> None:
        """Set how often.

        Args:
            seconds: Seconds between two checkpoints; 100 times as long as writing one takes, where that is longer.
            iterations: Iterations between two checkpoints, instead; None for ``seconds``.

        Raises:
            UserError: A value is not positive.
        """
        name = "callbacks.checkpoint."
        self.seconds = check_number(name + "seconds", seconds, 0, low_open=True, example=60)
        if iterations is not None:
            check_integer(name + "iterations", iterations, 1, example=500)
        self.iterations = iterations
        self.run_folder: Path | None = None
        self.about: Mapping[str, Any] = {}
        self.resumed: CheckpointContent | None = None
        self._warned = False
        self._began = self._last = time.monotonic()
        self._wait = self.seconds

    @property
    def seconds_spent(self) -> float:
        """How long the fit has taken so far, with what came before the checkpoint that it goes on from."""
        before = 0.0 if self.resumed is None else float(self.resumed["seconds"])
        return before + time.monotonic() - self._began

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Start the clock."""
        self._warned = False
        self._began = self._last = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Put the earlier state back: every other callback has begun, and no number has been drawn."""
        if self.resumed is not None:
            put_back(self.resumed, trainer, pl_module)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write when it is time, or when a signal has ended the fit."""
        if self.run_folder is None:
            return
        done = pl_module.iterate.iteration + 1
        if any(isinstance(other, Interrupt) and other.cut_short for other in trainer.callbacks):  # type: ignore[attr-defined]
            self.write(trainer, pl_module)
        elif trainer.should_stop or done == pl_module.curves.iterations:
            # Nothing would be left to do after it. Until the results are written, the one before is the way to them.
            return
        elif self._is_due(done):
            self.write(trainer, pl_module)

    def _is_due(self, done: int) -> bool:
        if self.iterations is None:
            return time.monotonic() - self._last >= self._wait
        return done % self.iterations == 0

    def write(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:
        """Write a checkpoint now; where that fails, the fit is told of it once and goes on.

        Args:
            trainer: What runs the fit.
            pl_module: The fit.
        """
        assert self.run_folder is not None
        started = time.monotonic()
        try:
            state = {**self.about, **capture(trainer, pl_module), "seconds": self.seconds_spent}
            write_checkpoint(self.run_folder, cast(CheckpointContent, state))
        except OSError as error:
            if not self._warned:
                log.warning(
                    "iteration %d: no checkpoint could be written (%s); the fit goes on, and tries again",
                    pl_module.iterate.iteration,
                    error.strerror or error,
                )
            self._warned = True
        else:
            self._warned = False
        self._last = time.monotonic()
        self._wait = max(self.seconds, (self._last - started) / _SHARE)
