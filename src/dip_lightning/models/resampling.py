"""Doubling and padding of feature maps, (N, C, H, W), as fast as memory allows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ReflectConv2d", "double"]

# The weights of bilinear interpolation between the pixels of a doubled map; those of its transpose are the same.
_TAPS = (0.25, 0.75, 0.75, 0.25)


class ReflectConv2d(nn.Conv2d):
    """A convolution with a square kernel, and half of it as a border that is continued by reflection.

    The same as ``nn.Conv2d(..., padding_mode="reflect")``, to the last bit.
    On a CPU, autocast would pad in float32 and so convert every feature map twice; here it is padded as it is.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        border = self.kernel_size[0] // 2
        with torch.autocast(input.device.type, enabled=False):
            padded = F.pad(input, (border,) * 4, mode="reflect")
        return F.conv2d(padded, weight, bias, self.stride)


def double(x: Tensor, mode: str) -> Tensor:
    """Double height and width, in the type that ``x`` has.

    Args:
        x: (N, C, H, W).
        mode: ``"bilinear"``, with corners not aligned, or ``"nearest"``.

    Returns:
        (N, C, 2H, 2W).
    """
    with torch.autocast(x.device.type, enabled=False):
        if mode == "bilinear" and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16):
            doubled: Tensor = _Double.apply(x)  # type: ignore[no-untyped-call]
            return doubled
        return _interpolate(x, mode)


def _interpolate(x: Tensor, mode: str) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode=mode, align_corners=False if mode == "bilinear" else None)


class _Double(torch.autograd.Function):
    """Bilinear doubling, whose gradient is computed as a depthwise convolution: on a CPU several times as fast."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _interpolate(x, "bilinear")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Sum over the 4×4 pixels that each pixel went into; the border stands for what lies beyond it."""
        channels = grad.shape[1]
        taps = grad.new_tensor(_TAPS)
        weight = (taps[:, None] * taps).expand(channels, 1, 4, 4)
        out = F.conv2d(grad, weight, stride=2, padding=1, groups=channels)
        # Beyond the border there are zeros so far: what the outermost row and column stand for there is added.
        row, column = weight[:, :, :1] / _TAPS[0], weight[:, :, :, :1] / _TAPS[0]
        for inside, edge in ((0, 0), (-1, -1)):
            line = F.pad(grad[:, :, edge, None], (1, 1, 0, 0), mode="replicate")
            out[:, :, inside, None] += _TAPS[0] * F.conv2d(line, row, stride=(1, 2), groups=channels)
            line = grad[..., edge, None]
            out[..., inside, None] += _TAPS[0] * F.conv2d(line, column, stride=(2, 1), padding=(1, 0), groups=channels)
        return out
