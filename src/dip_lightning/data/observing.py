"""Between arrays, pictures and tensors: what an observation is put together with."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dip_lightning.data.cropping import resize_picture
from dip_lightning.data.picture import Picture
from dip_lightning.errors import UserError
from dip_lightning.names import counted

if TYPE_CHECKING:
    from dip_lightning.problems.operators.operator import Operator

__all__ = ["Directly", "check_clean", "enlarged", "fine_picture", "image_shape", "observe", "to_tensor"]


class Directly:
    """What a picture is seen through where it is seen as it is; a forward operator for those who know none."""

    scale, align, has_holes, is_compressed = 1, 1, False, False
    mask: str | None = None
    paste: bool | None = None

    def image_shape(self, observed: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the same shape."""
        return observed

    def check_image(self, height: int, width: int) -> None:
        """Take any."""

    def noise_view(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the observation."""
        return observation

    def __call__(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image


def check_clean(truth: NDArray[np.float64], expected: tuple[int, int, int], scale: int) -> None:
    """Check that a clean image has the shape of the image that the observation is of."""
    if truth.shape != expected:
        told = "as image.path has" if scale == 1 else "which image.path calls for"
        problem = f"image.clean of {_describe(truth.shape)}"
        raise UserError(problem, f"{_describe(expected)}, {told}", "name its clean image")


def fine_picture(whole: Picture, unit: NDArray[np.float64]) -> Picture:
    """A picture of (H, W, C) in [0, 1] with as many bits as it takes, alike in nothing else."""
    is_fine = whole.samples.dtype.kind != "f" and whole.samples.dtype.itemsize <= 2
    picture_format = "PNG" if is_fine and unit.shape[2] in (1, 3) else "TIFF"
    return Picture(np.zeros((1, 1, 1), np.uint16 if is_fine else np.float64), format=picture_format).with_unit(unit)


def observe(image: NDArray[np.float64], operator: "Operator | Directly") -> NDArray[np.float64]:
    """Apply an operator to (H, W, C)."""
    with torch.no_grad():
        seen: NDArray[np.float64] = operator(to_tensor(image))[0].permute(1, 2, 0).numpy()
    # A filter overshoots at edges; a file cannot.
    return np.clip(seen, 0, 1) if image.min() >= 0 and image.max() <= 1 else seen


def image_shape(observed: NDArray[np.float64], operator: "Operator | Directly") -> tuple[int, int, int]:
    """(H, W, C) of the image that an observation (H_y, W_y, C_y) is of."""
    height, width, channels = observed.shape
    channels, height, width = operator.image_shape((channels, height, width))
    return height, width, channels


def enlarged(picture: Picture, shape: tuple[int, int, int]) -> Picture:
    """Make a picture like the image (H, W, C) that it is an observation of."""
    height, width, channels = shape
    if (height, width) != (picture.height, picture.width):
        picture = resize_picture(picture, [height, width])
    if channels == picture.samples.shape[2]:
        return picture
    unit = picture.to_unit().mean(axis=2, keepdims=True).repeat(channels, axis=2)
    return replace(picture, known=None, others=None, order=None).with_unit(unit)


def _describe(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} pixels and {counted(channels, 'channel')}"


def to_tensor(image: NDArray[np.float64]) -> Tensor:
    """(H, W, C) → (1, C, H, W), contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
