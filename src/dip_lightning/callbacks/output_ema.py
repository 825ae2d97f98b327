"""The averaged output."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from dip_lightning.checks import check_average
from dip_lightning.module import DeepImagePrior, Iterate
from dip_lightning.stateful import Stateful

__all__ = ["OutputEMA"]

# The share of the iterations so far that an average whose memory grows remembers.
_SHARE = 0.25


class OutputEMA(Stateful, pl.Callback):
    """Exponential moving average of the one-pass outputs: AVG_i = α·AVG_{i−1} + (1 − α)·IMG_i, AVG_0 = IMG_0.

    Paper, section 3.1. With ``alpha="growing"`` the memory 1/(1 − α_i) is not fixed, but a quarter of the iterations so
    far: 1 − α_i = min(1, 4/(i + 1)). Then nothing is left of the first outputs, whatever the length of the fit.
    For a fixed α the average whose memory grows until it is that of α, 1 − α_i = max(1 − α, min(1, 4/(i + 1))), is kept
    beside the paper's: of a short fit the paper's is still mostly the first, meaningless output.
    The averages live on the device; an iteration in which the fit had diverged leaves them alone.

    Attributes:
        average: The paper's, (1, C, H, W); None before the first iteration.
        warm_average: The one whose memory grows at first, to be handed back; with ``alpha="growing"`` the same tensor.
    """

    remembered: ClassVar[tuple[str, ...]] = ("average", "warm_average", "_empty")

    def __init__(self, alpha: float | str = 0.99) -> None:
        """Set the weight of the past.

        Args:
            alpha: α in [0, 1); 0 makes the average the one-pass output. Or ``"growing"``.

        Raises:
            UserError: α lies outside, or is another word.
        """
        self.alpha = check_average(alpha)
        self.average: Tensor | None = None
        self.warm_average: Tensor | None = None
        self._empty: Tensor | None = None

    def weight(self, iteration: int) -> float:
        """Return the weight of an iteration's output, 1 − α_i, in (0, 1]; iterations count from 0."""
        return self._warm_weight(iteration) if self.alpha is None else 1 - self.alpha

    def _warm_weight(self, iteration: int) -> float:
        growing = min(1.0, 1 / (_SHARE * (iteration + 1)))
        return growing if self.alpha is None else max(1 - self.alpha, growing)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned, here or in a version that kept the paper's average alone."""
        super().load_state_dict({"warm_average": state_dict["average"], **state_dict})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        """Forget the averages of an earlier fit."""
        self.average = self.warm_average = None

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take this iteration's output into the averages."""
        iterate = pl_module.iterate
        begun = self.average is not None
        average = self._with(iterate, self.average, self.weight(iterate.iteration))
        if self.alpha is None:
            self.warm_average = average
        else:
            self.warm_average = self._with(iterate, self.warm_average, self._warm_weight(iterate.iteration))
        self.average = average
        if not begun:
            self._empty = iterate.diverged
        elif self._empty is not None and iterate.diverged is not None:
            self._empty = self._empty & iterate.diverged
        iterate.averaged, iterate.warm_average = self.average, self.warm_average

    def _with(self, iterate: Iterate, average: Tensor | None, weight: float) -> Tensor:
        """Return an average with this iteration's output in it."""
        if average is None:
            return iterate.one_pass.clone()
        if iterate.diverged is None:
            return average.lerp_(iterate.one_pass, weight)
        # Chosen on the device: reading the flag here would wait for it.
        updated = average.lerp(iterate.one_pass, weight)
        if self._empty is not None:  # the fit began with an output that is no number
            updated = torch.where(self._empty, iterate.one_pass, updated)
        return torch.where(iterate.diverged, average, updated)
