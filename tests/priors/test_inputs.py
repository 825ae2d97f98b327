"""How z is drawn, and what it is in each iteration."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dip_lightning import DeepImagePrior, Prior, Problem, UserError, restore
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.fit import FitResult
from dip_lightning.models import DeepDecoder
from dip_lightning.priors import Estimate, Perturbed, UniformInput
from dip_lightning.runs.checkpoint_file import read_checkpoint
from dip_lightning.workflows.restore import fit as fit_config
from dip_lightning.workflows.resume import resume
from tests.conftest import TINY_UNET
from tests.small import fit, network, picture, without_figures


def module(seed: int = 0, **options: Any) -> DeepImagePrior:
    prior = Prior(network(), input_channels=4, **options)
    return DeepImagePrior(prior, Problem(picture(height=32, width=40)), seed=seed)


def test_z_is_uniform_and_decided_by_the_seed_alone() -> None:
    z = module(3, draw=UniformInput(0.1)).prior.z
    assert z.shape == (1, 4, 32, 40)
    assert z.min() >= 0
    assert 0.099 < z.max() < 0.1
    torch.rand(100)  # the global generator does not matter, and is not moved
    state = torch.get_rng_state()
    assert torch.equal(module(3).prior.z, z)
    torch.random.set_rng_state(state)
    assert not torch.equal(module(4).prior.z, z)
    assert torch.equal(module(3, policy=Perturbed(0.5)).prior.z, z)
    assert torch.equal(module(3, draw=UniformInput(0.2)).prior.z, 2 * z)


def test_the_noise_falls_evenly_to_nothing_in_the_course_of_the_fit() -> None:
    policy, z = Perturbed(0.1, falls=True), torch.zeros(1, 8, 64, 64)
    assert policy(z, 500, None).std() == pytest.approx(0.1, rel=0.05)  # outside of a fit nobody knows its end
    module(policy=policy)
    policy.iterations = 1000
    for iteration, expected in ((0, 0.1), (250, 0.075), (500, 0.05), (999, 0.0001)):
        assert float(policy(z, iteration, None).std()) == pytest.approx(expected, rel=0.05)
    assert policy(z, 1000, None) is z  # an iteration more than was said


def test_a_fit_tells_the_policy_how_long_it_is() -> None:
    policy = Perturbed(0.1, falls=True)
    made = DeepImagePrior(Prior(network(), input_channels=4, policy=policy), Problem(picture()), iterations=77)
    assert made.prior.policy.iterations == 77


def test_several_iterations_see_the_same_noise() -> None:
    policy, z = Perturbed(0.1, every=3), torch.zeros(1, 8, 16, 16)
    module(policy=policy)
    seen = [policy(z, iteration, None) for iteration in range(7)]
    assert [torch.equal(one, next_one) for one, next_one in pairwise(seen)] == [True, True, False, True, True, False]
    assert float(seen[3].std()) == pytest.approx(0.1, rel=0.05)
    # A fit that goes on in between has it from its checkpoint.
    other = Perturbed(0.1, every=3)
    module(policy=other)
    policy.noise = policy.normal(torch.zeros(1, 4, 24, 24)) if policy.noise is None else policy.noise
    other.noise = torch.zeros_like(policy.noise)
    other.load_state_dict(policy.state_dict())
    assert torch.equal(other(z, 7, None), seen[6])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_input_is_perturbed_afresh_and_z_is_not(layout: torch.memory_format) -> None:
    policy, z = Perturbed(1 / 30), picture(8, 32, 40).to(memory_format=layout)
    before = z.clone()
    one, other = (policy(z, iteration, None) for iteration in range(2))
    assert one.shape == z.shape
    assert one.is_contiguous(memory_format=layout)
    assert not torch.equal(one, other)
    assert torch.equal(z, before)
    # 10,240 samples: the standard error of the deviation is 0.7 %.
    assert float((one - z).std()) == pytest.approx(1 / 30, rel=0.04)
    assert policy.unperturbed(z) is z


def test_without_perturbation_the_input_is_z() -> None:
    z = picture()
    state = torch.get_rng_state()
    assert Perturbed(0)(z, 5, None) is z
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_sees_z_unperturbed() -> None:
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, z: Tensor) -> Tensor:
            seen.append(z)
            return self.inner(z)  # type: ignore[no-any-return]

    fitted = fit(Problem(picture()), Prior(Watched(), input_channels=4, policy=Perturbed(0.2)), iterations=3)
    fitted.evaluate()
    assert torch.equal(seen[-1], fitted.prior.z)
    assert len({float(z.sum()) for z in seen}) == 4


@pytest.mark.parametrize("make", [lambda: Perturbed(-1), lambda: UniformInput(0), lambda: Perturbed("x")])  # type: ignore[arg-type]
def test_a_value_without_sense_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UserError, match="input_"):
        make()


def sigmas(steps: int, beta_min: float, beta_max: float) -> list[float]:
    """σ_t for t = T … 1, from the definition."""
    betas = np.linspace(beta_min, beta_max, steps)
    return [math.sqrt(1 - np.prod(1 - betas[:t])) for t in range(steps, 0, -1)]


def test_the_schedule_of_the_estimate() -> None:
    policy = Estimate(steps=6, inner=1, beta_min=0.01, beta_max=0.3)
    z, estimate = torch.zeros(1, 1, 64, 64), torch.full((1, 1, 64, 64), 0.5)
    policy.start(z, (1, 64, 64))
    for t, sigma in enumerate(sigmas(6, 0.01, 0.3)):
        given = policy(z, t, None if t == 0 else estimate)
        assert float(given.mean()) == pytest.approx(0 if t == 0 else 0.5, abs=5 * sigma / 64)
        assert float(given.std()) == pytest.approx(sigma, rel=0.05)
    assert sigma == pytest.approx(math.sqrt(0.01))
    # The published schedule: at the start nearly 0.43, at the end 0.01.
    defaults = sigmas(40, 1e-4, 1e-2)
    assert Estimate()._sigmas == pytest.approx(defaults)
    assert (defaults[0], defaults[-1]) == (pytest.approx(0.429, abs=1e-3), pytest.approx(0.01))


def test_the_noise_is_drawn_once_a_step_and_the_last_step_s_input_stays() -> None:
    policy, z = Estimate(steps=2, inner=3), torch.zeros(1, 3, 8, 8)
    policy.start(z, (3, 8, 8))
    estimates = [None, *(picture(height=8, width=8, seed=t) for t in range(1, 10))]
    inputs = [policy(z, t, estimates[t]).clone() for t in range(10) for _ in range(2)]
    assert all(torch.equal(inputs[t], inputs[t + 1]) for t in range(0, 20, 2))  # an iteration may be done twice
    inputs = inputs[::2]
    for t in range(10):
        assert torch.equal(inputs[t], inputs[0 if t < 3 else 3]), t
    assert not torch.equal(inputs[0], inputs[3])
    # x̂ is the output at the end of the step before, which is that of iteration 2.
    assert float((inputs[3] - estimates[3]).std()) == pytest.approx(0.01, rel=0.3)
    assert torch.equal(policy.unperturbed(z), inputs[-1])


def test_an_estimate_that_is_no_number_is_not_taken() -> None:
    policy, z = Estimate(steps=3, inner=1), torch.zeros(1, 3, 8, 8)
    policy.start(z, (3, 8, 8))
    policy(z, 0, None)
    assert torch.isfinite(policy(z, 1, torch.full_like(z, torch.nan))).all()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"inner": 0}, {"beta_min": -1}, {"beta_max": 1}, {"beta_max": 1e-5}])
def test_a_schedule_without_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"input.{next(iter(wrong))}"):
        Estimate(**wrong)  # type: ignore[arg-type]


def test_the_estimate_needs_an_input_as_large_as_the_image() -> None:
    with pytest.raises(UserError, match=r"input=estimate.*model=unet"):
        DeepImagePrior(Prior(DeepDecoder(channels=8), policy=Estimate()), Problem(picture(3, 64, 64)))


ESTIMATE = [
    *(setting for setting in TINY_UNET if not setting.startswith(("iterations", "model.input_channels"))),
    *("input=estimate", "input.steps=4", "input.inner=6", "callbacks.checkpoint.iterations=9", "stopping=none"),
]


def test_z_has_the_channels_of_the_image(tiny_fit: Callable[..., FitResult]) -> None:
    grey = restore(
        np.zeros((32, 32), np.uint8) + 90,
        input="estimate",
        iterations=2,
        overrides=[*TINY_UNET[:2], "model.levels=2", "stopping=none"],
    )
    assert grey.image.shape == (32, 32)
    assert grey.summary["input_noise_std"] is None
    colour = tiny_fit("input=estimate", "stopping=none")
    # Six iterations are one step, of one input: a smooth course.
    assert len(colour.curves["loss"]) == 6


@pytest.mark.parametrize("at", [9, 18])
def test_a_fit_goes_on_from_its_estimate_to_the_last_bit(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_figures(monkeypatch)
    whole = fit_config(compose_config([*ESTIMATE, "iterations=30"]))
    fit_config(compose_config([*ESTIMATE, f"iterations={at}"]), tmp_path / "part")
    state = read_checkpoint(tmp_path / "part" / "checkpoints" / "last.ckpt")
    assert state["state_dict"]["prior.policy.current"].shape == (1, 3, 32, 32)
    assert state["state_dict"]["prior.policy.current"].abs().sum() > 0
    resumed = resume(tmp_path / "part", iterations=30)
    for name, values in whole.curves.items():
        if name != "psnr_eval":  # also measured in the last iteration of the part
            assert np.array_equal(values, resumed.curves[name], equal_nan=True), name
    assert np.array_equal(whole.output, resumed.output)
