"""The detection: which picture is kept, when the fit ends, and what several rules do together."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dip_lightning.callbacks import Detection, OutputEMA
from dip_lightning.callbacks.picks import Picks
from dip_lightning.config.compose import compose_config
from dip_lightning.data import GaussianNoise, load_observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.models import UNet
from dip_lightning.module import DeepImagePrior, Iterate
from dip_lightning.priors import Prior
from dip_lightning.problems import Problem
from dip_lightning.stopping import patience_after
from dip_lightning.workflows.restore import fit as restore_fit
from tests.conftest import TINY, TINY_UNET


class Scripted:
    """A rule whose statistic is a list."""

    def __init__(self, values: list[float | None], follows_output: bool = True) -> None:
        self.values, self.follows_output = values, follows_output
        self.outputs: list[Tensor] = []

    def prepare(self, problem: Problem) -> Problem:
        self.outputs = []
        return problem

    def statistic(self, iterate: Iterate, output: Tensor) -> Tensor | None:
        self.outputs.append(output.clone())
        value = self.values[min(iterate.iteration, len(self.values) - 1)]
        return None if value is None else torch.tensor(value)


class Average(OutputEMA):
    """Gives every iteration an averaged output that can be told from the others."""

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, *args: Any
    ) -> None:
        iterate = pl_module.iterate
        iterate.warm_average = torch.full_like(pl_module.problem.observation, float(iterate.iteration))


def run(
    detection: Detection,
    iterations: int = 40,
    *before: pl.Callback,
    alpha: float | str = 0.99,
    select: str = "averaged",
) -> DeepImagePrior:
    observation = load_observation("skimage:camera", GaussianNoise(), crop=16)
    torch.manual_seed(0)
    network = UNet(channels=2, levels=1, input_channels=2, output_channels=1)
    problem = Problem(observation.noisy.float())
    module = DeepImagePrior(Prior(network), problem, iterations=iterations, select=select)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[*before, Average(alpha), detection],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    return module


V = [9.0, 8, 7, 6, 5, 6, 7, 8, 9, 10]  # least at iteration 4


def test_the_fit_ends_when_patience_is_over_and_hands_back_the_best_iteration() -> None:
    detection = Detection({"rule": Scripted(V)}, min_iterations=0, patience=6)
    module = run(detection)
    assert module.curves.recorded == 4 + 6 + 1
    assert detection.ended_fit
    assert detection.settled == ["rule"]
    iteration, image = detection.chosen() or (None, None)
    assert iteration == 4
    assert torch.equal(image, torch.full_like(module.problem.observation, 4.0))
    assert np.allclose(module.curves.block()["stopping_rule"][:10], V)


def test_a_rule_that_judges_one_pass_outputs_hands_back_a_later_average() -> None:
    # α = 0.8 remembers the last five.
    detection = Detection({"rule": Scripted(V, follows_output=False)}, min_iterations=0, patience=1)
    run(detection, alpha=0.8)
    assert (detection.chosen() or [0])[0] == 4 + 10  # twice as much
    # A memory of a quarter of the iterations: half as many again.
    detection = Detection({"rule": Scripted(V, follows_output=False)}, min_iterations=0, patience=1)
    module = run(detection, alpha="growing")
    assert (detection.chosen() or [0])[0] == 4 + 2
    assert module.curves.recorded == 4 + 2 + 1
    # Unless the one-pass output itself is handed back.
    detection = Detection({"rule": Scripted(V, follows_output=False)}, min_iterations=0, patience=8)
    run(detection, alpha=0.8, select="one_pass")
    assert (detection.chosen() or [0])[0] == 4


@pytest.mark.parametrize(("alpha", "iterations"), [(0.99, 4 + 400 + 1), ("growing", 4 + 250 + 1)])
def test_where_the_memory_of_the_average_grows_a_minimum_is_believed_sooner(
    alpha: float | str, iterations: int
) -> None:
    detection = Detection({"rule": Scripted(V)}, min_iterations=0, check_every=1)
    module = run(detection, 450, alpha=alpha)
    assert module.curves.recorded == iterations
    assert detection.earliest_end == iterations - 4


def test_the_selected_output_is_what_a_rule_judges() -> None:
    for select in ("averaged", "one_pass"):
        rule = Scripted(V)
        module = run(Detection({"rule": rule}, min_iterations=0, patience=3), select=select)
        averaged = torch.full_like(module.problem.observation, 2.0)
        assert torch.equal(rule.outputs[2], averaged) == (select == "averaged")


def test_minima_before_min_iterations_do_not_count() -> None:
    early = [0.0, 1, 2, 3, 4, 5, 6, 3.5, 6, 6]
    detection = Detection({"rule": Scripted(early)}, min_iterations=5, patience=4)
    run(detection)
    assert detection.picks() == {"rule": 7}


def test_a_value_that_is_no_number_is_no_minimum() -> None:
    detection = Detection({"rule": Scripted([5.0, 4, float("nan"), 3, float("-inf"), 9])}, min_iterations=0, patience=5)
    run(detection)
    assert detection.picks() == {"rule": 3}


def test_an_iteration_without_a_value_is_never_kept_and_does_not_count() -> None:
    like = torch.zeros(1, 1, 2, 2)
    picks, nothing = Picks(like, [1]), torch.tensor([torch.nan])
    picks.update(0, torch.tensor([5.0]), like + 1)
    picks.update(1, nothing, like + 2)
    assert (int(picks.minimum), int(picks.iteration), float(picks.images.mean())) == (0, 0, 1.0)
    picks.update(2, torch.tensor([6.0]), like + 3)
    assert (int(picks.minimum), int(picks.iteration), float(picks.images.mean())) == (0, 2, 3.0)
    assert int(picks.stood) == 1
    picks.update(3, torch.tensor([7.0]), like + 4)
    assert (int(picks.iteration), int(picks.stood)) == (2, 2)


def test_without_a_pick_nothing_is_chosen() -> None:
    detection = Detection({"rule": Scripted([None])}, min_iterations=0, patience=5)
    module = run(detection, 12)
    assert module.curves.recorded == 12
    assert detection.chosen() is None
    assert not detection.ended_fit


def test_the_cap_hands_back_the_best_so_far() -> None:
    detection = Detection({"rule": Scripted(V)}, min_iterations=0, patience=100)
    run(detection, 20)
    assert not detection.ended_fit
    assert (detection.chosen() or [0])[0] == 4


def test_of_three_rules_the_middle_pick_is_handed_back_once_two_have_settled() -> None:
    falling = [float(-i) for i in range(100)]  # never settles
    rules = {"early": Scripted([1.0, 0, *[5] * 9]), "middle": Scripted(V), "never": Scripted(falling)}
    detection = Detection(rules, agree=2, min_iterations=0, patience=6)
    module = run(detection)
    assert module.curves.recorded == 4 + 6 + 1
    assert detection.settled == ["early", "middle"]
    assert detection.name == "vote"
    assert detection.picks() == {"early": 1, "middle": 4, "never": 10}
    assert (detection.chosen() or [0])[0] == 4


@pytest.mark.parametrize(
    ("minima", "doubtful"), [((10, 15, 20), False), ((4, 18, 20), False), ((4, 10, 25), True), ((4, 4, 4), False)]
)
def test_picks_that_lie_far_apart_are_doubtful(minima: tuple[int, ...], doubtful: bool) -> None:
    rules = {str(i): Scripted([0.0 if k == m else 1 for k in range(60)]) for i, m in enumerate(minima)}
    detection = Detection(rules, agree=3, min_iterations=0, patience=30)
    run(detection, 80)
    assert (detection.doubt() is not None) == doubtful
    if minima == (4, 10, 25):
        assert "disagree (0 4, 1 10, 2 25)" in str(detection.doubt())


@pytest.mark.parametrize(("minima", "doubtful"), [((20, 23), False), ((20, 25), True)])
def test_two_picks_must_lie_closer(minima: tuple[int, int], doubtful: bool) -> None:
    rules = {str(i): Scripted([0.0 if k == m else 1 for k in range(60)]) for i, m in enumerate(minima)}
    detection = Detection(rules, agree=2, min_iterations=0, patience=30)
    run(detection, 80)
    assert (detection.doubt() is not None) == doubtful


def test_a_fit_that_its_cap_ended_is_doubtful() -> None:
    detection = Detection({"rule": Scripted(V)}, min_iterations=0, patience=100)
    run(detection, 20)
    assert "had settled (best so far: rule 4)" in str(detection.doubt())
    detection = Detection({"rule": Scripted(V)}, min_iterations=30, patience=100)
    run(detection, 20)
    assert "too short" in str(detection.doubt())


def test_of_two_rules_that_judge_the_output_the_later_pick_is_handed_back() -> None:
    rules = {"late": Scripted([9.0, 8, 7, 6, 5, 4, 3, 9]), "early": Scripted(V)}
    detection = Detection(rules, agree=2, min_iterations=0, patience=5)
    run(detection)
    assert (detection.chosen() or [0])[0] == 6


def test_of_two_rules_one_that_judges_the_output_wins() -> None:
    rules = {"moves": Scripted([9.0, 8, 7, 6, 5, 4, 3, 9], follows_output=False), "output": Scripted(V)}
    detection = Detection(rules, agree=2, min_iterations=0, patience=5)
    run(detection, alpha=0.5)
    assert detection.picks() == {"moves": 10, "output": 4}
    assert (detection.chosen() or [0])[0] == 4


def test_a_rule_that_judges_the_output_ends_the_fit_alone_in_the_end() -> None:
    falling = [float(-i) for i in range(100)]
    for follows, length in ((True, 4 + 3 * 6 + 1), (False, 60)):
        rules = {"one": Scripted(V, follows), "two": Scripted(falling), "three": Scripted(falling)}
        detection = Detection(rules, agree=2, min_iterations=0, patience=6)
        assert run(detection, 60, select="one_pass").curves.recorded == length
        assert (detection.chosen() or [0])[0] == (4 if follows else 59)
        assert detection.doubt() is not None
    # Where every rule must have settled, none ends the fit alone.
    rules = {"one": Scripted(V), "two": Scripted(falling)}
    assert run(Detection(rules, agree=2, min_iterations=0, patience=6), 60).curves.recorded == 60


class Refusing(Scripted):
    def prepare(self, problem: Problem) -> Problem:
        raise UserError("no noise", "some", "try another")


def test_a_rule_that_cannot_judge_abstains_unless_it_is_the_only_one() -> None:
    rules = {"cannot": Refusing(V), "can": Scripted(V)}
    detection = Detection(rules, agree=2, min_iterations=0, patience=6)
    assert run(detection).curves.recorded == 11
    assert detection.picks() == {"can": 4}
    assert detection.abstained == {"cannot": "some"}
    assert detection.doubt() == "Only can could judge the picture; cannot needs some."
    with pytest.raises(UserError, match="no noise"):
        run(Detection({"cannot": Refusing(V)}))
    with pytest.raises(UserError, match="no stopping rule"):
        run(Detection({"cannot": Refusing(V), "nor": Refusing(V)}, agree=2))


def test_patience_grows_with_the_minimum_unless_it_is_given_and_waits_for_the_pick() -> None:
    assert patience_after(np.array([10, 800, 2000]), None, 0).tolist() == [400, 400, 1000]
    assert patience_after(np.array([10, 2000]), 30, 0).tolist() == [30, 30]
    assert int(patience_after(2000, 30, 200)) == 200  # what the pick trails its minimum by
    assert int(patience_after(2000, None, 200)) == 1000
    assert patience_after(np.array([10, 800, 2000]), None, 0, growing=True).tolist() == [250, 250, 600]


def test_the_detection_is_marked_in_the_curves() -> None:
    module = run(Detection({"rule": Scripted(V)}, min_iterations=0, patience=6))
    marked = module.curves.block()["detected"]
    assert np.flatnonzero(np.isfinite(marked)).tolist() == [4]


def test_the_picks_are_looked_at_at_the_cadence() -> None:
    detection = Detection({"rule": Scripted(V)}, min_iterations=0, patience=6, check_every=8)
    assert run(detection).curves.recorded == 16
    assert (detection.chosen() or [0])[0] == 4


def test_a_second_fit_starts_anew() -> None:
    detection = Detection({"rule": Scripted(V)}, min_iterations=0, patience=3)
    run(detection)
    run(detection)
    assert detection.picks() == {"rule": 4}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rules": {}}, "stopping.rules"),
        ({"agree": 2}, "stopping.agree=2"),
        ({"patience": 0}, "stopping.patience=0"),
        ({"min_iterations": -1}, "stopping.min_iterations=-1"),
        ({"check_every": 0}, "stopping.check_every=0"),
    ],
)
def test_a_value_without_sense_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        Detection(**({"rules": {"rule": Scripted(V)}} | options))


SMALL = ("image.crop=24", "iterations=60", "stopping.min_iterations=12", "stopping.patience=9")


@pytest.mark.parametrize("rule", ["wmv", "emv", "holdout", "sure", "vote"])
@pytest.mark.parametrize(
    "fit", [(), ("model=resnet", "model.num_blocks=2"), ("model=unet", "model.output=linear"), ("dropout=0.2",)]
)
@pytest.mark.parametrize("picture", ["camera", "chelsea"])
def test_every_rule_works_with_every_network(
    tiny_fit: Callable[..., FitResult], rule: str, fit: tuple[str, ...], picture: str
) -> None:
    window = ["stopping.rules.wmv.window=5"] if rule in ("wmv", "vote") else []
    share = ["stopping.rules.holdout.fraction=0.1"] if rule in ("holdout", "vote") else []
    resnet = "model=resnet" in fit
    overrides = [*SMALL, *window, *share, *fit, f"stopping={rule}", f"image.path=skimage:{picture}"]
    result = restore_fit(compose_config([*TINY, *overrides])) if resnet else tiny_fit(*overrides)
    stopping = result.summary["stopping"]
    assert stopping["rule"] == rule
    for name, iteration in stopping["picks"].items():
        assert 12 <= iteration < result.summary["iterations"]
        curve = result.curves[f"stopping_{name}"]
        assert np.isfinite(curve[12:]).all()
    assert stopping["iteration"] in stopping["picks"].values()
    assert result.summary["selected"]["iteration"] == stopping["iteration"]
    assert np.isfinite(stopping["gap_db"])


@pytest.mark.parametrize("stopping", ["vote", "holdout"])
def test_held_out_pixels_decide_where_a_few_pixels_are_lost(stopping: str) -> None:
    # Every hundredth, which a robust estimate of σ does not see, and which look like noise that neighbours share.
    clean = gaussian_filter(np.random.default_rng(0).random((32, 32)), 3, mode="wrap")
    clean = (40 + 170 * (clean - clean.min()) / np.ptp(clean)).round().astype(np.uint8)
    short = ["lr=0.1", "alpha=0.8", "iterations=90", "stopping.min_iterations=10", "stopping.patience=8"]
    short += ["stopping.rules.wmv.window=5"] if stopping == "vote" else []
    cfg = [*TINY_UNET, "image.crop=null", "degradation=impulse", "degradation.amount=0.01", f"stopping={stopping}"]
    summary = restore_fit(compose_config([*cfg, *short]), image=clean).summary
    assert summary["sigma"] < 1
    assert summary["data_term"] == "l1"
    assert summary["stopping"]["abstained"] == ({"sure": "data_term=mse"} if stopping == "vote" else {})
    assert summary["stopping"]["iteration"] == summary["stopping"]["picks"]["holdout"]
    assert "Neighbouring" not in str(summary["stopping"]["unsure"])


def test_of_noise_that_neighbours_share_it_is_told_unless_the_absolute_error_is_fitted() -> None:
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 40, (64, 64)), 1)
    shared = (128 + noise).clip(0, 255).round().astype(np.uint8)
    short = ["stopping=wmv", "stopping.min_iterations=1", "stopping.patience=1", "stopping.rules.wmv.window=2"]
    short += ["image.crop=null", "alpha=0", "iterations=60"]
    for data_term, told in (("mse", True), ("l1", False)):
        cfg = compose_config(
            [*TINY_UNET, *short, f"data_term={data_term}", "image.crop=null", "alpha=0", "iterations=60"]
        )
        stopping = restore_fit(cfg, image=shared).summary["stopping"]
        assert "It stopped by itself" in stopping["reason"]
        assert ("Neighbouring" in str(stopping["unsure"])) is told


def test_of_noise_that_neighbours_share_the_rules_that_judge_the_output_vote() -> None:
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 40, (64, 64)), 1)
    shared = (128 + noise).clip(0, 255).round().astype(np.uint8)
    short = ["stopping.min_iterations=1", "stopping.patience=5", "image.crop=null", "alpha=0.5", "iterations=40"]
    stopping = restore_fit(compose_config([*TINY_UNET, *short, "stopping=vote"]), image=shared).summary["stopping"]
    assert stopping["abstained"] == {"wmv": "noise that differs from pixel to pixel"}
    assert set(stopping["picks"]) == {"holdout", "sure"}
    assert "Neighbouring" not in str(stopping["unsure"])
    white = restore_fit(
        compose_config([*TINY_UNET, *short, "stopping=vote", "problem.noise=white"]), image=shared
    ).summary["stopping"]
    assert white["abstained"] == {}
