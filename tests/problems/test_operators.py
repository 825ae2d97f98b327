"""Forward operators: what each maps to what, and what it says of its images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dip_lightning import Problem, UserError
from dip_lightning.problems import Downsample, Identity, Operator
from tests.small import fit, picture


@pytest.mark.parametrize("factor", [2, 3])
def test_downsampling_takes_the_means_of_blocks(factor: int) -> None:
    image = picture(3, 6 * factor, 4 * factor)
    blocks = image.numpy().reshape(1, 3, 6, factor, 4, factor).mean(axis=(3, 5))
    operator = Downsample(factor)
    assert np.allclose(operator(image).numpy(), blocks, atol=1e-6)
    assert operator.image_shape((3, 6, 4)) == (3, 6 * factor, 4 * factor)
    assert operator.scale == factor
    assert operator.known(image) is None


@pytest.mark.parametrize("factor", [0, 1, 65, 2.5, "two"])
def test_a_factor_without_sense_is_refused(factor: object) -> None:
    with pytest.raises(UserError, match=r"problem\.factor"):
        Downsample(factor)  # type: ignore[arg-type]


def test_an_image_that_is_no_multiple_of_the_factor_is_refused() -> None:
    operator = Downsample(4)
    operator.check_image(32, 40)
    with pytest.raises(UserError, match=r"33x40 pixels with problem\.factor=4.*image\.crop=32"):
        operator.check_image(33, 40)


def test_the_identity_gives_the_image_itself() -> None:
    image = picture()
    assert Identity()(image) is image
    assert Identity().image_shape((3, 5, 7)) == (3, 5, 7)


def test_the_problem_is_as_large_as_its_image() -> None:
    assert Problem(picture(), operator=Downsample(2)).shape == (3, 32, 32)
    assert Problem(picture(), operator=nn.AvgPool2d(2), shape=(3, 32, 32)).shape == (3, 32, 32)


class Grey(Operator):
    """Sees the mean of three channels, and of it every second column."""

    def image_shape(self, observed: tuple[int, int, int]) -> tuple[int, int, int]:
        _, height, width = observed
        return 3, height, width

    def known(self, observation: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros_like(observation)
        mask[..., ::2] = 1
        return mask

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=1, keepdim=True)


def test_an_operator_says_the_image_s_channels_and_which_samples_are_known() -> None:
    y = picture(1)
    problem = Problem(y, operator=Grey())
    assert problem.shape == (3, 16, 16)
    x = picture(seed=5)
    assert torch.allclose(problem.data_loss(Grey()(x)), (x.mean(1, keepdim=True) - y)[..., ::2].square().mean())
    given = torch.ones(1, 1, 16, 16)
    assert torch.equal(Problem(y, operator=Grey(), known=given).known, given)  # type: ignore[arg-type]
    assert fit(problem).iterate.one_pass.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("operator", [Downsample(2), nn.AvgPool2d(2), lambda x: F.avg_pool2d(x, 2)])
def test_a_class_a_module_and_a_function_are_the_same_operator(operator: Operator) -> None:
    problem = Problem(picture(3, 8, 8), operator=operator, shape=(3, 16, 16))
    expected = fit(Problem(picture(3, 8, 8), operator=Downsample(2)))
    assert torch.equal(fit(problem).iterate.one_pass, expected.iterate.one_pass)
