"""The U-net of Deep Image Prior: the paper's "original U-net"."""

from functools import partial
from typing import Any

from torch import nn

from dip_lightning.checks import check_choice, check_flag
from dip_lightning.models.hourglass import Hourglass
from dip_lightning.models.layers import conv_norm_act

__all__ = ["DOWNSAMPLES", "UNet"]

# How height and width are halved.
DOWNSAMPLES = ("stride", "average")


class UNet(Hourglass):
    """Ulyanov et al.'s ``skip`` network: strided convolutions down, bilinear interpolation up, narrow skips.

    With the default arguments it has the 2,217,831 parameters of Table 1 in the paper.
    """

    def __init__(
        self,
        *,
        downsample: str = "stride",
        pointwise: bool = True,
        **options: Any,
    ) -> None:
        """Build the network.

        Args:
            downsample: ``"stride"`` for a strided convolution, ``"average"`` for one of every pixel and the means of
                2×2 of its outputs.
            pointwise: Whether a decoder block ends with a 1×1 convolution.
            **options: The other arguments of :class:`~dip_lightning.models.hourglass.Hourglass`.

        Raises:
            UserError: A value is not allowed.
        """
        self._averages = check_choice("model.downsample", downsample, DOWNSAMPLES) == "average"
        self._pointwise = check_flag("model.pointwise", pointwise)
        super().__init__(**options)

    def make_encoder(self, in_channels: int, out_channels: int, stride: int, kernel_size: int) -> nn.Module:
        """Make conv3 (strided) → BN → act → conv3 → BN → act."""
        unit = partial(conv_norm_act, padding=self.padding, activation=self.activation)
        first = unit(in_channels, out_channels, kernel_size, stride=1 if self._averages else stride)
        if self._averages and stride > 1:
            # What is left over at an odd border counts, as in a strided convolution.
            first.insert(1, nn.AvgPool2d(stride, ceil_mode=True))
        return nn.Sequential(first, *self.make_inner_dropout(), unit(out_channels, out_channels, kernel_size))

    def make_decoder(self, in_channels: int, out_channels: int) -> nn.Module:
        """Make BN → conv3 → BN → act → conv1 → BN → act."""
        spatial = conv_norm_act(in_channels, out_channels, 3, padding=self.padding, activation=self.activation)
        block = [nn.BatchNorm2d(in_channels), spatial]
        if self._pointwise:
            block += [
                *self.make_inner_dropout(),
                conv_norm_act(out_channels, out_channels, 1, activation=self.activation),
            ]
        return nn.Sequential(*block)
