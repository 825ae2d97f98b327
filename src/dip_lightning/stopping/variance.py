"""Rules that watch how much the output moves: it moves least where it is best (Wang et al., arXiv 2112.06074)."""

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dip_lightning.checks import check_integer, check_number
from dip_lightning.problems.problem import Problem
from dip_lightning.stateful import Stateful

if TYPE_CHECKING:
    from dip_lightning.module import Iterate

__all__ = ["MovingVariance", "WindowedVariance"]


class WindowedVariance(Stateful):
    """ES-WMV: the variance of the one-pass output over the last ``window`` iterations.

    VAR = (1/W) Σ_i ‖x_i − x̄‖² / N = Σ_i ‖x_i‖² / (W·N) − ‖x̄‖² / N, over W outputs of N samples. Both sums are kept
    up to date, so that an iteration costs O(N) whatever the window. Two things keep float32 sound: outputs are taken
    relative to a mean of theirs, which leaves little to cancel, and every W iterations, before the first value as well,
    that mean and both sums are computed afresh, so that rounding cannot pile up. Outputs that are no numbers, or of
    iterations that had diverged, are passed over, as if they had not been.
    """

    follows_output = False
    needs_independent_noise = True
    remembered: ClassVar[tuple[str, ...]] = ("_outputs", "_reference", "_sum", "_sum_of_squares", "_seen", "_taken")

    def __init__(self, window: int = 100, max_samples: int = 65536) -> None:
        """Set the window.

        Args:
            window: Number of outputs W, at least 2.
            max_samples: How many samples of an image are looked at, spread evenly; the window keeps W times as many
                in memory.

        Raises:
            UserError: A value is not allowed.
        """
        self.window = check_integer("stopping.rules.wmv.window", window, 2, example=100)
        self.max_samples = check_integer("stopping.rules.wmv.max_samples", max_samples, 1, example=65536)

    def prepare(self, problem: Problem) -> Problem:
        """Make room for the window."""
        samples = math.prod(problem.shape)
        self._stride = -(-samples // self.max_samples)
        count = -(-samples // self._stride)
        self._outputs = problem.observation.new_zeros((self.window, count))
        self._reference = problem.observation.new_zeros(count)
        self._sum = problem.observation.new_zeros(count)
        self._sum_of_squares = problem.observation.new_zeros(())
        self._seen = 0
        # How many of them were taken in is known on the device alone; of shape (1,), as an index.
        self._taken = torch.zeros(1, dtype=torch.int64, device=problem.observation.device)
        return problem

    def statistic(self, iterate: "Iterate", output: Tensor) -> Tensor | None:
        """Return the variance of the one-pass outputs in the window; None until it is full."""
        return self.update(iterate.one_pass.reshape(-1)[:: self._stride], iterate.diverged)

    def update(self, output: Tensor, diverged: Tensor | None = None) -> Tensor | None:
        """Take the next output (N) into the window; returns the variance, of shape (), or None.

        Args:
            output: The samples that are looked at.
            diverged: Whether the fit had left its course, of shape (); None for not.

        Returns:
            NaN for an output that was passed over, and until as many as the window holds were taken in.
        """
        deviation = output - self._reference
        square = deviation.dot(deviation)
        good = _is_good(square, diverged)
        slot = self._taken % self.window
        oldest = self._outputs.index_select(0, slot)[0]
        newest = torch.where(good, deviation, oldest)
        self._sum += newest - oldest
        self._sum_of_squares += torch.where(good, square - oldest.dot(oldest), 0.0)
        self._outputs.index_copy_(0, slot, newest[None])
        self._taken += good
        self._seen += 1
        if self._seen % self.window == 0:
            self._refresh()
        if self._seen < self.window:
            return None
        squared_mean = self._sum.dot(self._sum) / self.window
        variance = (self._sum_of_squares - squared_mean) / (self.window * output.numel())
        return torch.where(good & (self._taken >= self.window), variance, torch.nan)[0]

    def _refresh(self) -> None:
        """Take the outputs relative to their mean, and compute both sums from them: O(W·N), once every W iterations."""
        mean = self._outputs.mean(dim=0)
        self._outputs -= mean
        self._reference += mean
        torch.sum(self._outputs, dim=0, out=self._sum)
        self._sum_of_squares.copy_(self._outputs.square().sum())


class MovingVariance(Stateful):
    """ES-EMV: an exponentially weighted variance of the one-pass output.

    With δ = x − mean: mean ← mean + α·δ; variance ← (1 − α)·(variance + α·‖δ‖²/N). Needs no window. Outputs that are
    no numbers, or of iterations that had diverged, are passed over, as if they had not been.
    """

    follows_output = False
    needs_independent_noise = True
    remembered: ClassVar[tuple[str, ...]] = ("_mean", "_variance", "_seen", "_taken")

    def __init__(self, alpha: float = 0.1) -> None:
        """Set the weight of the newest output.

        Args:
            alpha: α in (0, 1).

        Raises:
            UserError: α lies outside.
        """
        self.alpha = check_number("stopping.rules.emv.alpha", alpha, 0, 1, low_open=True, high_open=True, example=0.1)

    def prepare(self, problem: Problem) -> Problem:
        """Begin anew."""
        self._mean = problem.observation.new_zeros((1, *problem.shape))
        self._variance = problem.observation.new_zeros(())
        self._seen = 0
        self._taken = torch.zeros((), dtype=torch.int64, device=problem.observation.device)
        return problem

    def statistic(self, iterate: "Iterate", output: Tensor) -> Tensor | None:
        """Return the variance; None for the first 1/α iterations, which still remember the start."""
        one_pass = iterate.one_pass
        self._mean = torch.where(self._taken == 0, one_pass, self._mean)
        delta = one_pass - self._mean
        square = delta.square().mean()
        good = _is_good(square, iterate.diverged)
        self._mean.add_(torch.where(good, delta, 0.0), alpha=self.alpha)
        moved = (1 - self.alpha) * (self._variance + self.alpha * square)
        self._variance = torch.where(good, moved, self._variance)
        self._taken += good
        self._seen += 1
        if self._seen <= 1 / self.alpha:
            return None
        return torch.where(good & (self._taken > 1 / self.alpha), self._variance, torch.nan)


def _is_good(square: Tensor, diverged: Tensor | None) -> Tensor:
    """Whether an output says how much the fit moves: one that is no number, and so its square, has not stood still."""
    finite = torch.isfinite(square)
    return finite if diverged is None else finite & ~diverged
