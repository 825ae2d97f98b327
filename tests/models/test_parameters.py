"""The parameter counts of Table 1 in the paper, which hold for the default arguments."""

from typing import Any

import pytest
from torch import nn

from dip_lightning.models import ResNet, ResUNet, UNet


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (UNet, 2_217_831),
        (ResNet, 1_665_411),
        (ResUNet, 1_706_331),
    ],
)
def test_the_default_network_has_the_papers_parameter_count(network: type[nn.Module], parameters: int) -> None:
    assert count(network()) == parameters


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_dropout_adds_no_parameters_to_the_residual_unet(dropout: float) -> None:
    assert count(ResUNet(dropout=dropout)) == 1_706_331


@pytest.mark.parametrize("network", [UNet, ResUNet])
def test_the_network_without_hourglass_has_the_same_parameter_count(network: type[nn.Module]) -> None:
    assert count(network(hourglass=False)) == count(network())


@pytest.mark.parametrize(
    ("channels", "parameters"),
    [
        (64, 572_455),
        (32, 152_199),
        ([64, 128, 128, 128, 128], 1_925_543),
        ([32, 64, 128, 128, 128], 1_499_463),
        ([16, 32, 64, 128, 128], 1_041_815),
        ([8, 16, 32, 64, 128], 577_215),
    ],
)
def test_narrow_and_tapered_unets_have_these_counts(channels: int | list[int], parameters: int) -> None:
    assert count(UNet(channels=channels)) == parameters


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"skip_channels": 128, "upsample": "nearest"}, 3_002_627),
        (
            {
                "input_channels": 1,
                "channels": [16, 32, 64, 128, 128, 128],
                "skip_channels": 0,
                "levels": 6,
                "kernel_size": 5,
                "pointwise": False,
            },
            2_996_467,
        ),
        ({"input_channels": 2, "skip_channels": 0}, 2_157_955),
        ({"output_channels": 1}, 2_217_573),
        ({"channels": [16, 32, 64, 128, 128], "skip_channels": 0, "downsample": "average"}, 1_027_379),
        ({"input_channels": 3, "channels": [8, 16, 32, 64, 128], "skip_channels": [0, 0, 0, 4, 4]}, 572_827),
        ({"input_channels": 3, "upsample": ["nearest", "nearest", *["bilinear"] * 3]}, 2_184_307),
    ],
)
def test_the_networks_of_the_authors_other_applications_have_their_parameter_counts(
    options: dict[str, Any], parameters: int
) -> None:
    """Counted from the settings of the notebooks of Deep Image Prior's authors."""
    assert count(UNet(**options)) == parameters
