"""A blurred picture: the convolution with a kernel, given or with a formula."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dip_lightning.checks import check_choice, check_number
from dip_lightning.errors import UserError
from dip_lightning.problems.operators.operator import Operator

__all__ = ["BORDERS", "KERNELS", "Blur"]

# What lies beyond the border of the picture: nobody knows, or its mirror image.
BORDERS = ("unknown", "reflect")

# From so many taps on, a convolution through the frequency domain is faster; measured on a CPU.
_LARGE = 15 * 15

# Samples across a pixel and along it that the formulas of a disk and of a motion are averaged over.
_FINE = 15


def _gaussian(width: float, _: float) -> NDArray[np.float64]:
    radius = max(math.ceil(4 * width), 1)
    profile = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * width**2))
    return np.outer(profile, profile)


def _disk(width: float, _: float) -> NDArray[np.float64]:
    y, x = _grid(math.ceil(width))
    return (x**2 + y**2 <= width**2).astype(float)


def _motion(width: float, angle: float) -> NDArray[np.float64]:
    y, x = _grid(math.ceil(width / 2) + 1)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = x * cos - y * sin, x * sin + y * cos
    return ((np.abs(along) <= width / 2) & (np.abs(across) <= 0.5)).astype(float)


def _grid(radius: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of fine samples of the pixels −radius to radius, relative to the centre."""
    count = 2 * radius + 1
    line = (np.arange(count * _FINE) + 0.5) / _FINE - count / 2
    y, x = np.meshgrid(line, line, indexing="ij")
    return y, x


# The kernels with a formula: of a width in pixels, and an angle in degrees.
KERNELS: dict[str, Callable[[float, float], NDArray[np.float64]]] = {
    "gaussian": _gaussian,
    "disk": _disk,
    "motion": _motion,
}


class Blur(Operator):
    """A(x) = k ∗ x, in each channel; the kernel k has a sum of 1."""

    def __init__(
        self, kernel: str = "gaussian", width: float = 1.6, angle: float = 0.0, border: str = "unknown"
    ) -> None:
        """Set the kernel.

        Args:
            kernel: A key of :data:`KERNELS`, or a file: an image or ``.npy`` of odd sides, no value negative.
            width: In pixels: the standard deviation of ``gaussian``, the radius of ``disk``, the length of ``motion``.
            angle: Of ``motion``, in degrees, counter-clockwise from the right.
            border: What lies beyond the border: ``"unknown"``, then samples that depend on it do not count, or
                ``"reflect"``, the mirror image without the border's own pixels.

        Raises:
            UserError: A value is not allowed, or the file holds no kernel.
        """
        super().__init__()
        check_number("problem.width", width, 0, 100, low_open=True, example=1.6)
        check_number("problem.angle", angle, -360, 360, example=45)
        self._unknown = check_choice("problem.border", border, BORDERS) == "unknown"
        if kernel in KERNELS:
            values = KERNELS[kernel](float(width), float(angle))
            if kernel != "gaussian":
                count = len(values) // _FINE
                values = values.reshape(count, _FINE, count, _FINE).mean(axis=(1, 3))
            while len(values) > 1 and not (values[[0, -1]].any() or values[:, [0, -1]].any()):
                values = values[1:-1, 1:-1]  # a border of zeros would make pixels unknown for nothing
        else:
            values = _read_kernel(kernel)
        self.register_buffer("kernel", torch.from_numpy(values / values.sum()), persistent=False)
        self.halo = max(values.shape) // 2
        self._described = f"{kernel} of width {width:g} px" if kernel in KERNELS else Path(kernel).name
        if kernel == "motion":
            self._described += f" at {angle:g} degrees"

    kernel: Tensor

    @property
    def told(self) -> str:
        """Say which kernel it is: a wrong one is the commonest mistake."""
        return f"problem.kernel: {self._described}"

    def check_image(self, height: int, width: int) -> None:
        """Refuse an image that is smaller than the kernel.

        Raises:
            UserError: It is.
        """
        rows, columns = self.kernel.shape
        if height < rows or width < columns:
            raise UserError(
                f"a kernel of {rows}x{columns} on {height}x{width} pixels", "a larger picture", "take a smaller kernel"
            )

    def known(self, observation: Tensor) -> Tensor | None:
        """Return 0 where a sample depends on what lies beyond the border; None where that is known."""
        if not self._unknown:
            return None
        height, width = observation.shape[-2:]
        self.check_image(height, width)
        rows, columns = (length // 2 for length in self.kernel.shape)
        mask = observation.new_zeros((1, 1, height, width))
        mask[..., rows : height - rows, columns : width - columns] = 1
        return mask

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (1, C, H, W), of the same shape."""
        rows, columns = (length // 2 for length in self.kernel.shape)
        kernel, channels = self.kernel.to(image), image.shape[1]
        with torch.autocast(image.device.type, enabled=False):
            padded = F.pad(image, (columns, columns, rows, rows), mode="reflect")
            if self.kernel.numel() < _LARGE:
                weight = kernel.flip(0, 1).expand(channels, 1, -1, -1)
                return F.conv2d(padded, weight, groups=channels)
            height, width = padded.shape[-2:]
            spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=(height, width))
            blurred: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
            return blurred[..., 2 * rows :, 2 * columns :].contiguous()


def _read_kernel(name: str) -> NDArray[np.float64]:
    """Read a kernel from a file.

    Raises:
        UserError: There is none.
    """
    from dip_lightning.data import read_image  # which reads pictures; the formulas need none

    asked, way_out = f"problem.kernel={name}", f"try problem.kernel={' or '.join(KERNELS)}, or a TIFF or .npy file"
    if not Path(name).is_file():
        raise UserError(asked, f"one of {', '.join(KERNELS)}, or a file", way_out)
    planes = read_image(name).samples.astype(np.float64)
    values: NDArray[np.float64] = planes.mean(axis=2)
    rows, columns = values.shape
    if rows % 2 == 0 or columns % 2 == 0:
        raise UserError(f"{asked} of {rows}x{columns} pixels", "odd sides, so that it has a centre", "cut it")
    if not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        raise UserError(f"{asked} with values that are negative or none at all", "weights of 0 or more", "mend it")
    return values
