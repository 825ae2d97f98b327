"""The averaged output."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from dip_lightning.checks import check_average
from dip_lightning.module import DeepImagePrior
from dip_lightning.stateful import Stateful

__all__ = ["OutputEMA"]

# The share of the iterations so far that an average whose memory grows remembers.
_SHARE = 0.25


class OutputEMA(Stateful, pl.Callback):
    """Exponential moving average of the one-pass outputs: AVG_i = α·AVG_{i−1} + (1 − α)·IMG_i, AVG_0 = IMG_0.

    Paper, section 3.1. With ``alpha="growing"`` the memory 1/(1 − α_i) is not fixed, but a quarter of the iterations so
    far: 1 − α_i = min(1, 4/(i + 1)). Then nothing is left of the first outputs, whatever the length of the fit.
    The average lives on the device; an iteration in which the fit had diverged leaves it alone.
    """

    remembered: ClassVar[tuple[str, ...]] = ("average", "_empty")

    def __init__(self, alpha: float | str = 0.99) -> None:
        """Set the weight of the past.

        Args:
            alpha: α in [0, 1); 0 makes the average the one-pass output. Or ``"growing"``.

        Raises:
            UserError: α lies outside, or is another word.
        """
        self.alpha = check_average(alpha)
        self.average: Tensor | None = None
        self._empty: Tensor | None = None

    def weight(self, iteration: int) -> float:
        """Return the weight of an iteration's output, 1 − α_i, in (0, 1]; iterations count from 0."""
        return min(1.0, 1 / (_SHARE * (iteration + 1))) if self.alpha is None else 1 - self.alpha

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Forget the average of an earlier fit."""
        self.average = None

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take this iteration's output into the average."""
        iterate = pl_module.iterate
        weight = self.weight(iterate.iteration)
        if self.average is None:
            self.average = iterate.one_pass.clone()
            self._empty = iterate.diverged
        elif iterate.diverged is None:
            self.average.lerp_(iterate.one_pass, weight)
        else:
            # Chosen on the device: reading the flag here would wait for it.
            updated = self.average.lerp(iterate.one_pass, weight)
            if self._empty is not None:  # the fit began with an output that is no number
                updated = torch.where(self._empty, iterate.one_pass, updated)
                self._empty = self._empty & iterate.diverged
            self.average = torch.where(iterate.diverged, self.average, updated)
        iterate.averaged = self.average
