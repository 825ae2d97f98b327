"""The Deep Decoder: its size, its z, and that nobody outside `models/` knows one network from another."""

import ast
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dip_lightning
from dip_lightning import DeepImagePrior, Prior, Problem, UserError, models
from dip_lightning.models import DeepDecoder
from tests.small import fit, picture


@pytest.mark.parametrize(("channels", "count"), [(128, 100_224), (64, 25_536)])
def test_it_has_as_many_parameters_as_published(channels: int, count: int) -> None:
    # Six k x k blocks with two numbers a channel of batch norm, and k x 3: 6(k² + 2k) + 3k.
    assert 6 * (channels**2 + 2 * channels) + 3 * channels == count
    assert sum(parameter.numel() for parameter in DeepDecoder(channels=channels).parameters()) == count


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(64, 96, (8, 2, 3)), (33, 64, (8, 2, 2)), (65, 40, (8, 3, 2))],
)
def test_z_is_a_thirty_second_of_the_image(height: int, width: int, expected: tuple[int, int, int]) -> None:
    module = DeepImagePrior(Prior(DeepDecoder(channels=8)), Problem(picture(3, height, width)))
    assert module.prior.z.shape == (1, *expected)
    image = module(module.prior.z)
    assert image.shape == (1, 3, height, width)
    assert image.min() >= 0
    assert image.max() <= 1


def test_other_levels_and_channels_of_z() -> None:
    network = DeepDecoder(channels=8, levels=2, input_channels=5)
    assert network.input_shape(30, 32) == (5, 8, 8)
    assert network(torch.rand(1, 5, 8, 8)).shape == (1, 3, 32, 32)


def test_it_is_what_the_paper_says() -> None:
    torch.manual_seed(0)
    network, z = DeepDecoder(channels=8, levels=2), torch.rand(1, 8, 5, 6)
    assert {module.kernel_size for module in network.modules() if isinstance(module, nn.Conv2d)} == {(1, 1)}
    weights = dict(network.named_parameters())
    assert not any(name.endswith("bias") for name in weights if name.startswith(("convolutions", "head")))
    x = z
    for level in range(3):
        x = F.conv2d(x, weights[f"convolutions.{level}.weight"])
        if level < 2:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = F.batch_norm(F.relu(x), None, None, training=True)  # scale and shift begin with 1 and 0
    assert torch.allclose(network(z), torch.sigmoid(F.conv2d(x, weights["head.weight"])), atol=1e-5)


def test_it_fits_a_smooth_picture_and_hardly_noise() -> None:
    side = torch.linspace(0, 1, 64)
    smooth = (0.5 + 0.3 * torch.sin(4 * side)[:, None] * side).expand(1, 1, 64, 64)
    errors = []
    for target in (smooth, picture(1, 64, 64)):
        torch.manual_seed(0)
        prior = Prior(DeepDecoder(channels=8, output_channels=1))
        errors.append(float(fit(Problem(target.contiguous()), prior, iterations=200).curves.block()["loss"][-1]))
    assert errors[0] < 5e-3
    assert errors[1] > 0.9 / 12  # the variance of U(0, 1): nothing of the noise was fitted


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"levels": 0}, {"input_channels": 0}, {"dropout": 1}, {"activation": "x"}]
)
def test_a_value_without_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        DeepDecoder(**wrong)  # type: ignore[arg-type]


SOURCE = Path(dip_lightning.__file__).parent
NETWORKS = {name for name in models.__all__ if name != "Network"}


def test_nobody_outside_models_asks_which_network_it_is() -> None:
    asked = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.parent.name != "models" else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
                kinds = {getattr(kind, "id", getattr(kind, "attr", "")) for kind in ast.walk(node.args[1])}
                asked += [f"{path}:{node.lineno}"] if kinds & NETWORKS else []
    assert not asked


def test_an_image_of_a_single_pixel_of_z_is_refused() -> None:
    with pytest.raises(UserError, match=r"32x64 pixels .* at least 33 pixels on each side; try model\.levels=4"):
        DeepImagePrior(Prior(DeepDecoder(channels=8)), Problem(picture(3, 32, 64)))
    assert DeepImagePrior(Prior(DeepDecoder(channels=8, levels=4)), Problem(picture(3, 32, 64))).prior.z.shape[2] == 2
