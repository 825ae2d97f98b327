"""The replay does on curves what the callback does in a fit."""

from collections.abc import Callable

import numpy as np
import pytest

from dip_lightning.fit import FitResult
from dip_lightning.stopping import lag_of
from dip_lightning.stopping.replay import replay


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


def test_without_a_value_there_is_no_pick() -> None:
    outcome = replay({"rule": (np.full(9, np.nan), 3)}, agree=1, min_iterations=0, patience=2)
    assert (outcome.iterations, outcome.settled, outcome.picks, outcome.chosen) == (9, False, {}, None)
