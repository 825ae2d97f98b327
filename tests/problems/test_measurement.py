"""Objects of other libraries that measure an image with a method ``A``, as the physics of deepinv does."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dip_lightning import Problem, restore

SMALL: dict[str, Any] = {
    "overrides": ["trainer=cpu", "model.channels=8", "model.levels=2", "model.input_channels=4", "stopping=none"]
}


class TensorList:
    """What stacked operators return: no list, but something to go through."""

    def __init__(self, parts: list[Tensor]) -> None:
        self.x = parts

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        return self.x[index]


class Physics(nn.Module):
    """Stands in for one: calling it adds noise, as theirs does, here so much that a fit of it would be no picture."""

    def __init__(self, stacked: bool = False) -> None:
        super().__init__()
        self.stacked = stacked
        self.register_buffer("mask", torch.ones(1, 1, 32, 32))

    mask: Tensor

    def A(self, x: Tensor) -> Tensor | TensorList:  # noqa: N802 - deepinv's name
        half = nn.functional.avg_pool2d(x * self.mask.to(x), 2)
        return TensorList([half, x.mean(dim=(2, 3))]) if self.stacked else half

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("A was to be called")


def smooth() -> Tensor:
    ramp = torch.linspace(0.2, 0.8, 32)
    return (ramp[None, :] + 0.3 * ramp[:, None]).div(1.3).expand(1, 3, 32, 32).contiguous()


@pytest.fixture(params=[False, True], ids=["one", "stacked"])
def physics(request: pytest.FixtureRequest) -> Physics:
    return Physics(request.param)


def test_a_is_what_is_fitted(physics: Physics) -> None:
    clean = smooth()
    problem = Problem(physics.A(clean), clean, operator=physics, shape=(3, 32, 32), sigma=0)
    assert problem.observation.shape == ((1, 1, 1, 3 * 16 * 16 + 3) if physics.stacked else (1, 3, 16, 16))
    assert torch.equal(problem.operator(clean), problem.observation)
    result = restore(problem=problem, iterations=120, **SMALL)
    assert result.output.shape == (32, 32, 3)
    assert result.summary["operator"] == "physics"
    assert float(np.square(result.output - clean[0].permute(1, 2, 0).numpy()).mean()) < 0.01


def test_a_picture_may_be_what_it_measured() -> None:
    class Mirror:
        def A(self, x: Tensor) -> Tensor:  # noqa: N802 - likewise
            return x.flip(3)

    picture = smooth()[0].permute(1, 2, 0).numpy()
    result = restore(picture, problem=Mirror(), iterations=120, **SMALL)
    assert result.summary["operator"] == "mirror"
    assert np.square(result.output - picture[:, ::-1]).mean() < np.square(result.output - picture).mean() / 4
