"""How long a fit still takes, as likely and at most."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_optimizer import SOAP

from dip_lightning import Problem
from dip_lightning.callbacks import Detection, FitProgress
from dip_lightning.callbacks import fit_progress as module
from dip_lightning.callbacks.time_left import TimeLeft
from dip_lightning.stopping import WindowedVariance
from tests.small import fit, picture


def left_of(
    sigma: float | None, iterations: int, stops: bool = True, side: int = 128, optimizers: Sequence[object] = ()
) -> TimeLeft:
    callbacks = [Detection({"wmv": WindowedVariance(window=10)})] if stops else []
    trainer: Any = SimpleNamespace(callbacks=callbacks, num_training_batches=iterations - 10, optimizers=optimizers)
    fitted: Any = SimpleNamespace(problem=SimpleNamespace(sigma=sigma, shape=(3, side, side)), first_iteration=10)
    return TimeLeft.of(trainer, fitted)


def test_a_fit_that_stops_by_itself_is_expected_to_do_so() -> None:
    assert left_of(25, 5000) == TimeLeft(750, 5000)
    assert left_of(50, 3000) == TimeLeft(450, 3000)
    assert left_of(25, 500) == TimeLeft(500, 500)
    soap = SOAP([torch.nn.Parameter(torch.ones(2))])
    assert left_of(25, 5000, optimizers=[soap]) == TimeLeft(375, 5000)
    # The iterations that were measured, a little more or less: docs/results/width.md.
    assert left_of(25, 5000, side=256).likely == pytest.approx(2600, rel=0.15)
    assert left_of(25, 5000, side=512).likely == pytest.approx(3745, rel=0.15)
    assert left_of(25, 5000, side=16).likely == 500
    assert left_of(25, 5000, side=4000).likely == 4500
    assert left_of(25, 5000, stops=False) == left_of(None, 5000) == TimeLeft(5000, 5000)


def test_both_are_told_until_the_likely_end_is_past() -> None:
    left = TimeLeft(1550, 5000)
    assert left.describe(50, 10) == "likely 2 min, at most 8 min left"
    assert left.describe(1600, 10) == "6 min left"
    assert TimeLeft(100, 100).describe(20, 2) == "40 s left"


@pytest.mark.slow
def test_after_twenty_iterations_the_time_is_told_and_what_would_be_faster(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(sigma: float | None) -> str:
        rules = Detection({"wmv": WindowedVariance(window=10)}, min_iterations=10, patience=5000)
        progress = FitProgress(line_every=1e6)
        shown = {"enable_progress_bar": True}
        fit(Problem(picture(), sigma=sigma), callbacks=[rules, progress], iterations=1600, trainer=shown)
        return capsys.readouterr().err

    first = told(25)
    assert "likely" in first
    assert "at most" in first
    assert "faster" not in first
    assert " left" not in told(None)  # when it stops nobody knows, and it is short
    monkeypatch.setattr(module, "_LONG", 1e-9)
    faster = (
        "faster: fewer iterations, optimizer=soap; half the resolution, model=leanunet; a part, image.crop=8; "
        "a smaller copy, image.size=8; a GPU"
    )
    assert faster in told(25)
    assert faster in told(None)
