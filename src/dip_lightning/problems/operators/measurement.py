"""Operators of other libraries: objects that measure an image with a method ``A``."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dip_lightning.problems.operators.operator import Operator

__all__ = ["Measurement", "as_operator", "in_one"]


class Measurement(Operator):
    """What an object with a method ``A`` measures of an image; the object itself, called, might add noise.

    ``A(x)`` may be a tensor of any shape or several of them: what is not (1, C_y, H_y, W_y) is laid out in one row.

    Attributes:
        physics: The object.
    """

    scale = None

    def __init__(self, physics: Any) -> None:
        """Take the object.

        Args:
            physics: Its ``A`` maps an image (1, C, H, W) to a tensor, or to a list of them.
        """
        super().__init__()
        self.physics = physics

    @property
    def name(self) -> str:
        """Name the object's class, for records."""
        return type(self.physics).__name__

    def forward(self, image: Tensor) -> Tensor:
        """Return what is measured, as one tensor."""
        return in_one(self.physics.A(image))


def as_operator(given: Any) -> nn.Module | Callable[[Tensor], Tensor]:
    """Return what maps an image to what is observed of it: an object's ``A`` where it has one, else the object."""
    is_physics = not isinstance(given, Operator) and callable(getattr(given, "A", None))
    operator: nn.Module | Callable[[Tensor], Tensor] = Measurement(given) if is_physics else given
    return operator


def in_one(measured: Tensor | Iterable[Tensor]) -> Tensor:
    """Return a measurement as one tensor (1, C, H, W): several, or one of another shape, as (1, 1, 1, N)."""
    parts = [measured] if isinstance(measured, Tensor) else list(measured)
    if len(parts) == 1 and parts[0].dim() == 4:
        return parts[0]
    return torch.cat([part.reshape(1, 1, 1, -1) for part in parts], dim=3)
