"""The lean U-net: its size, its z of half the sides, and what stands at full size."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dip_lightning import DeepImagePrior, Prior, Problem, UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.fitting.memory import _meter_step, measure_step
from dip_lightning.models import LeanUNet, UNet
from tests.small import picture


def small(**options: Any) -> LeanUNet:
    torch.manual_seed(0)
    return LeanUNet(**({"channels": 6, "full_channels": 5, "input_channels": 4, "levels": 2} | options))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("channels", "parameters"), [(64, 463_411), (128, 1_770_291), (32, 126_387), ([32, 64, 128, 128], 1_038_387)]
)
def test_it_is_a_unet_of_four_levels_and_sixteen_channels_at_full_size(
    channels: int | list[int], parameters: int
) -> None:
    # To 16 by 3x3 with biases and two numbers a channel of batch norm, and 16 → 3 by 1x1, instead of to 3 by 1x1.
    width = channels if isinstance(channels, int) else channels[0]
    behind = width * 16 * 9 + 16 + 2 * 16 + 16 * 3 + 3 - (width * 3 + 3)
    assert count(LeanUNet(channels=channels)) == parameters
    assert count(UNet(channels=channels, levels=4)) + behind == parameters


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (33, 40), (41, 63), (18, 71), (17, 17)])
def test_any_size_and_grey_arise_from_half_of_it(channels: int, height: int, width: int) -> None:
    network = small(output_channels=channels, levels=3)
    module = DeepImagePrior(Prior(network), Problem(picture(channels, height, width)))
    assert module.prior.z.shape == (1, 4, (height + 1) // 2, (width + 1) // 2)
    image = module(module.prior.z)
    assert image.shape == (1, channels, height, width)
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


def test_what_stands_at_full_size_is_one_convolution_behind_interpolation() -> None:
    network, z = small(), torch.rand(1, 4, 16, 18)
    within = network.inner(z)
    assert within.shape == (1, 6, 16, 18)
    doubled = F.interpolate(within, scale_factor=2, mode="bilinear", align_corners=False)
    expected = torch.sigmoid(network.head(network.full(doubled)))
    torch.testing.assert_close(network(z), expected, atol=1e-5, rtol=0)
    assert [module.kernel_size for module in network.full.modules() if isinstance(module, nn.Conv2d)] == [(3, 3)]


def test_its_options_reach_the_unet_within() -> None:
    assert small(upsample="nearest").inner.upsample == ["nearest"] * 2
    assert not torch.allclose(small(upsample="nearest")(z := torch.rand(1, 4, 16, 16)), small()(z))
    dropouts = [layer.p for layer in small(dropout=0.25).modules() if isinstance(layer, nn.Dropout)]
    assert dropouts == [0.25] * 3
    assert small(skip_channels=[0, 3]).inner.skips[1][0].out_channels == 3
    linear = small(output="linear")
    assert linear(torch.rand(1, 4, 16, 16)).min() < 0 or linear(10 * torch.rand(1, 4, 16, 16)).max() > 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"full_channels": 0}, "model.full_channels=0"),
        ({"channels": 0}, "model.channels=0"),
        ({"channels": [6, 6, 6]}, "try model.levels=3"),
        ({"upsample": "cubic"}, "model.upsample=cubic"),
        ({"output_channels": 0}, "model.output_channels=0"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named.replace("[", r"\[")):
        small(**options)


@pytest.mark.parametrize(("side", "levels", "least"), [(16, 4, 17), (8, 3, 9)])
def test_a_picture_too_small_for_its_levels_is_refused_and_the_next_larger_is_not(
    side: int, levels: int, least: int
) -> None:
    network = small(levels=levels)
    with pytest.raises(UserError, match=f"at least {least} pixels on each side; try model.levels={levels - 1}"):
        network.check_size(side, 100)
    network.check_size(least, 100)
    assert network(torch.rand(1, 4, -(-least // 2), 50)).shape[-2:] == (2 * -(-least // 2), 100)


def test_float64_and_channels_last_compute_the_same() -> None:
    z = torch.rand(1, 4, 16, 20)
    reference = small()(z)
    double = small().double()(z.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(reference.double(), double, atol=1e-5, rtol=0)
    last = small().to(memory_format=torch.channels_last)(z.to(memory_format=torch.channels_last))
    torch.testing.assert_close(reference, last, atol=1e-5, rtol=0)


def test_its_memory_is_told_from_small_pictures() -> None:
    """What two small pictures tell is what a larger one takes, and a fraction of what the U-net takes."""
    cpu = {"device": torch.device("cpu"), "weights": torch.float32, "autocast": None}
    lean, usual = (measure_step(Prior(network), **cpu) for network in (LeanUNet(), UNet()))
    assert 0 < lean.per_pixel < usual.per_pixel / 4
    assert _meter_step(LeanUNet(), (1, 32, 64, 64), **cpu) == pytest.approx(
        lean.fixed + lean.per_pixel * 128**2, rel=0.2
    )


def test_a_fit_of_it_is_recorded_by_its_name(tiny_fit: Callable[..., FitResult]) -> None:
    summary = tiny_fit("model=leanunet", "image.crop=[0,0,31,33]").summary
    assert (summary["model"], summary["height"], summary["width"]) == ("leanunet", 31, 33)
