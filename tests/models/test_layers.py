"""The layers compute what they say, and stay inside their memory."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from dip_lightning.models.layers import PointwiseSampling, conv


@pytest.mark.parametrize("shape", [(32, 32), (33, 31)])
def test_few_channels_are_sampled_as_a_strided_convolution_does(shape: tuple[int, int]) -> None:
    ours = conv(4, 6, 1, stride=2)
    assert isinstance(ours, PointwiseSampling)
    reference = nn.Conv2d(4, 6, 1, stride=2)
    reference.load_state_dict(ours.state_dict())
    z = torch.rand((1, 4, *shape))  # not in channels_last, where the reference is sound
    gradients = []
    for layer in (ours, reference):
        layer(z).square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad)
    torch.testing.assert_close(ours(z), reference(z))
    torch.testing.assert_close(*gradients)


def test_a_narrow_network_in_channels_last_does_not_corrupt_memory() -> None:
    """In a process of its own: oneDNN's strided 1x1 convolution of fewer than 16 channels overruns, and kills it."""
    code = """
import torch
from dip_lightning.models import ResUNet
for channels in (3, 4, 8, 15):
    net = ResUNet(input_channels=channels, channels=8, levels=2, dropout=0.0).to(memory_format=torch.channels_last)
    z = torch.rand(1, channels, 96, 96).to(memory_format=torch.channels_last)
    for _ in range(6):
        net(z).sum().backward()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
