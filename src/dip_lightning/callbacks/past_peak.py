"""Ending a fit for a study once its peak lies behind it."""

import math
from typing import Any

import pytorch_lightning as pl

from dip_lightning.callbacks.detection import Detection
from dip_lightning.callbacks.picks import Picks
from dip_lightning.checks import check_integer, check_number
from dip_lightning.module import DeepImagePrior
from dip_lightning.stopping import CleanError

__all__ = ["PastPeak"]


class PastPeak(Detection):
    """Ends a fit when the output has fallen some decibels below its peak and stays there, and hands the peak back.

    For studies, whose curves then hold the peak and its surroundings without the thousands of iterations after them. It
    measures against the clean image: what it hands back is what no rule could do better.
    """

    def __init__(
        self, drop_db: float = 0.5, min_iterations: int = 300, check_every: int | None = None, patience: int = 100
    ) -> None:
        """Set how far.

        Args:
            drop_db: How far below its peak the PSNR must have fallen, in dB.
            min_iterations: Iterations before this one do not count.
            check_every: Iterations between two looks; None for 1 on a CPU and 25 elsewhere, where a look waits.
            patience: For how many iterations every look must have found it that far below: fits that still rise
                fall by several decibels for a few iterations now and then.

        Raises:
            UserError: A value is not allowed.
        """
        check_integer("stopping.patience", patience, 1, example=100)
        rules = {"past_peak": CleanError()}
        super().__init__(rules, min_iterations=min_iterations, check_every=check_every, patience=patience)
        self.drop_db = check_number("stopping.drop_db", drop_db, 0, low_open=True, example=0.5)
        self._below_since: int | None = None

    @property
    def earliest_end(self) -> int:
        """The number of iterations before which the fit cannot end."""
        return self.min_iterations + 1 + (self.patience or 0)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Forget an earlier fit."""
        super().on_fit_start(trainer, pl_module)
        self._below_since = None

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted fit goes on from."""
        return {**super().state_dict(), "below_since": self._below_since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        super().load_state_dict(state_dict)
        self._below_since = state_dict["below_since"]

    def _look(self, trainer: pl.Trainer, picks: Picks, iteration: int) -> None:
        best, latest = float(picks.best), float(self._latest)
        if not math.isfinite(latest) or latest <= best * 10 ** (self.drop_db / 10):
            self._below_since = None
            return
        if self._below_since is None:
            self._below_since = iteration
        if iteration - self._below_since + 1 >= (self.patience or 1):
            self.settled, self.ended_fit, trainer.should_stop = ["past_peak"], True, True
