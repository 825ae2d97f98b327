"""The U-net of Deep Image Prior: the paper's "original U-net"."""

from functools import partial

from torch import nn

from dip_lightning.models.hourglass import Hourglass
from dip_lightning.models.layers import conv_norm_act

__all__ = ["UNet"]


class UNet(Hourglass):
    """Ulyanov et al.'s ``skip`` network: strided convolutions down, bilinear interpolation up, narrow skips.

    Its arguments are those of :class:`~dip_lightning.models.hourglass.Hourglass`; with their defaults it has the
    2,217,831 parameters of Table 1 in the paper.
    """

    def make_encoder(self, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        """Make conv3 (strided) → BN → act → conv3 → BN → act."""
        unit = partial(conv_norm_act, padding=self.padding, activation=self.activation)
        return nn.Sequential(
            unit(in_channels, out_channels, 3, stride=stride),
            *self.make_inner_dropout(),
            unit(out_channels, out_channels, 3),
        )

    def make_decoder(self, in_channels: int, out_channels: int) -> nn.Module:
        """Make BN → conv3 → BN → act → conv1 → BN → act."""
        return nn.Sequential(
            nn.BatchNorm2d(in_channels),
            conv_norm_act(in_channels, out_channels, 3, padding=self.padding, activation=self.activation),
            *self.make_inner_dropout(),
            conv_norm_act(out_channels, out_channels, 1, activation=self.activation),
        )
