"""The rule for studies: the fit ends behind its peak, which is handed back."""

from collections.abc import Callable

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from dip_lightning.callbacks import DivergenceGuard, PastPeak
from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.fit import FitResult
from dip_lightning.module import DeepImagePrior
from dip_lightning.precision import Precision
from tests.conftest import TINY_UNET

SETTINGS = (
    "stopping=past_peak",
    "stopping.min_iterations=5",
    "lr=0.1",
    "alpha=0.5",
    "iterations=300",
    "stopping.patience=1",
)


@pytest.mark.parametrize(("drop", "patience"), [(0.3, 1), (1.0, 1), (0.3, 25)])
def test_a_fit_ends_when_it_has_fallen_below_its_peak_and_hands_the_peak_back(
    tiny_fit: Callable[..., FitResult], drop: float, patience: int
) -> None:
    result = tiny_fit(*SETTINGS, f"stopping.drop_db={drop}", f"stopping.patience={patience}")
    curve, stopping = result.curves["psnr_averaged"][5:], result.summary["stopping"]
    peak = int(np.argmax(curve))
    assert len(curve) < 295
    below = np.maximum.accumulate(curve) - curve > drop + 1e-5
    assert np.all(below[-patience:])  # where it stayed
    assert not any(np.all(below[end - patience : end]) for end in range(patience, len(curve)))  # and not before
    assert stopping["rule"] == "past_peak"
    assert "stopping rules" not in str(result.summary["remarks"])  # it does not doubt what it handed back
    assert stopping["iteration"] == peak + 5
    assert stopping["psnr"] == pytest.approx(float(curve[peak]), abs=0.01)  # of the file, which is rounded


def test_without_a_clean_picture_it_says_what_it_needs(tiny_fit: Callable[..., FitResult]) -> None:
    with pytest.raises(UserError, match=r"past_peak without image\.clean: .* rule for studies; try stopping=vote"):
        tiny_fit(*SETTINGS, "degradation=none")


def test_an_output_that_has_left_its_course_is_no_fall_below_the_peak(tiny_fit: Callable[..., FitResult]) -> None:
    class Explodes(pl.Callback):
        @torch.no_grad()
        def on_train_batch_end(  # type: ignore[override]
            self, trainer: pl.Trainer, pl_module: DeepImagePrior, outputs: object, batch: object, batch_idx: int
        ) -> None:
            if batch_idx == 30:  # nothing but white comes out, until the weights are restored
                list(pl_module.prior.network.parameters())[-1].fill_(1e4)

    cfg = compose_config([*TINY_UNET, *SETTINGS, "select=one_pass", "lr=0.01", "stopping.drop_db=5", "iterations=40"])
    parts = build_fit(cfg, None, Precision("32-true"), {})
    parts.trainer.callbacks.append(Explodes())  # type: ignore[attr-defined]
    parts.trainer.fit(parts.module)
    guard, detection = parts.find(DivergenceGuard), parts.find(PastPeak)
    assert guard is not None
    assert detection is not None
    assert guard.restored_at == [31]
    assert not detection.ended_fit
    assert np.isnan(parts.module.curves.block()["stopping_past_peak"][31])
