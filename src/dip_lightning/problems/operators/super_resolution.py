"""A small picture of a large one, as image software makes it: filtered, then sampled."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lightning.checks import check_choice, check_integer
from dip_lightning.errors import UserError
from dip_lightning.problems.operators.operator import Operator

__all__ = ["FILTERS", "SuperResolution"]


def _lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    angle = math.pi * x
    return 3 * math.sin(angle) * math.sin(angle / 3) / angle**2


def _bicubic(x: float) -> float:
    """Keys's kernel with a = −1/2."""
    x = abs(x)
    return (1.5 * x - 2.5) * x**2 + 1 if x < 1 else ((-0.5 * x + 2.5) * x - 4) * x + 2


def _area(_: float) -> float:
    return 1.0


# The filters, and how far they reach, in pixels of the small picture.
FILTERS = {"lanczos": (_lanczos, 3.0), "bicubic": (_bicubic, 2.0), "area": (_area, 0.5)}


class SuperResolution(Operator):
    """Downsampling by a whole factor with a filter as wide as the factor, as Pillow's ``resize`` and its like do.

    Along each axis, pixel i of the small picture is Σ_x w((x + ½)/s − (i + ½))·p_x / Σ_x w(…), over the pixels x of the
    picture that the filter w reaches, which at the border are fewer. Pillow's ``LANCZOS`` (a = 3), ``BICUBIC`` and
    ``BOX`` do the same, but round to 8 bits in between.
    """

    def __init__(self, factor: int = 4, filter: str = "lanczos") -> None:
        """Set factor and filter.

        Args:
            factor: Pixels of the image for one of the observation, along each side, 2 to 64.
            filter: A key of :data:`FILTERS`.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        self.scale: int = check_integer("problem.factor", factor, 2, 64, example=4)
        function, reach = FILTERS[check_choice("problem.filter", filter, FILTERS)]
        support = reach * self.scale
        # Taps of output 0: pixels whose centres lie within the support of its centre, the first at −border.
        self._border = math.ceil(support - self.scale / 2 - 0.5)
        positions = [(k + 0.5) / self.scale - 0.5 for k in range(-self._border, self.scale + self._border)]
        taps = [function(x) if abs(x) < reach else 0.0 for x in positions]
        self.register_buffer("taps", torch.tensor(taps, dtype=torch.float64), persistent=False)
        self.halo = self._border

    taps: Tensor

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
                f"try image.crop={max(fitting, self.scale)}",
            )

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, C, H, W) to (1, C, H/factor, W/factor)."""
        return self._along(self._along(image, 3), 2)

    def _along(self, image: Tensor, axis: int) -> Tensor:
        """Filter and sample along an axis of (1, C, H, W)."""
        channels = image.shape[1]
        taps = self.taps.to(image)
        shape, stride, padding = ((1, -1), (1, self.scale), (0, self._border))
        if axis == 2:
            shape, stride, padding = (-1, 1), stride[::-1], padding[::-1]
        weight = taps.reshape(1, 1, *shape).expand(channels, 1, -1, -1)
        # Autocast would filter in half the precision, for no gain.
        with torch.autocast(image.device.type, enabled=False):
            filtered = F.conv2d(image, weight, stride=stride, padding=padding, groups=channels)
        ones = F.conv1d(
            taps.new_ones(1, 1, image.shape[axis]), taps[None, None], stride=self.scale, padding=self._border
        )
        return filtered / ones.reshape(*shape)
