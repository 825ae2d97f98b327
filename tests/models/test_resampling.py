"""What replaces a layer of torch for speed gives the same values."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dip_lightning.models import UNet
from dip_lightning.models.layers import Dropout
from dip_lightning.models.resampling import ReflectConv2d, double


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (8, 8), (33, 17)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_doubling_and_its_gradient_are_those_of_torch(size: tuple[int, int], layout: torch.memory_format) -> None:
    x = torch.randn(2, 5, *size).to(memory_format=layout).requires_grad_()
    ours, theirs = double(x, "bilinear"), F.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.equal(ours, theirs)
    given = torch.randn_like(ours)
    (mine,), (right,) = torch.autograd.grad(ours, x, given), torch.autograd.grad(theirs, x, given)
    assert torch.allclose(mine, right, atol=2e-6)


def test_doubling_in_float64_has_the_gradient_of_its_values() -> None:
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: double(x, "bilinear"), x)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_autocast_leaves_the_type_of_what_is_doubled(mode: str) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert double(torch.rand(1, 2, 4, 4, dtype=torch.bfloat16), mode).dtype is torch.bfloat16
        assert double(torch.rand(1, 2, 4, 4), mode).dtype is torch.float32


@pytest.mark.parametrize("stride", [1, 2])
def test_a_reflected_border_is_that_of_torch(stride: int) -> None:
    theirs = nn.Conv2d(3, 4, 3, stride, padding=1, padding_mode="reflect")
    ours = ReflectConv2d(3, 4, 3, stride, padding=1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 9, 6)
    assert torch.equal(ours(x), theirs(x))


def test_between_convolutions_a_network_in_bf16_converts_nothing() -> None:
    network = UNet(channels=16, levels=2)
    kinds = set()
    for module in network.modules():
        if not isinstance(module, nn.Sequential) and module is not network and not list(module.children()):
            module.register_forward_hook(lambda module, inputs, out: kinds.add((inputs[0].dtype, out.dtype)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.rand(1, 32, 16, 16, dtype=torch.bfloat16))
    # But the sigmoid at the end, in whose eight bits an image would have too few steps.
    assert kinds == {(torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32)}


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_as_many_as_it_should_and_keeps_the_mean(p: float, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.ones(1, 7, 301, 99).to(memory_format=layout).requires_grad_()
    out = Dropout(p)(x)
    assert (out == 0).double().mean() == pytest.approx(p, abs=0.005)
    assert out.unique().tolist() == [0.0, pytest.approx(1 / (1 - p))]
    assert out.is_contiguous(memory_format=layout)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())
    # Neighbours are independent, in every direction.
    zero = (out == 0).double()
    for axis in (1, 2, 3):
        both = zero.narrow(axis, 0, zero.shape[axis] - 1) * zero.narrow(axis, 1, zero.shape[axis] - 1)
        assert both.mean() == pytest.approx(p * p, abs=0.01)


def test_dropout_does_nothing_in_evaluation_mode_and_follows_the_seed() -> None:
    layer, x = Dropout(0.3), torch.rand(1, 4, 8, 8)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)
    assert torch.equal(layer.eval()(x), x)
