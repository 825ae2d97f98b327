"""Backprojection: blurred pictures compared frequency by frequency."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.problems import Blur
from dip_lightning.problems.backprojection import Backprojection
from tests.small import picture

BLURRED = ["problem=deblur", "problem.width=1", "degradation=gaussian", "degradation.sigma=2"]


def wave(periods: int, side: int = 64) -> torch.Tensor:
    """(1, 1, side, side), a cosine across the picture whose mirror image goes on as itself."""
    line = torch.cos(torch.pi * periods * torch.arange(side, dtype=torch.float64) / (side - 1))
    return line.expand(1, 1, side, side).contiguous()


def test_fine_detail_counts_by_how_little_of_it_is_seen() -> None:
    blur = Blur("gaussian", width=1.6, border="reflect")
    term = Backprojection(blur, 64, 64).double()
    for periods in (4, 16, 32):
        residual = 0.01 * wave(periods)
        frequency = periods / 2 / 63
        seen = torch.exp(torch.tensor(-2 * torch.pi**2 * 1.6**2 * frequency**2, dtype=torch.float64))
        inside = slice(16, -16)
        gained = term(residual, torch.zeros_like(residual))[..., inside, inside].sum()
        plain = residual.square()[..., inside, inside].sum()
        assert float(gained / plain) == pytest.approx(float(1 / (seen**2 + 0.1)), rel=0.05)


def test_what_was_not_measured_does_not_count_at_its_neighbours_either() -> None:
    blur, observation = Blur("gaussian", width=1), picture(3, 24, 24)
    known = blur.known(observation)
    assert known is not None
    term, wrong = Backprojection(blur, 24, 24, known), observation + (1 - known)
    assert not torch.equal(wrong, observation)
    assert float(term(wrong, observation).max()) == 0


def test_a_kernel_larger_than_half_the_picture_and_one_of_a_single_pixel() -> None:
    for width, side in ((2.0, 18), (0.1, 16)):
        blur = Blur("gaussian", width=width, border="reflect")
        losses = Backprojection(blur, side, side)(picture(3, side, side), torch.zeros(1, 3, side, side))
        assert losses.shape == (1, 3, side, side)
        assert torch.isfinite(losses).all()


def test_blurred_pictures_with_little_noise_are_fitted_so_and_with_total_variation(
    tiny_fit: Callable[..., FitResult],
) -> None:
    result = tiny_fit(*BLURRED)
    assert result.summary["data_term"] == "backprojection"
    assert "regularizer_tv" in result.curves
    plain = tiny_fit(*BLURRED, "data_term=mse", "regularizers=none")
    assert plain.summary["data_term"] == "mse"
    assert "regularizer_tv" not in plain.curves
    noisy = tiny_fit(*BLURRED[:-1], "degradation.sigma=25")
    assert noisy.summary["data_term"] == "mse"
    assert "regularizer_tv" not in noisy.curves


def test_it_is_refused_of_other_problems(tiny_fit: Callable[..., FitResult]) -> None:
    with pytest.raises(UserError, match="data_term=backprojection: expected a blurred picture"):
        tiny_fit("data_term=backprojection")


def test_samples_cannot_be_held_out_of_it(tiny_fit: Callable[..., FitResult]) -> None:
    with pytest.raises(UserError, match="stopping=holdout with data_term=backprojection"):
        tiny_fit(*BLURRED, "stopping=holdout")
    voted = tiny_fit(*BLURRED, "stopping=vote", "iterations=12")
    assert set(voted.summary["stopping"]["abstained"]) >= {"holdout", "sure"}


@pytest.mark.slow
def test_where_no_other_rule_can_judge_it_one_that_shared_noise_deceives_is_better_than_none(
    tiny_fit: Callable[..., FitResult], tmp_path: Path
) -> None:
    around = np.zeros((7, 7))
    around[3, 2:5] = 0.5, 1, 0.5
    np.save(tmp_path / "noise.npy", around)
    short = ["stopping.min_iterations=1", "stopping.patience=1", "stopping.rules.wmv.window=2", "alpha=0"]
    result = tiny_fit(
        *BLURRED, f"problem.noise={tmp_path / 'noise.npy'}", "stopping=vote", "iterations=200", "lr=0.1", *short
    )
    stopping = result.summary["stopping"]
    assert set(stopping["picks"]) == {"wmv"}
    assert set(stopping["abstained"]) == {"holdout", "sure"}
    assert "Only wmv could judge" in str(stopping["unsure"])


def test_it_goes_with_every_precision_that_a_cpu_has(tiny_fit: Callable[..., FitResult]) -> None:
    for precision in ("fp32", "bf16", "fp64"):
        losses = tiny_fit(*BLURRED, f"precision={precision}", "lr=0.001", "iterations=8").curves["loss"]
        assert losses[-1] < losses[0]
