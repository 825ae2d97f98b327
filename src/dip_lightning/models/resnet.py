"""The ResNet of the paper's section 3.3: residual blocks at full resolution, no skip connections."""

from torch import Tensor, nn

from dip_lightning.checks import check_choice, check_flag, check_integer
from dip_lightning.models.layers import (
    DROPOUT_PLACES,
    ResidualBlock,
    conv,
    make_activation,
    make_dropout,
    make_output,
)
from dip_lightning.models.network import Network

__all__ = ["ResNet"]


class ResNet(Network):
    """The residual network of the DIP code: no down- or upsampling anywhere.

    With the default arguments it has the 1,665,411 parameters of Table 1 in the paper. Blocks pad with zeros and
    have no activation after the addition, as there.
    """

    def __init__(
        self,
        *,
        input_channels: int = 32,
        output_channels: int = 3,
        channels: int = 128,
        num_blocks: int = 5,
        residual: bool = True,
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
            output_channels: Channels of the image: 1 or 3.
            channels: Channels of every block.
            num_blocks: Number of residual blocks.
            residual: False removes every identity shortcut and nothing else.
            padding: Border of the first and the last convolution: ``"reflect"`` or ``"zeros"``.
            activation: A key of :data:`dip_lightning.models.layers.ACTIVATIONS`.
            dropout: Dropout probability between consecutive blocks, in [0, 1); 0 adds no layer.
            dropout_kind: ``"element"`` or ``"channel"``.
            dropout_place: ``"block"`` for dropout between blocks alone, ``"layer"`` for dropout also behind the
                activation inside them.
            output: ``"sigmoid"`` or ``"linear"``.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        self.input_channels = check_integer("model.input_channels", input_channels, 1, example=32)
        check_integer("model.output_channels", output_channels, 1, example=3)
        check_integer("model.channels", channels, 1, example=128)
        check_integer("model.num_blocks", num_blocks, 1, example=5)
        self.residual = check_flag("residual", residual)
        self.activation = activation
        inside = check_choice("model.dropout_place", dropout_place, DROPOUT_PLACES) == "layer"
        self._inner_dropout, self._dropout_kind = dropout if inside else 0.0, dropout_kind
        self.stem = nn.Sequential(conv(input_channels, channels, 3, padding=padding), make_activation(activation))
        self.blocks = nn.Sequential()
        for block in range(num_blocks):
            if block > 0:
                self.blocks.extend(make_dropout(dropout, dropout_kind))
            self.blocks.append(self._residual_block(channels))
        self.neck = nn.Sequential(conv(channels, channels, 3, padding="zeros"), nn.BatchNorm2d(channels))
        self.head = conv(channels, output_channels, 3, padding=padding)
        self.output = make_output(output)
        # With one block there is no place for dropout, but a wrong value is still the user's mistake.
        make_dropout(dropout, dropout_kind)

    def _residual_block(self, channels: int) -> ResidualBlock:
        body = nn.Sequential(
            conv(channels, channels, 3, padding="zeros", bias=False),
            nn.BatchNorm2d(channels),
            make_activation(self.activation),
            *make_dropout(self._inner_dropout, self._dropout_kind),
            conv(channels, channels, 3, padding="zeros", bias=False),
            nn.BatchNorm2d(channels),
        )
        return ResidualBlock(body, nn.Identity() if self.residual else None)

    def forward(self, z: Tensor) -> Tensor:
        """Map the input to an image.

        Args:
            z: (N, input_channels, H, W), H and W at least 2.

        Returns:
            (N, output_channels, H, W), in (0, 1) behind a sigmoid.
        """
        image: Tensor = self.output(self.head(self.neck(self.blocks(self.stem(z)))))
        return image
