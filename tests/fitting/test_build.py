"""What a fit is built of: what was read, and what the configuration says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dip_lightning.callbacks import Detection
from dip_lightning.config.build import build_factory
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.build import build_fit
from dip_lightning.fitting.defaults import suited_network
from dip_lightning.fitting.resume_check import resumable
from dip_lightning.precision import Precision
from dip_lightning.stopping import WindowedVariance
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY_UNET


def test_sure_reckons_with_the_noise_that_clipping_left() -> None:
    settings = ["image.path=skimage:coffee", "degradation.sigma=100", "stopping=sure", "stopping.rules.sure.alpha=1"]
    fit = build_fit(compose_config([*TINY_UNET, *settings, "iterations=1"]), None, Precision("32-true"), {})
    noise = fit.data.observation.noisy - fit.data.observation.clean
    left = 255 * float(noise.square().mean().sqrt())
    fit.trainer.fit(fit.module)
    problem = fit.module.fitted_problem
    assert problem.target is not None
    assert left < 80
    # 3,072 samples: the standard error of the deviation is 1.3 %.
    assert 255 * float((problem.target - problem.observation).std()) == pytest.approx(left, rel=0.06)


@pytest.mark.parametrize(("name", "weight"), [("adam", 1.9), ("adamw", 1.8)])
def test_adam_pulls_by_the_gradient_and_adamw_by_the_weights(name: str, weight: float) -> None:
    cfg = compose_config([f"optimizer={name}", "optimizer.weight_decay=1", "lr=0.1"])
    parameter = torch.nn.Parameter(torch.full((1,), 2.0))
    parameter.grad = torch.zeros(1)
    # Adam's first step is the learning rate, whatever the gradient; a pull of AdamW is the share that it says.
    build_factory(cfg.optimizer, torch.optim.Optimizer)([parameter]).step()
    assert float(parameter.detach()) == pytest.approx(weight)


@pytest.mark.parametrize(("device", "channels"), [("cpu", 32), ("cuda", 128), ("mps", 128)])
def test_the_default_network_is_as_wide_as_suits_the_device(device: str, channels: int) -> None:
    cfg = compose_config([])
    assert suited_network(cfg, torch.device(device), 16).model.channels == channels
    assert cfg.model.channels is None
    for said in ("model=unet", "model=resunet"):
        own = compose_config([said])
        assert suited_network(own, torch.device(device), 16).model == own.model
    said_so = suited_network(compose_config(["model.channels=7"]), torch.device(device), 16).model
    assert (said_so.channels, said_so.skip_channels) == (7, 16)


def test_the_width_that_was_chosen_stands_in_the_record() -> None:
    result = fit(compose_config(["trainer=cpu", "image.crop=32", "iterations=2", "callbacks.fit_progress=null"]))
    assert result.summary["num_parameters"] == 152199


@pytest.mark.slow
def test_skips_are_wider_with_holes_and_little_noise_and_such_a_fit_goes_on(tmp_path: Path) -> None:
    mask = np.full((512, 512), 255, np.uint8)
    mask[::2] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    small = ["trainer=cpu", "image.crop=32", "model.channels=8", "model.levels=2", "callbacks.fit_progress=null"]
    holed = [*small, "problem=inpaint", f"problem.mask={tmp_path / 'mask.png'}", "iterations=3"]
    quiet = [*holed, "degradation=gaussian", "degradation.sigma=2"]

    def skips(*overrides: str) -> object:
        fit = build_fit(compose_config([*overrides]), None, Precision("32-true"), {})
        return fit.settings.resolved["model"]["skip_channels"]

    assert (skips(*small), skips(*holed, "degradation.sigma=25"), skips(*quiet)) == (4, 4, 16)
    assert skips(*quiet, "model.skip_channels=3") == 3
    assert skips(*quiet, "model=narrow") == 4
    fit(compose_config(quiet), tmp_path / "run")
    longer = compose_config([*quiet, "iterations=5"])
    checkpoint = resumable(tmp_path / "run", longer)
    assert checkpoint is not None
    assert fit(longer, tmp_path / "run", resume=checkpoint).summary["iterations"] == 5
    assert resumable(tmp_path / "run", compose_config([*quiet, "iterations=9", "model.skip_channels=3"])) is None


@pytest.mark.parametrize(
    ("settings", "betas"),
    [
        ([], [0.9, 0.9]),
        (["degradation=shot"], [0.9, 0.9]),
        (["optimizer=adam"], [0.9, 0.999]),
        (["optimizer.betas=[0.8,0.9]"], [0.8, 0.9]),
        (["degradation=impulse"], [0.9, 0.999]),  # by its absolute error
        (["problem=downsample"], [0.9, 0.999]),
        (["problem=dejpeg", "degradation=jpeg"], [0.9, 0.9]),
        (["problem=super_resolution", "degradation=none"], [0.9, 0.9]),
        (["problem=super_resolution", "degradation.sigma=25"], [0.9, 0.999]),
        (["experiment=ulyanov_kate", "problem=denoise", "model.skip_channels=2", "iterations=2"], [0.9, 0.999]),
        (["optimizer=sgd"], None),
        (["optimizer=soap"], [0.95, 0.95]),
    ],
)
def test_adam_forgets_as_suits_the_problem(settings: list[str], betas: list[float] | None) -> None:
    result = fit(compose_config([*settings, *TINY_UNET, "iterations=2"]))
    assert result.summary["betas"] == betas


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        ([], 50),
        (["stopping=wmv"], 50),
        (["optimizer=soap"], 50),
        (["optimizer=adam"], 100),
        (["optimizer=adam", "optimizer.betas=[0.9,0.9]"], 50),
        (["optimizer=sgd"], 100),
        (["problem=downsample"], 100),
        (["stopping.rules.wmv.window=7"], 7),
    ],
)
def test_the_variance_is_taken_over_half_as_many_outputs_where_adam_forgets_sooner(
    settings: list[str], window: int
) -> None:
    built = build_fit(compose_config([*settings, *TINY_UNET]), None, Precision("32-true"), {})
    detection = built.find(Detection)
    assert detection is not None
    rule = detection.rules["wmv"]
    assert isinstance(rule, WindowedVariance)
    assert rule.window == window


def test_adam_forgets_as_in_the_paper_where_neighbours_share_the_noise(tmp_path: Path) -> None:
    around = np.zeros((7, 7))
    around[3, 2:5] = 0.5, 1, 0.5
    np.save(tmp_path / "noise.npy", around)
    cfg = compose_config([*TINY_UNET, "iterations=2", f"problem.noise={tmp_path / 'noise.npy'}"])
    assert fit(cfg).summary["betas"] == [0.9, 0.999]
