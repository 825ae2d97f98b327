"""The parameter counts of Table 1 in the paper, which hold for the default arguments."""

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
