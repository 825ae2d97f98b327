"""The lean U-net: one that works at half the resolution, where a fit takes a fraction of the time."""

from collections.abc import Sequence

from torch import Tensor, nn

from dip_lightning.checks import check_choice, check_integer
from dip_lightning.errors import UserError
from dip_lightning.models.hourglass import UPSAMPLES
from dip_lightning.models.layers import conv, conv_norm_act, make_output
from dip_lightning.models.network import Network, told_size
from dip_lightning.models.resampling import double
from dip_lightning.models.unet import UNet

__all__ = ["LeanUNet"]


class LeanUNet(Network):
    """A :class:`~dip_lightning.models.UNet` of half the image's sides, doubled once by interpolation at its end.

    z has half the height and width of the image. The feature maps of a U-net's outermost decoder are doubled, and pass
    conv3 → BN → act → conv1 → sigmoid at full size, of few channels. What acts as the prior is upsampling that is not
    learnt (Liu et al., ICCV 2023), and here there is as much of it as in a U-net of one level more. With the default
    arguments it has 463,411 parameters.
    """

    multiple = 2

    def __init__(
        self,
        *,
        input_channels: int = 32,
        output_channels: int = 3,
        channels: int | Sequence[int] = 64,
        full_channels: int = 16,
        skip_channels: int | Sequence[int] = 4,
        levels: int = 4,
        upsample: str = "bilinear",
        padding: str = "reflect",
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        dropout_kind: str = "element",
        dropout_place: str = "block",
        output: str = "sigmoid",
    ) -> None:
        """Build the network.

        Args:
            input_channels: Channels of the input z.
            output_channels: Channels of the image.
            channels: Channels of every block of the U-net, or one number for each level, the outermost first.
            full_channels: Channels of the convolution at full size.
            skip_channels: Channels of each skip connection, or one number for each level; 0 removes a skip.
            levels: How many times z, which has half the sides of the image, is halved.
            upsample: Interpolation: ``"bilinear"`` or ``"nearest"``.
            padding: Border of the 3×3 convolutions: ``"reflect"`` or ``"zeros"``.
            activation: A key of :data:`dip_lightning.models.layers.ACTIVATIONS`.
            dropout: Dropout probability between the blocks of the U-net, in [0, 1); 0 adds no layer.
            dropout_kind: ``"element"`` or ``"channel"``.
            dropout_place: ``"block"`` or ``"layer"``, see :class:`~dip_lightning.models.hourglass.Hourglass`.
            output: ``"sigmoid"`` or ``"linear"``.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        check_integer("model.output_channels", output_channels, 1, example=3)
        check_integer("model.full_channels", full_channels, 1, example=16)
        self.upsample = check_choice("model.upsample", upsample, UPSAMPLES)
        self.inner = UNet(
            input_channels=input_channels,
            channels=channels,
            skip_channels=skip_channels,
            levels=levels,
            upsample=upsample,
            padding=padding,
            activation=activation,
            dropout=dropout,
            dropout_kind=dropout_kind,
            dropout_place=dropout_place,
            output="linear",
        )
        self.input_channels = self.inner.input_channels
        self.smallest_side = 2 * self.inner.smallest_side - 1
        width = self.inner.head.in_channels
        # Its feature maps are wanted, not an image.
        self.inner.head = nn.Identity()  # type: ignore[assignment]
        self.full = conv_norm_act(width, full_channels, 3, padding=padding, activation=activation)
        self.head = conv(full_channels, output_channels, 1)
        self.output = make_output(output)

    def input_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C_z, ⌈H/2⌉, ⌈W/2⌉)."""
        return self.input_channels, -(-height // 2), -(-width // 2)

    def check_size(self, height: int, width: int) -> None:
        """Refuse an image whose half is too small for the levels.

        Raises:
            UserError: It is.
        """
        half = -(-min(height, width) // 2)
        try:
            self.inner.check_size(half, half)
        except UserError as error:
            levels = len(self.inner.encoders)
            least = 2 * (self.inner.smallest_side // 2 + 1) - 1
            fitting = int(error.remedy.rpartition("=")[2])
            raise UserError(
                f"an image of {height}x{width} pixels with model=leanunet of {levels} levels",
                told_size(levels, fitting, least),
                error.remedy if half > 1 else "try model=unet model.levels=1",
            ) from None

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, C_z, h, w) to (N, output_channels, 2h, 2w), in (0, 1) behind a sigmoid."""
        image: Tensor = self.output(self.head(self.full(double(self.inner(z), self.upsample))))
        return image
