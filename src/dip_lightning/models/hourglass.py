"""The hourglass that U-net and residual U-net share: what differs between them is only the two kinds of block."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lightning.checks import check_choice, check_flag, check_integer
from dip_lightning.errors import UserError
from dip_lightning.models.layers import DROPOUT_PLACES, conv, conv_norm_act, make_dropout, make_output
from dip_lightning.models.network import Network, told_size
from dip_lightning.models.resampling import double

__all__ = ["UPSAMPLES", "Hourglass"]

UPSAMPLES = ("bilinear", "nearest")

_LARGEST_KERNEL = 15


class Hourglass(Network, ABC):
    """An encoder-decoder with skip connections; each level halves height and width, and doubles them again.

    Level ``i`` maps its input ``x`` to ``decoder_i(concat(skip_i(x), upsample(inner(encoder_i(x)))))``, where
    ``inner`` is the next level. Dropout stands between consecutive blocks (paper, section 3.4): after every encoder
    block and after every decoder block but the outermost.
    """

    def __init__(
        self,
        *,
        input_channels: int = 32,
        output_channels: int = 3,
        channels: int | Sequence[int] = 128,
        skip_channels: int | Sequence[int] = 4,
        levels: int = 5,
        kernel_size: int | Sequence[int] = 3,
        hourglass: bool = True,
        upsample: str | Sequence[str] = "bilinear",
        padding: str = "reflect",
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        dropout_kind: str = "element",
        dropout_place: str = "block",
        output: str = "sigmoid",
    ) -> None:
        """Build the levels from the blocks of the subclass.

        Args:
            input_channels: Channels of the input z.
            output_channels: Channels of the image: 1 or 3.
            channels: Channels of every encoder and decoder block, or one number for each level, the outermost first.
            skip_channels: Channels of each skip connection, or one number for each level; 0 removes a skip.
            levels: How many times the image is halved.
            kernel_size: Side of the encoder's spatial convolutions, an odd number, or one for each level.
            hourglass: False removes the down- and upsampling (paper, section 3.2) and keeps every parameter.
            upsample: Interpolation in the decoder, ``"bilinear"`` or ``"nearest"``, or one for each level.
            padding: Border of the 3×3 convolutions: ``"reflect"`` or ``"zeros"``.
            activation: A key of :data:`dip_lightning.models.layers.ACTIVATIONS`.
            dropout: Dropout probability between blocks, in [0, 1); 0 adds no layer.
            dropout_kind: ``"element"`` or ``"channel"``.
            dropout_place: ``"block"`` for dropout between blocks alone, ``"layer"`` for dropout also behind the
                activations inside them.
            output: ``"sigmoid"`` or ``"linear"``.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        self.input_channels = check_integer("model.input_channels", input_channels, 1, example=32)
        check_integer("model.output_channels", output_channels, 1, example=3)
        check_integer("model.levels", levels, 1, example=5)
        widths = _for_each_level("model.channels", channels, levels, 1, example=128)
        skip_widths = _for_each_level("model.skip_channels", skip_channels, levels, 0, example=4)
        kernel_sizes = _for_each_level("model.kernel_size", kernel_size, levels, 1, example=3)
        for size in kernel_sizes:
            if size % 2 == 0 or size > _LARGEST_KERNEL:
                raise UserError(f"model.kernel_size={size}", f"an odd number up to {_LARGEST_KERNEL}", "try 3")
        self.hourglass = check_flag("model.hourglass", hourglass)
        # Below it the input is continued by reflection: the innermost feature map must be at least 2×2, since
        # reflection needs two pixels, and so does a batch statistic. Wider kernels reflect more of a level's map.
        self.smallest_side = 2**levels + 1 if hourglass else 2
        for level, size in enumerate(kernel_sizes):
            if size > 3:
                self.smallest_side = max(self.smallest_side, (size // 2 + 1) * (2 ** (level + 1) if hourglass else 1))
        self.upsample = _upsamples(upsample, levels)
        self.padding = padding
        self.activation = activation
        inside = check_choice("model.dropout_place", dropout_place, DROPOUT_PLACES) == "layer"
        self._inner_dropout = dropout if inside else 0.0
        self._dropout_kind = dropout_kind

        self.encoders = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.decoders = nn.ModuleList()
        stride = 2 if hourglass else 1
        level_channels = input_channels
        for level, (width, skip, size) in enumerate(zip(widths, skip_widths, kernel_sizes, strict=True)):
            encoder = self.make_encoder(level_channels, width, stride, size)
            self.encoders.append(nn.Sequential(encoder, *make_dropout(dropout, dropout_kind)))
            self.skips.append(conv_norm_act(level_channels, skip, 1, activation=activation) if skip else nn.Identity())
            # What comes from within has the channels of the next level's decoder, the innermost those of its encoder.
            inner = widths[min(level + 1, levels - 1)]
            decoder = self.make_decoder(skip + inner, width)
            last = level == 0  # the outermost decoder is followed by the head, not by another block
            self.decoders.append(nn.Sequential(decoder, *([] if last else make_dropout(dropout, dropout_kind))))
            level_channels = width
        self._skips = [skip > 0 for skip in skip_widths]
        self.head = conv(widths[0], output_channels, 1)
        self.output = make_output(output)

    @abstractmethod
    def make_encoder(self, in_channels: int, out_channels: int, stride: int, kernel_size: int) -> nn.Module:
        """Make an encoder block: (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)."""

    @abstractmethod
    def make_decoder(self, in_channels: int, out_channels: int) -> nn.Module:
        """Make a decoder block: (N, in_channels, H, W) → (N, out_channels, H, W)."""

    def make_inner_dropout(self) -> list[nn.Module]:
        """Make the dropout layer that stands inside a block; none where dropout stands only between blocks."""
        return make_dropout(self._inner_dropout, self._dropout_kind)

    def check_size(self, height: int, width: int) -> None:
        """Refuse an image that cannot be continued by reflection to :attr:`smallest_side`.

        Raises:
            UserError: The image is too small for so many levels.
        """
        side = min(height, width)
        if self.smallest_side - side >= side:
            fitting = max(1, int(math.log2(max(2 * side - 2, 2))))
            raise UserError(
                f"an image of {height}x{width} pixels with model.levels={len(self.encoders)}",
                told_size(len(self.encoders), fitting, self.smallest_side // 2 + 1),
                f"try model.levels={fitting}",
            )

    def forward(self, z: Tensor) -> Tensor:
        """Map the input to an image.

        Args:
            z: (N, input_channels, H, W), any H and W that :attr:`smallest_side` can be reflected from.

        Returns:
            (N, output_channels, H, W), in (0, 1) behind a sigmoid.

        Raises:
            UserError: The image is too small for so many levels.
        """
        height, width = z.shape[-2:]
        z = self._continue_border(z)
        features = [z]
        for encoder in self.encoders:
            features.append(encoder(features[-1]))
        out = features.pop()
        for level in reversed(range(len(self.decoders))):
            outer = features.pop()
            out = self._upsample(out, outer, self.upsample[level])
            if self._skips[level]:
                out = torch.cat((self.skips[level](outer), out), dim=1)
            out = self.decoders[level](out)
        image: Tensor = self.output(self.head(out)[..., :height, :width])
        return image

    def _upsample(self, inner: Tensor, outer: Tensor, mode: str) -> Tensor:
        """Double (N, C, h, w) and cut it to the height and width of ``outer``, which may be odd."""
        if not self.hourglass:
            return inner
        doubled = double(inner, mode)
        return doubled[..., : outer.shape[-2], : outer.shape[-1]]

    def _continue_border(self, z: Tensor) -> Tensor:
        """Reflect a small ``z`` at its lower right border, up to :attr:`smallest_side`."""
        missing = [max(0, self.smallest_side - side) for side in z.shape[-2:]]
        if not any(missing):
            return z
        self.check_size(*z.shape[-2:])
        return F.pad(z, (0, missing[1], 0, missing[0]), mode="reflect")


def _for_each_level(name: str, value: object, levels: int, low: int, *, example: int) -> list[int]:
    """Take one number for all levels, or one for each.

    Raises:
        UserError: A number is not allowed, or there are more or fewer than levels.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [check_integer(name, value, low, example=example)] * levels
    if len(value) != levels:
        given = ",".join(map(str, value))
        told = f"{name}=[{given}] with model.levels={levels}"
        raise UserError(told, "one number, or one for each level", f"try model.levels={len(value)}")
    return [check_integer(f"{name}[{level}]", width, low, example=example) for level, width in enumerate(value)]


def _upsamples(value: str | Sequence[str], levels: int) -> list[str]:
    """Take one interpolation for all levels, or one for each, the outermost first.

    Raises:
        UserError: One is unknown, or there are more or fewer than levels.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [check_choice("model.upsample", value, UPSAMPLES)] * levels
    if len(value) != levels:
        told = f"model.upsample=[{','.join(map(str, value))}] with model.levels={levels}"
        raise UserError(told, "one interpolation, or one for each level", f"try model.levels={len(value)}")
    return [check_choice("model.upsample", one, UPSAMPLES) for one in value]
