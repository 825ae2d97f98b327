from collections.abc import Callable

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from dip_lightning import Prior, Problem
from dip_lightning.callbacks import OutputEMA, PeakPSNR
from dip_lightning.config.compose import compose_config
from dip_lightning.curves import Curves
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.fit import FitResult
from dip_lightning.module import DeepImagePrior
from dip_lightning.precision import Precision
from dip_lightning.priors import Perturbed
from dip_lightning.runs.peaks import find_peak
from tests.conftest import TINY_UNET
from tests.small import fit, network, picture


class Reference(pl.Callback):
    """Computes with torchmetrics what the callback computes by itself."""

    def __init__(self) -> None:
        self.curves: dict[str, list[float]] = {"psnr_one_pass": [], "psnr_averaged": [], "psnr_observation": []}

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, *args: object
    ) -> None:
        iterate = pl_module.iterate
        assert iterate.averaged is not None
        assert pl_module.problem.clean is not None
        for name, image, target in (
            ("psnr_one_pass", iterate.one_pass, pl_module.problem.clean),
            ("psnr_averaged", iterate.averaged, pl_module.problem.clean),
            ("psnr_observation", iterate.one_pass, pl_module.problem.observation),
        ):
            self.curves[name].append(float(peak_signal_noise_ratio(image, target, data_range=1.0)))


@pytest.mark.parametrize("model", ["unet", "resunet"])
def test_every_iteration_agrees_with_torchmetrics(model: str) -> None:
    cfg = compose_config([*TINY_UNET, f"model={model}", "iterations=20"])
    parts = build_fit(cfg, None, Precision("32-true"), {})
    reference = Reference()
    parts.trainer.callbacks.append(reference)  # type: ignore[attr-defined]
    parts.trainer.fit(parts.module)
    curves = parts.module.curves.block()
    for name, expected in reference.curves.items():
        assert len(expected) == 20
        np.testing.assert_allclose(curves[name], expected, atol=1e-4)
    measured = parts.find(PeakPSNR)
    assert measured is not None
    assert measured.peaks["averaged"] == find_peak(curves["psnr_averaged"])
    assert measured.peaks["one_pass"] == find_peak(curves["psnr_one_pass"])
    assert set(measured.peaks) == {"one_pass", "averaged", "eval"}


def test_evaluation_mode_is_measured_at_its_cadence_and_changes_nothing(tiny_fit: Callable[..., FitResult]) -> None:
    often = tiny_fit("iterations=7", "callbacks.peak_psnr.eval_every=3").curves
    never = tiny_fit("iterations=7", "callbacks.peak_psnr.eval_every=0").curves
    assert "psnr_eval" not in never
    measured = np.flatnonzero(np.isfinite(often["psnr_eval"]))
    assert measured.tolist() == [2, 5, 6]  # every third, and the last
    for name, curve in never.items():
        assert np.array_equal(curve, often[name]), name


def test_the_output_in_evaluation_mode_is_of_the_iteration_that_it_stands_beside() -> None:
    # Without dropout, batch statistics and perturbation both modes give the same output of the same weights.
    clean = picture()
    callbacks = [OutputEMA(), PeakPSNR(eval_every=3)]
    module = fit(Problem(clean, clean), Prior(network(), input_channels=4, policy=Perturbed(0)), callbacks)
    curves = module.curves.block()
    measured = np.isfinite(curves["psnr_eval"])
    assert np.flatnonzero(measured).tolist() == [2, 5, 7]
    np.testing.assert_allclose(curves["psnr_eval"][measured], curves["psnr_one_pass"][measured], rtol=1e-6)


def test_evaluation_mode_has_no_dropout_and_no_perturbation() -> None:
    cfg = compose_config([*TINY_UNET, "dropout=0.5"])
    parts = build_fit(cfg, None, Precision("32-true"), {})
    parts.trainer.fit(parts.module)
    assert torch.equal(parts.module.evaluate(), parts.module.evaluate())
    assert parts.module.prior.network.training


def test_without_a_clean_image_nothing_is_invented(tiny_fit: Callable[..., FitResult]) -> None:
    result = tiny_fit("degradation=none", "stopping=none")
    assert set(result.curves) == {"loss", "psnr_observation"}
    for key in ("psnr_observation", "one_pass", "averaged", "eval"):
        assert result.summary[key] is None
    assert result.summary["selected"]["psnr"] is None
    assert result.summary["stopping"]["gap_db"] is None


def test_the_curves_have_room_for_every_iteration_before_the_first() -> None:
    curves = Curves(100, torch.device("cpu"), torch.float32)
    curves.record("loss", 0, torch.tensor(1.0))
    memory = curves.value("loss", 0).untyped_storage().data_ptr()
    for iteration in range(1, 100):
        curves.record("loss", iteration, torch.tensor(1.0))
    assert curves.value("loss", 99).untyped_storage().data_ptr() == memory
