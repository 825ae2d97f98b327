"""What the rules make of a fit that leaves its course, on outputs that are written beforehand."""

from collections.abc import Mapping
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dip_lightning import Prior, Problem
from dip_lightning.callbacks import Detection, DivergenceGuard, OutputEMA
from dip_lightning.module import Iterate
from dip_lightning.stopping import HeldOut, MovingVariance, StoppingRule, Sure, WindowedVariance
from tests.small import fit


class Played(nn.Module):
    """A network that gives what is written, one output an iteration."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.weight, self.outputs, self.next = nn.Parameter(torch.ones(())), outputs, 0

    def forward(self, z: Tensor) -> Tensor:
        self.next += 1
        return self.outputs[self.next - 1][None] + 0 * self.weight


def play(
    outputs: Tensor, rules: Mapping[str, StoppingRule], *before: pl.Callback, agree: int | None = None, **more: Any
) -> Detection:
    """Play outputs (iterations, C, H, W) that are nearest to an image of 0.5, and have the rules judge them."""
    noisy = 0.5 + 0.1 * torch.randn((1, *outputs.shape[1:]), generator=torch.Generator().manual_seed(0))
    detection = Detection(rules, agree=agree or len(rules), min_iterations=100, patience=300, check_every=25)
    callbacks = [*before, OutputEMA(), detection]
    fit(Problem(noisy, sigma=25.5), Prior(Played(outputs)), callbacks, len(outputs), **more)
    return detection


# Noise and error are least at iteration 330.
DISTANCE = 0.1 + (torch.arange(1000)[:, None, None, None] - 330.0).abs() / 2000
PLAYED = 0.5 + DISTANCE * (0.5 + torch.randn((1000, 1, 8, 8), generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("check_every", [1, 25])
@pytest.mark.parametrize("fault", [torch.nan, 50.0])
def test_iterations_that_diverged_leave_no_trace_in_any_rule(fault: float, check_every: int) -> None:
    rules = {"wmv": WindowedVariance(20), "emv": MovingVariance(), "holdout": HeldOut(0.25), "sure": Sure()}
    expected = play(PLAYED, rules).picks()
    assert all(pick >= 330 for pick in expected.values())
    # As many as an accelerator does before the guard looks; it then takes up the weights of before.
    outputs = torch.cat((PLAYED[:151], torch.full((25, 1, 8, 8), fault), PLAYED[151:]))
    detection = play(outputs, rules, DivergenceGuard(check_every=check_every, max_restores=100))
    assert detection.picks() == {name: pick + 25 for name, pick in expected.items()}
    assert detection.ended_fit


@pytest.mark.parametrize("rule", [WindowedVariance(20), MovingVariance()])
def test_outputs_that_are_no_numbers_to_the_end_have_not_stood_still(rule: StoppingRule) -> None:
    outputs = PLAYED.clone()
    outputs[160:] = torch.nan  # and nobody restores the weights
    iteration, image = play(outputs, {"rule": rule}, select="one_pass").chosen() or (-1, torch.empty(1))
    assert 100 < iteration < 160
    assert torch.equal(image[0], PLAYED[iteration])


class Refuted(Sure):
    """Says early on that the least error has been, and is wrong."""

    def statistic(self, iterate: Iterate, output: Tensor) -> Tensor:
        return torch.tensor(abs(iterate.iteration - 150.0))

    def is_refuted(self) -> Tensor:
        return torch.tensor(True)


def test_of_two_rules_of_which_one_is_proved_wrong_the_later_pick_counts() -> None:
    detection = play(PLAYED, {"holdout": HeldOut(0.25), "sure": Refuted()})
    (iteration, _), picks = detection.chosen() or (-1, None), detection.picks()
    assert picks["sure"] == 150
    assert iteration == picks["holdout"] >= 330
    assert detection.settled == ["holdout", "sure"]  # it alone would have ended the fit long before
    assert detection.find(Sure) is None
    assert "which deceives sure (holdout" in str(detection.doubt())


def test_of_three_rules_one_that_is_proved_wrong_does_not_count() -> None:
    class Late(Sure):
        def statistic(self, iterate: Iterate, output: Tensor) -> Tensor:
            return torch.tensor(-float(iterate.iteration))

        def is_refuted(self) -> Tensor:
            return torch.tensor(True)

    rules = {"wmv": WindowedVariance(20), "holdout": HeldOut(0.25), "sure": Late()}
    detection = play(PLAYED, rules, agree=2)
    assert detection.ended_fit
    assert detection.settled == ["wmv", "holdout"]
    assert (detection.chosen() or (-1, None))[0] < detection.picks()["sure"]


def test_where_no_other_rule_is_left_it_counts() -> None:
    detection = play(PLAYED, {"sure": Refuted()})
    assert (detection.chosen() or (-1, None))[0] == 150
    assert detection.ended_fit
