"""Fits give the numbers of an independent rendering of the papers, in float64 to 1e-9."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dip_lightning import DeepImagePrior, Prior, Problem, select
from dip_lightning.callbacks import Detection, OutputEMA, PeakPSNR
from dip_lightning.config.compose import compose_config
from dip_lightning.models import ResNet, ResUNet, UNet
from dip_lightning.priors import Perturbed
from dip_lightning.stopping import MovingVariance, WindowedVariance
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY
from tests.reference import deep_image_prior as reference
from tests.small import fit as small_fit
from tests.small import picture

ITERATIONS, WINDOW, PATIENCE = 30, 4, 5
NETWORKS = {
    "unet": (
        lambda: UNet(input_channels=5, channels=8, levels=3),
        lambda: reference.UNet(5, 3, 8, 4, 3, residual=False),
    ),
    "resunet": (
        lambda: ResUNet(input_channels=5, channels=8, levels=3, dropout=0.0),
        lambda: reference.UNet(5, 3, 8, 8, 3, residual=True),
    ),
    "resnet": (
        lambda: ResNet(input_channels=5, channels=8, num_blocks=2),
        lambda: reference.ResNet(5, 3, 8, 2),
    ),
}


class Recorder(pl.Callback):
    """Keeps the outputs of each iteration, and the weights before the first."""

    def __init__(self) -> None:
        self.one_pass: list[Tensor] = []
        self.averaged: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: DeepImagePrior) -> None:  # type: ignore[override]
        self.weights = [parameter.detach().clone() for parameter in pl_module.prior.network.parameters()]
        self.z, self.observation = pl_module.prior.z.clone(), pl_module.problem.observation.clone()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: DeepImagePrior, *args: object
    ) -> None:
        assert pl_module.iterate.averaged is not None
        self.one_pass.append(pl_module.iterate.one_pass.clone())
        self.averaged.append(pl_module.iterate.averaged.clone())


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the network was given in each iteration, its noise included."""
    seen: list[Tensor] = []
    draw = Perturbed.forward

    def record(self: Perturbed, *arguments: Any) -> Tensor:
        seen.append(draw(self, *arguments).clone())
        return seen[-1]

    monkeypatch.setattr(Perturbed, "forward", record)
    return seen


def with_weights(network: nn.Module, weights: list[Tensor]) -> nn.Module:
    """Copy weights by their order."""
    network = network.double()
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), weights, strict=True):
            assert parameter.shape == values.shape
            parameter.copy_(values)
    return network


def same(ours: object, theirs: object) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 1 / 30])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fit_gives_the_numbers_of_the_papers(name: str, noise: float, inputs: list[Tensor]) -> None:
    ours, theirs = NETWORKS[name]
    torch.manual_seed(3)
    # Sides that are no multiples of 8, so that what was doubled is cut.
    clean = picture(height=18, width=29)
    noisy = (clean + 0.1 * torch.randn(clean.shape)).clamp(0, 1)
    recorder = Recorder()
    # The window's variance is followed to its end: a rule with patience ends the fit below.
    detection = Detection(
        {"wmv": WindowedVariance(WINDOW), "emv": MovingVariance(0.2)}, agree=2, min_iterations=0, patience=ITERATIONS
    )
    module = small_fit(
        Problem(noisy, clean),
        Prior(ours(), policy=Perturbed(noise)),
        [OutputEMA(), PeakPSNR(0), detection, recorder],
        ITERATIONS,
        trainer={"precision": "64-true"},
        select="one_pass",
    )
    if noise == 0:
        same(inputs, [recorder.z] * ITERATIONS)
    expected = reference.fit(with_weights(theirs(), recorder.weights), inputs, noisy.double())
    curves = module.curves.block()
    same(torch.stack(recorder.one_pass), torch.stack(expected.one_pass))
    same(torch.stack(recorder.averaged), torch.stack(expected.averaged))
    same(curves["loss"], expected.loss)
    same(curves["psnr_one_pass"], [reference.psnr(image, clean.double()) for image in expected.one_pass])
    same(curves["psnr_averaged"], [reference.psnr(image, clean.double()) for image in expected.averaged])
    same(curves["psnr_observation"], [reference.psnr(image, noisy.double()) for image in expected.one_pass])
    windowed = reference.windowed_moving_variance(expected.one_pass, WINDOW)
    same(curves["stopping_wmv"], [np.nan if value is None else value for value in windowed])
    exponential = reference.exponential_moving_variance(expected.one_pass, 0.2)
    begun = np.isfinite(curves["stopping_emv"])
    assert begun.sum() == ITERATIONS - 5  # the first 1/α still remember the start
    same(curves["stopping_emv"][begun], np.array(exponential)[begun])
    assert detection.picks()["wmv"] == reference.early_stop(windowed, ITERATIONS)[0]
    assert detection.picks()["emv"] == int(np.where(begun, exponential, np.inf).argmin())


@pytest.mark.parametrize("lagged", [False, True])
def test_es_wmv_ends_the_fit_and_picks_as_the_paper_says(lagged: bool, inputs: list[Tensor]) -> None:
    clean = picture(height=16, width=16)
    recorder, alpha = Recorder(), 0.5
    detection = Detection({"wmv": WindowedVariance(WINDOW)}, min_iterations=0, patience=PATIENCE)
    module = small_fit(
        Problem(clean),
        Prior(UNet(input_channels=5, channels=8, levels=2)),
        [OutputEMA(alpha), detection, recorder],
        200,
        trainer={"precision": "64-true"},
        select="averaged" if lagged else "one_pass",
    )
    network = reference.UNet(5, 3, 8, 4, 2, residual=False)
    expected = reference.fit(with_weights(network, recorder.weights), inputs, clean.double(), alpha=alpha)
    variances = reference.windowed_moving_variance(expected.one_pass, WINDOW)
    detected, told_at = reference.early_stop(variances, PATIENCE)
    assert told_at < 199
    assert module.curves.recorded == told_at + 1
    # The averaged output trails the one-pass output by 2/(1 - α) iterations.
    picked = detected + 4 if lagged else detected
    chosen = select(module)
    assert chosen.iteration == picked
    same(chosen.image, (expected.handed_back if lagged else expected.one_pass)[picked])


def test_a_fit_of_the_command_line_gives_them_too(inputs: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, begin = Recorder(), DeepImagePrior.on_train_start

    def record(self: DeepImagePrior) -> None:
        begin(self)
        recorder.on_train_start(self.trainer, self)

    monkeypatch.setattr(DeepImagePrior, "on_train_start", record)
    settings = ["model=unet", "model.levels=2", "optimizer=adam", "precision=fp64", "stopping=none"]
    result = fit(compose_config([*TINY, *settings, f"iterations={ITERATIONS}"]))
    network = with_weights(reference.UNet(4, 3, 8, 4, 2, residual=False), recorder.weights)
    expected = reference.fit(network, inputs, recorder.observation)
    same(result.curves["loss"], expected.loss)
    same(result.output, expected.handed_back[-1][0].permute(1, 2, 0))
