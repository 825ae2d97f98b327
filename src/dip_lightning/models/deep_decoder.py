"""The Deep Decoder: a network with fewer parameters than the image has pixels, which cannot fit noise well."""

from torch import Tensor, nn

from dip_lightning.checks import check_integer, check_number
from dip_lightning.errors import UserError
from dip_lightning.models.layers import conv, make_activation, make_dropout, make_output
from dip_lightning.models.network import Network
from dip_lightning.models.resampling import double

__all__ = ["DeepDecoder"]


class DeepDecoder(Network):
    """Heckel & Hand's decoder (ICLR 2019): 1×1 convolutions and bilinear doubling alone, no encoder, no skips.

    Each of ``levels`` + 1 blocks is conv1 (without bias) → bilinear doubling (not in the last) → ReLU → BN; a 1×1
    convolution and a sigmoid make the image. z is ``levels`` times halved: (channels, H/32, W/32) by default. With 128
    channels it has 100,224 parameters, with 64 it has 25,536.
    """

    def __init__(
        self,
        *,
        input_channels: int | None = None,
        output_channels: int = 3,
        channels: int = 128,
        levels: int = 5,
        activation: str = "relu",
        dropout: float = 0.0,
        dropout_kind: str = "element",
        output: str = "sigmoid",
    ) -> None:
        """Build the network.

        Args:
            input_channels: Channels of the input z; None for as many as ``channels``.
            output_channels: Channels of the image.
            channels: Channels of every block, k in the paper.
            levels: How many times height and width are doubled.
            activation: A key of :data:`dip_lightning.models.layers.ACTIVATIONS`.
            dropout: Dropout probability between blocks, in [0, 1); 0 adds no layer.
            dropout_kind: ``"element"`` or ``"channel"``.
            output: ``"sigmoid"`` or ``"linear"``.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        check_integer("model.channels", channels, 1, example=128)
        check_integer("model.output_channels", output_channels, 1, example=3)
        self.input_channels = channels if input_channels is None else input_channels
        check_integer("model.input_channels", self.input_channels, 1, example=128)
        check_integer("model.levels", levels, 1, 16, example=5)
        check_number("dropout", dropout, 0, 1, high_open=True, example=0.1)
        self.multiple = 2**levels
        self.smallest_side = 2 * self.multiple
        self.convolutions = nn.ModuleList()
        self.units = nn.ModuleList()
        for level in range(levels + 1):
            self.convolutions.append(conv(channels if level else self.input_channels, channels, 1, bias=False))
            between = make_dropout(dropout, dropout_kind) if level < levels else []
            self.units.append(nn.Sequential(make_activation(activation), nn.BatchNorm2d(channels), *between))
        self.head = conv(channels, output_channels, 1, bias=False)
        self.output = make_output(output)

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C_z, ⌈H/2^levels⌉, ⌈W/2^levels⌉)."""
        return self.input_channels, -(-height // self.multiple), -(-width // self.multiple)

    def check_size(self, height: int, width: int) -> None:
        """Refuse an image that arises from a single pixel, which batch statistics make constant.

        Raises:
            UserError: It is no larger than 2^levels on a side.
        """
        side = min(height, width)
        if side <= self.multiple:
            raise UserError(
                f"an image of {height}x{width} pixels with model=deep_decoder of {len(self.units) - 1} levels",
                f"at least {self.multiple + 1} pixels on each side",
                f"try model.levels={max(1, (side - 1).bit_length() - 1)}",
            )

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, C_z, h, w) to (N, output_channels, 2^levels · h, 2^levels · w), in (0, 1) behind a sigmoid."""
        last = len(self.units) - 1
        for level, (convolution, unit) in enumerate(zip(self.convolutions, self.units, strict=True)):
            z = convolution(z)
            z = unit(double(z, "bilinear") if level < last else z)
        image: Tensor = self.output(self.head(z))
        return image
