"""A small picture of a large one, made of means."""

import torch.nn.functional as F
from torch import Tensor

from dip_lightning.problems.operators.super_resolution import SuperResolution

__all__ = ["Downsample"]


class Downsample(SuperResolution):
    """Means over blocks of ``factor`` × ``factor`` pixels: an ideal sensor with fewer, larger pixels."""

    def __init__(self, factor: int = 2) -> None:
        """Set the factor.

        Args:
            factor: Pixels of the image for one of the observation, along each side, 2 to 64.

        Raises:
            UserError: It lies outside.
        """
        super().__init__(factor, "area")

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, C, H, W) to (1, C, H/factor, W/factor): the same as the filter, but faster."""
        return F.avg_pool2d(image, self.scale)
