"""Held-out pixels: what the fit does not see tells when it has begun to fit noise."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dip_lightning.checks import check_integer, check_number
from dip_lightning.errors import UserError
from dip_lightning.stateful import Stateful
from dip_lightning.stopping.rule import check_noise

if TYPE_CHECKING:
    from dip_lightning.module import DeepImagePrior

__all__ = ["HeldOut"]

_FEWEST = 16
# What is held out of a picture that is large enough, and the most that is held out of a smaller one.
_ENOUGH, _LARGEST_SHARE = 4000, 0.05


class HeldOut(Stateful):
    """The objective on pixels that were left out of it (self-validation).

    Noise that is independent from pixel to pixel cannot be predicted from the neighbours: on held-out pixels, the
    mean squared error against the observation is the error against the clean image plus a constant, whatever the
    distribution of a noise with mean zero. Noise that neighbours share (JPEG, a demosaiced photo) deceives it.
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

    def start(self, module: "DeepImagePrior") -> None:
        """Choose the pixels and take them out of the objective: at least 16, but no more than half.

        Raises:
            UserError: The image has fewer than 32 pixels, or next to no noise.
        """
        check_noise("holdout", module.sigma)
        observation = module.observation
        height, width = observation.shape[-2:]
        share = min(_ENOUGH / (height * width), _LARGEST_SHARE) if self.fraction is None else self.fraction
        count = max(round(share * height * width), _FEWEST)
        if 2 * count > height * width:
            raise UserError(
                f"stopping=holdout on {height}x{width}", f"at least {2 * _FEWEST} pixels", "try stopping=wmv"
            )
        # Drawn on the host, so that every device holds the same pixels out.
        order = torch.randperm(height * width, generator=torch.Generator().manual_seed(self.seed))
        self._held = order[:count].to(observation.device)
        weight = torch.full((height * width,), 1 / (1 - count / (height * width)))
        weight[order[:count]] = 0
        module.weight = weight.reshape(1, 1, height, width).to(observation)
        self._values = self._pixels(observation)

    def statistic(self, module: "DeepImagePrior", output: Tensor) -> Tensor:
        """Return the mean of the objective over the held-out pixels."""
        return module.objective(self._pixels(module.operator(output)), self._values).mean()

    def _pixels(self, image: Tensor) -> Tensor:
        """(1, C, H, W) → (C, held-out pixels)."""
        return image[0].flatten(1)[:, self._held]
