"""The replay does on curves what the callback does in a fit."""

from collections.abc import Callable

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from dip_lightning.callbacks import Detection
from dip_lightning.fitting.fit import FitResult
from dip_lightning.module import DeepImagePrior
from dip_lightning.stopping import StoppingRule, lag_of
from dip_lightning.stopping.replay import replay
from tests.callbacks.test_detection import Refusing, Scripted, V, run


@pytest.mark.parametrize("agree", [1, 2])
@pytest.mark.parametrize(("least", "patience"), [(10, 8), (60, 8), (10, 500)])
def test_a_replay_ends_as_the_fit_did(
    tiny_fit: Callable[..., FitResult], agree: int, least: int, patience: int
) -> None:
    settings = [f"stopping.agree={agree}", f"stopping.min_iterations={least}", f"stopping.patience={patience}"]
    result = tiny_fit("lr=0.1", "alpha=0.8", "iterations=90", "stopping.rules.wmv.window=5", *settings)
    lags = {"wmv": lag_of(0.8), "holdout": 0, "sure": 0}  # none for a rule that judges the averaged output
    statistics = {name: (result.curves[f"stopping_{name}"], lag) for name, lag in lags.items()}
    outcome = replay(statistics, agree=agree, min_iterations=least, patience=patience)
    stopping = result.summary["stopping"]
    assert outcome.iterations == result.summary["iterations"]
    assert outcome.picks == stopping["picks"]
    assert outcome.chosen == stopping["iteration"]
    assert outcome.settled == (patience < 90)


@pytest.mark.parametrize(("growing", "iterations"), [(False, 901 + 450), (True, 901 + 270)])
def test_the_memory_of_the_average_says_how_long_a_minimum_must_stand(growing: bool, iterations: int) -> None:
    curve = np.abs(np.arange(2000) - 900.0)
    outcome = replay({"rule": (curve, 0)}, agree=1, min_iterations=100, patience=None, growing=growing)
    assert (outcome.iterations, outcome.chosen) == (iterations, 900)


def test_without_a_value_there_is_no_pick() -> None:
    outcome = replay({"rule": (np.full(9, np.nan), 3)}, agree=1, min_iterations=0, patience=2)
    assert (outcome.iterations, outcome.settled, outcome.picks, outcome.chosen) == (9, False, {}, None)


class Diverges(pl.Callback):
    """Flags some iterations, as the guard does."""

    def __init__(self, at: np.ndarray) -> None:
        self.at = at

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, optimizer: object
    ) -> None:
        pl_module.iterate.diverged = torch.tensor(bool(self.at[pl_module.iterate.iteration]))


@pytest.mark.parametrize("seed", range(60))
def test_a_replay_ends_as_the_callback_does_on_any_statistics(seed: int) -> None:
    # Rules whose statistics are random walks, some judging the output, some not; others abstain; some outputs diverge.
    rng = np.random.default_rng(seed)
    count, abstaining = int(rng.integers(1, 4)), int(rng.integers(0, 2))
    curves = {f"r{i}": rng.normal(0, 1, 60).cumsum() for i in range(count)}
    follows = {name: bool(rng.integers(2)) for name in curves}
    agree, patience = int(rng.integers(1, count + abstaining + 1)), int(rng.integers(3, 12))
    rules: dict[str, StoppingRule] = {f"a{i}": Refusing([]) for i in range(abstaining)}
    rules |= {name: Scripted([float(v) for v in curve], follows[name]) for name, curve in curves.items()}
    bad = rng.random(60) < (0.3 if seed % 2 else 0)
    detection = Detection(rules, agree=agree, min_iterations=5, patience=patience)
    module = run(detection, 60, Diverges(bad), alpha=0.5)
    recorded = module.curves.block()
    lags = {name: 0 if follows[name] else lag_of(0.5) for name in curves}
    statistics = {name: (recorded[f"stopping_{name}"], lags[name]) for name in curves}
    outcome = replay(statistics, rules=len(rules), agree=agree, min_iterations=5, patience=patience)
    chosen = detection.chosen()
    assert (outcome.iterations, outcome.settled) == (module.curves.recorded, detection.ended_fit)
    assert outcome.picks == detection.picks()
    assert chosen is not None
    assert outcome.chosen == chosen[0]
    assert not bad[[*outcome.picks.values()]].any()


def test_where_every_rule_must_have_settled_none_ends_the_fit_alone_if_another_abstains() -> None:
    falling = [float(-i) for i in range(60)]
    rules = {"cannot": Refusing(V), "one": Scripted(V), "two": Scripted(falling)}
    for agree, length in ((3, 60), (2, 4 + 3 * 6 + 1)):
        detection = Detection(rules, agree=agree, min_iterations=0, patience=6)
        curves = run(detection, 60, select="one_pass").curves.block()
        statistics = {name: (curves[f"stopping_{name}"], 0) for name in ("one", "two")}
        outcome = replay(statistics, rules=3, agree=agree, min_iterations=0, patience=6)
        assert (outcome.iterations, outcome.settled) == (len(curves["stopping_one"]), detection.ended_fit)
        assert outcome.iterations == length
