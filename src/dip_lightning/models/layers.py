"""The layers that the networks are built from. All tensors are (N, C, H, W)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lightning.checks import check_choice, check_number
from dip_lightning.models.resampling import ReflectConv2d
from dip_lightning.system.randomness import Randomness

__all__ = [
    "ACTIVATIONS",
    "DROPOUT_KINDS",
    "DROPOUT_PLACES",
    "OUTPUTS",
    "PADDINGS",
    "ChannelDropout",
    "Dropout",
    "DropoutLayer",
    "PointwiseSampling",
    "ResidualBlock",
    "conv",
    "conv_norm_act",
    "make_activation",
    "make_dropout",
    "make_output",
]

# In place where the backward pass needs only the result: one feature map less to keep for each layer.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}

# How the border is continued.
PADDINGS: dict[str, type[nn.Conv2d]] = {"reflect": ReflectConv2d, "zeros": nn.Conv2d}

# Where dropout stands: between blocks, or also behind the activations inside them, so behind every Conv → BN → Act.
DROPOUT_PLACES = ("block", "layer")


class DropoutLayer:
    """What draws its numbers from the fit that it is a part of.

    Attributes:
        random: The streams of random numbers of the fit, set by the prior; None for the process's own.
    """

    random: Randomness | None = None

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Return where the numbers come from; None for the process's own."""
        return None if self.random is None else self.random.generator("dropout", device)


class Dropout(DropoutLayer, nn.Dropout):
    """``nn.Dropout``, whose numbers are drawn several times as fast on a CPU: four from each 64 random bits.

    The probability is rounded to a multiple of 1/65536. In a compiled network the numbers are the process's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Set activations of (N, C, H, W) to zero, while training, and scale the others by 1/(1 − p)."""
        if not self.training or torch.compiler.is_compiling():
            return super().forward(input)
        generator = self.generator(input.device)
        if input.device.type != "cpu" or not input.is_contiguous(memory_format=_layout(input)):
            kept = torch.empty_like(input, dtype=torch.float32).bernoulli_(1 - self.p, generator=generator)
            return input * kept.mul_(1 / (1 - self.p)).to(input.dtype)
        count = input.numel()
        bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        dropped = bits.view(torch.int16)[:count] < min(round(self.p * 65536), 65535) - 32768
        scale = torch.where(dropped, input.new_zeros(()), input.new_tensor(1 / (1 - self.p)))
        # Numbers for one run of memory, whatever the order of the dimensions.
        return input * scale.as_strided(input.shape, input.stride())


class ChannelDropout(DropoutLayer, nn.Dropout2d):
    """``nn.Dropout2d``: sets whole channels to zero. In a compiled network the numbers are the process's own."""

    def forward(self, input: Tensor) -> Tensor:
        """Set channels of (N, C, H, W) to zero, while training, and scale the others by 1/(1 − p)."""
        if not self.training or torch.compiler.is_compiling():
            return super().forward(input)
        kept = torch.empty((*input.shape[:2], 1, 1), device=input.device)
        kept.bernoulli_(1 - self.p, generator=self.generator(input.device))
        return input * kept.mul_(1 / (1 - self.p)).to(input.dtype)


