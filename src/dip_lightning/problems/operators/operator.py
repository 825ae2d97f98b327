"""What a forward operator is, and the one of denoising."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["FunctionOperator", "Identity", "Operator"]


class Operator(nn.Module):
    """The forward operator A: maps an image x (1, C, H, W) to what is observed of it, A(x) (1, C_y, H_y, W_y).

    A kind of it writes ``forward``, of one tensor, and what else it knows of itself.

    Attributes:
        scale: Pixels of the image for one of the observation, along each side: what tiles are aligned to. None where A
            is not local, so that an image cannot be cut.
        halo: How many pixels beyond those of a sample A looks at, on each side: tiles share so many more.
        has_holes: Whether samples of the picture are lost, which its file or ``mask`` tells.
        mask: The file that says which, or ``"alpha"``; None for the picture's own.
        paste: Whether those that were not lost are handed back as they were; None where their noise is less than what
            the restored ones miss.
        is_compressed: Whether the picture's file is a JPEG, which says in which intervals its coefficients lay.
        align: Pixels whose place in a pattern matters: parts of a picture begin at multiples of it.
    """

    scale: int | None = 1
    halo: int = 0
    align: int = 1
    has_holes: bool = False
    is_compressed: bool = False
    mask: str | None = None
    paste: bool | None = None

    @property
    def told(self) -> str:
        """Say in a few words what a user should know of it before the fit; empty for nothing."""
        return ""

    @property
    def name(self) -> str:
        """Name the class, for records."""
        return type(self).__name__

    def noise_view(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the noise of an observation (H_y, W_y, C_y) is estimated from: neighbours that are alike."""
        return observation

    def image_shape(self, observed: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of an image whose observation has the shape ``observed``, (C_y, H_y, W_y)."""
        return observed

    def check_image(self, height: int, width: int) -> None:
        """Refuse an image that A cannot be applied to, where an observation is made from it.

        Raises:
            UserError: Its size does not suit.
        """

    def known(self, observation: Tensor) -> Tensor | None:
        """Return which samples of an observation were measured: (1, 1 or C_y, H_y, W_y), 1 or 0; None for all."""
        return None


class Identity(Operator):
    """The picture itself: what is observed differs from it by noise alone."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image


class FunctionOperator(Operator):
    """Any function or module of an image, which says nothing of itself: taken for one that looks everywhere."""

    scale = None

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        """Take the function."""
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        """Call the function."""
        return self.function(image)
