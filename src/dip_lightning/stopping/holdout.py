"""Held-out pixels: what the fit does not see tells when it has begun to fit noise."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dip_lightning.checks import check_integer, check_number
from dip_lightning.errors import UserError
from dip_lightning.problems.problem import Problem
from dip_lightning.stateful import Stateful
from dip_lightning.system.randomness import derived_seed

if TYPE_CHECKING:
    from dip_lightning.module import Iterate

__all__ = ["HeldOut"]

_FEWEST = 16
# What is held out of a picture that is large enough, and the most that is held out of a smaller one.
_ENOUGH, _LARGEST_SHARE = 4000, 0.05


class HeldOut(Stateful):
    """The data term on pixels that were left out of it (self-validation).

    Noise that is independent from pixel to pixel cannot be predicted from the neighbours: on held-out pixels, the
    mean squared error against the observation is the error against the clean image plus a constant, whatever the
    distribution of a noise with mean zero. How strong it is need not be known, nor that there is any: what was held out
    of a picture without noise is predicted ever better. Noise that neighbours share (JPEG, a demosaiced photo) deceives
    it.
    """

    follows_output = True
    remembered: ClassVar[tuple[str, ...]] = ("_held", "_values")

    def __init__(self, fraction: float | None = None, seed: int = 0) -> None:
        """Set how many pixels are held out.

        Args:
            fraction: Share of the pixels, in (0, 0.5]; the more, the surer the detection, and the less to fit to. None
                for 4000 pixels, but at most 5%.
            seed: Which pixels.

        Raises:
            UserError: A value is not allowed.
        """
        if fraction is not None:
            check_number("stopping.rules.holdout.fraction", fraction, 0, 0.5, low_open=True, example=0.05)
        self.fraction = fraction
        self.seed = check_integer("stopping.rules.holdout.seed", seed, 0, example=0)

    def prepare(self, problem: Problem) -> Problem:
        """Choose pixels of the known ones and take them out of the data term: at least 16, but no more than half.

        Raises:
            UserError: Fewer than 32 pixels are known.
        """
        self._operator, self._data_term = problem.operator, problem.data_term
        observation = problem.observation
        height, width = observation.shape[-2:]
        known = problem.known if problem.used is None else problem.used
        known = observation.new_ones((1, 1, height, width)) if known is None else known
        candidates = known.cpu().reshape(-1, height * width).all(dim=0).nonzero()[:, 0]
        share = min(_ENOUGH / max(len(candidates), 1), _LARGEST_SHARE) if self.fraction is None else self.fraction
        count = max(round(share * len(candidates)), _FEWEST)
        if 2 * count > len(candidates):
            told = f"stopping=holdout on {len(candidates)} known pixels"
            raise UserError(told, f"at least {2 * _FEWEST}", "try stopping=wmv")
        # Drawn on the host, so that every device holds the same pixels out.
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "held out"))
        order = torch.randperm(len(candidates), generator=generator)
        self._held = candidates[order[:count]].to(observation.device)
        kept = known.clone(memory_format=torch.contiguous_format)
        kept.reshape(-1, height * width)[:, self._held] = 0
        self._values = self._pixels(observation)
        return problem.replace(used=kept)

    def statistic(self, iterate: "Iterate", output: Tensor) -> Tensor:
        """Return the mean of the data term over the held-out pixels."""
        return self._data_term(self._pixels(self._operator(output)), self._values).mean()

    def _pixels(self, image: Tensor) -> Tensor:
        """(1, C, H, W) → (C, held-out pixels)."""
        return image[0].flatten(1)[:, self._held]
