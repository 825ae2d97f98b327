"""Ending a fit for a study once its peak lies behind it."""

import math

import pytorch_lightning as pl

from dip_lightning.callbacks.detection import Detection, Picks
from dip_lightning.checks import check_number
from dip_lightning.stopping import CleanError

__all__ = ["PastPeak"]


class PastPeak(Detection):
    """Ends a fit when the output has fallen some decibels below its peak, and hands the peak back.

    For studies, whose curves then hold the peak and its surroundings without the thousands of iterations after them. It
    measures against the clean image: what it hands back is what no rule could do better.
    """

    def __init__(self, drop_db: float = 0.5, min_iterations: int = 300, check_every: int | None = None) -> None:
        """Set how far.

        Args:
            drop_db: How far below its peak the PSNR must have fallen, in dB.
            min_iterations: Iterations before this one do not count.
            check_every: Iterations between two looks; None for 1 on a CPU and 25 elsewhere, where a look waits.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__({"past_peak": CleanError()}, min_iterations=min_iterations, check_every=check_every)
        self.drop_db = check_number("stopping.drop_db", drop_db, 0, low_open=True, example=0.5)

    @property
    def earliest_end(self) -> int:
        """The number of iterations before which the fit cannot end."""
        return self.min_iterations + 2

    def _look(self, trainer: pl.Trainer, picks: Picks, iteration: int) -> None:
        best, latest = float(picks.best), float(self._latest)
        if math.isfinite(latest) and latest > best * 10 ** (self.drop_db / 10):
            self.settled, self.ended_fit, trainer.should_stop = ["past_peak"], True, True
