"""The residual U-net: the paper's final architecture (section 3.4)."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from dip_lightning.checks import check_flag
from dip_lightning.models.hourglass import Hourglass
from dip_lightning.models.layers import ResidualBlock, conv, conv_norm_act, make_activation

__all__ = ["ResUNet"]


class ResUNet(Hourglass):
    """A U-net whose encoder and decoder blocks are residual, with dropout between the blocks.

    With the default arguments it has the 1,706,331 parameters of Table 1 in the paper, whatever the dropout.

    The paper gives no kernel sizes. This composition has exactly its parameter count and costs about as much as the
    U-net, as its timings say. An encoder block halves the image by a 1×1 convolution and then applies
    conv3 → BN → act → conv1 → BN, plus the shortcut, then act; a decoder block is conv1 → BN → act → conv3 → BN, plus
    the shortcut, then act. The shortcut is the identity where the channels agree, else conv1 without bias → BN.
    """

    def __init__(
        self,
        *,
        residual: bool = True,
        skip_channels: int | Sequence[int] = 8,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        """Build the network.

        Args:
            residual: False removes every shortcut, with its projection, and nothing else.
            skip_channels: Channels of each skip connection, or one number for each level; 0 removes a skip.
            dropout: Dropout probability between blocks, in [0, 1); 0 adds no layer.
            **options: The other arguments of :class:`~dip_lightning.models.hourglass.Hourglass`.

        Raises:
            UserError: A value is not allowed.
        """
        self.residual = check_flag("residual", residual)
        super().__init__(skip_channels=skip_channels, dropout=dropout, **options)

    def make_encoder(self, in_channels: int, out_channels: int, stride: int, kernel_size: int) -> nn.Module:
        """Make conv1 (strided) → BN → act, then a residual block that starts with the 3×3 convolution."""
        return nn.Sequential(
            conv_norm_act(in_channels, in_channels, 1, stride=stride, activation=self.activation),
            *self.make_inner_dropout(),
            self._residual_block(in_channels, out_channels, kernel_sizes=(kernel_size, 1)),
        )

    def make_decoder(self, in_channels: int, out_channels: int) -> nn.Module:
        """Make a residual block that ends with the 3×3 convolution."""
        return self._residual_block(in_channels, out_channels, kernel_sizes=(1, 3))

    def _residual_block(self, in_channels: int, out_channels: int, kernel_sizes: tuple[int, int]) -> ResidualBlock:
        first, second = kernel_sizes
        body = nn.Sequential(
            conv_norm_act(in_channels, out_channels, first, padding=self.padding, activation=self.activation),
            *self.make_inner_dropout(),
            conv(out_channels, out_channels, second, padding=self.padding),
            nn.BatchNorm2d(out_channels),
        )
        shortcut: nn.Module | None = None
        if self.residual and in_channels == out_channels:
            shortcut = nn.Identity()
        elif self.residual:
            shortcut = nn.Sequential(conv(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        return ResidualBlock(body, shortcut, make_activation(self.activation))
