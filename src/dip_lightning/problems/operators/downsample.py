"""A small picture of a large one."""

import torch.nn.functional as F
from torch import Tensor

from dip_lightning.checks import check_integer
from dip_lightning.errors import UserError
from dip_lightning.problems.operators.operator import Operator

__all__ = ["Downsample"]


class Downsample(Operator):
    """Means over blocks of ``factor`` × ``factor`` pixels: an ideal sensor with fewer, larger pixels."""

    def __init__(self, factor: int = 2) -> None:
        """Set the factor.

        Args:
            factor: Pixels of the image for one of the observation, along each side; at least 2.

        Raises:
            UserError: It is less.
        """
        super().__init__()
        self.scale: int = check_integer("problem.factor", factor, 2, 64, example=2)

    def image_shape(self, observed: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return (C, factor · H_y, factor · W_y)."""
        channels, height, width = observed
        return channels, self.scale * height, self.scale * width

    def check_image(self, height: int, width: int) -> None:
        """Refuse an image whose sides are no multiples of the factor.

        Raises:
            UserError: They are not.
        """
        if height % self.scale or width % self.scale:
            fitting = min(height, width) // self.scale * self.scale
            raise UserError(
                f"an image of {height}x{width} pixels with problem.factor={self.scale}",
                f"sides that are multiples of {self.scale}",
                f"try image.crop={fitting}",
            )

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, C, H, W) to (1, C, H/factor, W/factor)."""
        return F.avg_pool2d(image, self.scale)
