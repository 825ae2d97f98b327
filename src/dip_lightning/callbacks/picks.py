"""What each stopping rule would hand back, kept on the device."""

from typing import ClassVar

import torch
from torch import Tensor

from dip_lightning.stateful import Stateful

__all__ = ["Picks"]


class Picks(Stateful):
    """What each of R rules would hand back so far. All of it lives on the device, so that keeping it waits for nothing.

    Attributes:
        best: The lowest value of each statistic, (R,).
        minimum: The iteration of that value, (R,); -1 before the first.
        stood: How many iterations there were since, (R,), of which a rule could say something.
        iteration: The iteration that the image is of, (R,); -1 before the first.
        images: The outputs of those iterations, (R, C, H, W).
    """

    remembered: ClassVar[tuple[str, ...]] = ("best", "minimum", "stood", "iteration", "images")

    def __init__(self, like: Tensor, lags: list[int | None]) -> None:
        """Begin with nothing.

        Args:
            like: What the outputs are like, (1, C, H, W).
            lags: How many iterations each pick trails its minimum; None for half of the iterations up to there.
        """
        self.best = like.new_full((len(lags),), torch.inf)
        self.minimum = torch.full((len(lags),), -1, device=like.device)
        self.iteration = self.minimum.clone()
        self.stood = torch.zeros_like(self.minimum)
        self.images = torch.zeros_like(like).repeat(len(lags), 1, 1, 1)
        self._lags = torch.tensor([-1 if lag is None else lag for lag in lags], device=like.device)

    def update(self, iteration: int, values: Tensor, output: Tensor) -> None:
        """Take in an iteration: keep its output where its value is the least, or no more than the lag after the least.

        An iteration without any value, as one that had diverged, does not count.

        Args:
            iteration: Which.
            values: The statistics, (R,); what is not finite is no value.
            output: What would be handed back, (1, C, H, W).
        """
        finite = torch.isfinite(values)
        better = finite & (values < self.best)
        self.best = torch.where(better, values, self.best)
        self.minimum = torch.where(better, iteration, self.minimum)
        self.stood = torch.where(better, 0, self.stood + finite.any())
        lags = torch.where(self._lags < 0, self.minimum // 2, self._lags)
        follows = finite & (self.minimum >= 0) & (self.stood <= lags)
        self.iteration = torch.where(follows, iteration, self.iteration)
        torch.where(follows[:, None, None, None], output, self.images, out=self.images)
