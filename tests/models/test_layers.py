"""The layers compute what they say, and stay inside their memory."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from dip_lightning.models import DeepDecoder, ResNet, ResUNet, UNet
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


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [UNet, ResNet, ResUNet, DeepDecoder])
def test_an_image_is_not_rounded_to_sixteen_bits(make: type[nn.Module], kind: torch.dtype) -> None:
    torch.manual_seed(0)
    size = {"num_blocks": 1} if make is ResNet else {"levels": 2}
    network = make(channels=8, input_channels=4, **size).eval()
    logits: list[torch.Tensor] = []
    network.head.register_forward_hook(lambda _, __, given: logits.append(given))
    with torch.no_grad(), torch.autocast("cpu", kind):
        image = network(torch.rand(1, 4, 16, 16))
    assert logits[0].dtype is kind
    assert image.dtype is torch.float32
    assert not torch.equal(image, image.to(kind).float())
    assert torch.equal(image, torch.sigmoid(logits[0].float())[..., : image.shape[2], : image.shape[3]])
