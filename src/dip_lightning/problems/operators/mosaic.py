"""What a sensor behind a colour filter array sees: one colour a pixel."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dip_lightning.checks import check_choice
from dip_lightning.errors import UserError
from dip_lightning.problems.operators.operator import Operator

__all__ = ["PATTERNS", "Mosaic"]

# Bayer's: the colours of the first two pixels of the first row, then of the second.
PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


class Mosaic(Operator):
    """Of each pixel of a colour picture the one colour that the filter array lets through."""

    align = 2

    def __init__(self, pattern: str = "RGGB") -> None:
        """Set the pattern.

        Args:
            pattern: One of :data:`PATTERNS`.

        Raises:
            UserError: It is none of them.
        """
        super().__init__()
        self.pattern = check_choice("problem.pattern", pattern, PATTERNS)
        masks = torch.zeros(3, 2, 2)
        for index, color in enumerate(pattern):
            masks["RGB".index(color), index // 2, index % 2] = 1
        self.register_buffer("masks", masks, persistent=False)

    masks: Tensor

    def image_shape(self, observed: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return (3, H_y, W_y).

        Raises:
            UserError: What was observed has several channels.
        """
        channels, height, width = observed
        if channels != 1:
            raise UserError(
                f"a mosaic of {channels} channels", "one, in which each pixel has one colour", "give the grey file"
            )
        return 3, height, width

    def noise_view(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the pixels of each place in the pattern, (H_y/2, W_y/2, 4): neighbours have different colours."""
        height, width = (length // 2 * 2 for length in observation.shape[:2])
        places = [observation[row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)]
        return np.concatenate(places, axis=2)

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) to (1, 1, H, W).

        Raises:
            UserError: The image has no three channels.
        """
        _, channels, height, width = image.shape
        if channels != 3:
            raise UserError(
                f"an image of {channels} channels behind {self.pattern}", "a colour picture", "take another"
            )
        tiled = self.masks.to(image).repeat(1, -(-height // 2), -(-width // 2))[:, :height, :width]
        return (image * tiled).sum(dim=1, keepdim=True)
