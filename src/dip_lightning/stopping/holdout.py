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

# Of noise that neighbours share: the side of the part of a block that is judged, how many blocks are enough and how few
# too few, and the most that is taken out. A block's mean error varies more than sixteen pixels' on their own would.
_INNER, _ENOUGH_BLOCKS, _FEWEST_BLOCKS, _LARGEST_SHARE_OF_BLOCKS = 4, 1000, 8, 0.06


class HeldOut(Stateful):
    """The data term on pixels that were left out of it (self-validation).

    Noise that is independent from pixel to pixel cannot be predicted from the neighbours: on held-out pixels, the
    mean squared error against the observation is the error against the clean image plus a constant, whatever the
    distribution of a noise with mean zero. How strong it is need not be known, nor that there is any: what was held out
    of a picture without noise is predicted ever better.

    Noise that neighbours share can be predicted from them. Of such (a developed photograph), blocks are held out that
    are so wide that their inner 4×4 pixels share next to none of it with what is fitted, and these are judged.
    """

    follows_output = True
    remembered: ClassVar[tuple[str, ...]] = ("_held",)

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
        """Choose pixels or blocks of the known ones and take them out of the data term: no more than half.

        Raises:
            UserError: Fewer than 32 pixels are known, or 8 blocks, or samples cannot be left out of the data term.
        """
        if getattr(problem.data_term, "mixes_samples", False):
            told = f"stopping=holdout with data_term={getattr(problem.data_term, '__name__', 'this')}"
            raise UserError(told, "a data term that compares each sample by itself", "try stopping=wmv")
        self._operator, self._data_term = problem.operator, problem.data_term
        observation = problem.observation
        height, width = observation.shape[-2:]
        known = problem.known if problem.used is None else problem.used
        known = observation.new_ones((1, 1, height, width)) if known is None else known
        everywhere = known.cpu().reshape(-1, height, width).all(dim=0)
        # Drawn on the host, so that every device holds the same pixels out.
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "held out"))
        if problem.shares_noise:
            assert problem.noise is not None
            taken, judged = self._blocks(everywhere, problem.noise.reach, generator)
        else:
            taken = judged = self._pixels(everywhere, generator)
        self._held = judged.to(observation.device)
        kept = known.clone(memory_format=torch.contiguous_format)
        kept.reshape(-1, height * width)[:, taken.to(observation.device)] = 0
        self._observation = observation
        return problem.replace(used=kept)

    def _pixels(self, known: Tensor, generator: torch.Generator) -> Tensor:
        """Return the indices of the pixels to hold out."""
        candidates = known.flatten().nonzero()[:, 0]
        share = min(_ENOUGH / max(len(candidates), 1), _LARGEST_SHARE) if self.fraction is None else self.fraction
        count = max(round(share * len(candidates)), _FEWEST)
        if 2 * count > len(candidates):
            told = f"stopping=holdout on {len(candidates)} known pixels"
            raise UserError(told, f"at least {2 * _FEWEST}", "try stopping=wmv")
        order = torch.randperm(len(candidates), generator=generator)
        return candidates[order[:count]]

    def _blocks(self, known: Tensor, reach: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the indices of the pixels to hold out, and of those of them that are judged."""
        height, width = known.shape
        side = _INNER + 2 * reach
        top, left = (int(torch.randint(length % side + 1, (), generator=generator)) for length in (height, width))
        index = torch.arange(height * width).reshape(height, width)[top:, left:]
        if min(index.shape) >= side:
            cells = index.unfold(0, side, side).unfold(1, side, side).reshape(-1, side, side)
        else:
            cells = index.new_empty((0, side, side))
        cells = cells[known.flatten()[cells].flatten(1).all(dim=1)]
        most = min(_ENOUGH_BLOCKS / max(len(cells), 1), _LARGEST_SHARE_OF_BLOCKS)
        count = max(round((most if self.fraction is None else self.fraction) * len(cells)), _FEWEST_BLOCKS // 2)
        if 2 * count > len(cells):
            raise UserError(
                f"stopping=holdout on {len(cells)} blocks of {side}x{side} known pixels, whose noise neighbours share",
                f"at least {_FEWEST_BLOCKS}",
                "try problem.noise=white, or stopping=wmv",
            )
        chosen = cells[torch.randperm(len(cells), generator=generator)[:count]]
        inner = slice(reach, reach + _INNER)
        return chosen.flatten(), chosen[:, inner, inner].flatten()

    def statistic(self, iterate: "Iterate", output: Tensor) -> Tensor:
        """Return the mean of the data term over the held-out pixels."""
        return self._judged(self._data_term(self._operator(output), self._observation)).mean()

    def _judged(self, image: Tensor) -> Tensor:
        """(1, C, H, W) → (C, judged pixels)."""
        return image[0].flatten(1)[:, self._held]