def _layout(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


DROPOUT_KINDS: dict[str, Callable[[float], nn.Module]] = {"element": Dropout, "channel": ChannelDropout}


class Sigmoid(nn.Sigmoid):
    """``nn.Sigmoid``, computed in float32 at least.

    In bf16, which has eight bits of mantissa, the values of an image would be steps of half a grey level of 255 from
    0.25 on, and of a whole one from 0.5 on.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W), of whatever type a convolution gives under autocast, to (0, 1)."""
        return torch.sigmoid(input if input.dtype == torch.float64 else input.float())


# What stands behind the last convolution. Without a sigmoid the values are not bounded.
OUTPUTS: dict[str, Callable[[], nn.Module]] = {"sigmoid": Sigmoid, "linear": nn.Identity}


# oneDNN, which computes convolutions on CPUs, writes past its memory in the backward pass of a strided 1×1 convolution
# with fewer input channels than a vector register holds, in channels_last (its issue 6035, open in PyTorch 2.13).
_SAFE_CHANNELS = 16


class PointwiseSampling(nn.Conv2d):
    """A strided 1×1 convolution, computed as one without a stride of every ``stride``-th pixel: the same values."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ⌈H/stride⌉, ⌈W/stride⌉)."""
        rows, columns = self.stride
        return F.conv2d(input[..., ::rows, ::columns], self.weight, self.bias)


def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: str = "reflect",
    bias: bool = True,
) -> nn.Conv2d:
    """Make a convolution whose output is as large as its input divided by the stride, rounded up.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: An odd number.
        stride: 1, or 2 to halve height and width.
        padding: How the border is continued: ``"reflect"`` or ``"zeros"``.
        bias: Whether a bias is added.

    Raises:
        UserError: The padding is unknown.
    """
    border = kernel_size // 2
    check_choice("model.padding", padding, PADDINGS)
    if kernel_size == 1 and stride > 1 and in_channels < _SAFE_CHANNELS:
        return PointwiseSampling(in_channels, out_channels, kernel_size, stride, bias=bias)
    kind = PADDINGS[padding] if border else nn.Conv2d
    return kind(in_channels, out_channels, kernel_size, stride, padding=border, bias=bias)


def conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: str = "reflect",
    activation: str = "leaky_relu",
) -> nn.Sequential:
    """Make Conv → BN → Act, the unit of the paper's section 3.4.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: 1 or 3.
        stride: 1, or 2 to halve height and width.
        padding: See :func:`conv`.
        activation: A key of :data:`ACTIVATIONS`.

    Raises:
        UserError: The padding or the activation is unknown.
    """
    return nn.Sequential(
        conv(in_channels, out_channels, kernel_size, stride=stride, padding=padding),
        nn.BatchNorm2d(out_channels),
        make_activation(activation),
    )


def make_activation(name: str) -> nn.Module:
    """Make an activation layer.

    Args:
        name: A key of :data:`ACTIVATIONS`.

    Raises:
        UserError: The name is unknown.
    """
    return ACTIVATIONS[check_choice("model.activation", name, ACTIVATIONS)]()


def make_dropout(probability: float, kind: str) -> list[nn.Module]:
    """Make the dropout layer that stands between two blocks.

    Args:
        probability: The share of activations set to zero while fitting, in [0, 1).
        kind: ``"element"`` drops single activations, ``"channel"`` whole channels.

    Returns:
        One layer, or none where ``probability`` is 0, so that p = 0 is the network without dropout.

    Raises:
        UserError: The probability or the kind is not allowed.
    """
    check_number("dropout", probability, 0, 1, high_open=True, example=0.1)
    check_choice("model.dropout_kind", kind, DROPOUT_KINDS)
    return [DROPOUT_KINDS[kind](probability)] if probability > 0 else []


def make_output(name: str) -> nn.Module:
    """Make what stands behind the last convolution.

    Args:
        name: ``"sigmoid"``, which bounds the image to (0, 1), or ``"linear"``.

    Raises:
        UserError: The name is unknown.
    """
    return OUTPUTS[check_choice("model.output", name, OUTPUTS)]()


class ResidualBlock(nn.Module):
    """``act(body(x) + shortcut(x))``, or ``act(body(x))`` where there is no shortcut.

    The order of the addition and the last activation is He et al.'s (2016): the sum is activated.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module | None, act: nn.Module | None = None) -> None:
        """Compose the block.

        Args:
            body: The branch that learns the residual; its last layer is a normalisation.
            shortcut: ``nn.Identity()`` or a projection to the body's channels; None removes the addition.
            act: The activation after the addition; None for the DIP ResNet, which has none there.
        """
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to ``x`` (N, C_in, H, W); returns (N, C_out, H', W') of the body."""
        out: Tensor = self.body(x)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        if self.act is not None:
            out = self.act(out)
        return out
