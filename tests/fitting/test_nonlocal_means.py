"""Non-local means in what is handed back: when, in which share, and that it is nearer to the clean image."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data

from dip_lightning.config.compose import compose_config
from dip_lightning.data.noise_model import NoiseModel
from dip_lightning.errors import UserError
from dip_lightning.metrics import psnr
from dip_lightning.stopping import HeldOut, Sure
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY_UNET
from tests.stopping.fake import FakeFit
from tests.stopping.test_risk import shared_noise

# Long enough for a fit to be about as good as the filter.
FIT = [*TINY_UNET, "image.crop=null", "lr=0.02", "alpha=0.8", "iterations=120"]


@pytest.fixture(scope="module")
def clean() -> NDArray[np.uint8]:
    return data.coffee()[120:184, 200:264]


@pytest.fixture(scope="module")
def photograph(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with noise that neighbours share."""
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 40, clean.shape), (1, 1, 0))
    return (clean + noise).clip(0, 255).round().astype(np.uint8)


def selected(*overrides: str, **pictures: Any) -> tuple[dict[str, Any], NDArray[np.float64]]:
    result = fit(compose_config([*FIT, *overrides]), **pictures)
    return dict(result.summary["selected"]), result.output


def test_what_neighbours_share_is_filtered_in_the_share_that_is_estimated(
    clean: NDArray[np.uint8], photograph: NDArray[np.uint8]
) -> None:
    alone, _ = selected("nonlocal_means=false", image=photograph, clean=clean)
    mixed, _ = selected(image=photograph, clean=clean)
    assert alone["nonlocal_means"] == 0
    assert 0 < mixed["nonlocal_means"] <= 1
    assert mixed["iteration"] == alone["iteration"]
    assert mixed["psnr"] > alone["psnr"]


def test_white_noise_is_filtered_only_when_asked(clean: NDArray[np.uint8]) -> None:
    noisy = (clean + np.random.default_rng(0).normal(0, 25, clean.shape)).clip(0, 255).round().astype(np.uint8)
    assert selected(image=noisy)[0]["nonlocal_means"] == 0
    assert selected("nonlocal_means=true", image=noisy)[0]["nonlocal_means"] > 0


def test_a_share_is_what_was_asked_for_and_needs_no_rule(photograph: NDArray[np.uint8]) -> None:
    outputs = {}
    for share in (0, 0.25, 1):
        told, outputs[share] = selected("stopping=none", f"nonlocal_means={share}", image=photograph)
        assert told["nonlocal_means"] == share
    assert np.allclose(outputs[0.25], 0.75 * outputs[0] + 0.25 * outputs[1], atol=1e-6)
    assert selected("stopping=none", image=photograph)[0]["nonlocal_means"] == 0  # nothing to weigh with


@pytest.mark.parametrize("value", ["maybe", "1.5", "-0.1", "[1]"])
def test_other_shares_are_refused(value: str, photograph: NDArray[np.uint8]) -> None:
    with pytest.raises(UserError, match="nonlocal_means"):
        selected(f"nonlocal_means={value}", image=photograph)


@pytest.mark.slow
def test_tiles_are_filtered_in_the_share_of_those_that_choose_the_iteration(photograph: NDArray[np.uint8]) -> None:
    wide = np.tile(photograph, (1, 2, 1))
    told, _ = selected("tile=64", "overlap=16", image=wide)
    assert 0 < told["nonlocal_means"] <= 1


@pytest.mark.parametrize("noise", [None, shared_noise(level=20)])
def test_the_share_is_that_of_the_least_error(clean: NDArray[np.uint8], noise: NoiseModel | None) -> None:
    truth = torch.from_numpy(clean / 255).permute(2, 0, 1)[None].float()
    drawn = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)) * 20 / 255
    drawn = drawn if noise is None else noise.draw(tuple(truth.shape), torch.Generator().manual_seed(1))
    fake = FakeFit(truth + drawn, sigma=20, noise=noise)
    holdout, rule = HeldOut(fraction=0.1), Sure(alpha=1)
    used = fake.prepare(holdout).used
    target = fake.prepare(rule).target
    assert used is not None
    assert target is not None
    fine, coarse = (
        torch.from_numpy(gaussian_filter(target.numpy(), (0, 0, width, width))).float() for width in (0.7, 2.5)
    )
    share, risk = rule.share(fine, coarse, torch.ones_like(used))
    errors = [float((torch.lerp(coarse, fine, w) - truth).square().mean()) for w in np.linspace(0, 1, 101)]
    assert errors[round(100 * share)] < 1.05 * min(errors)
    assert risk == pytest.approx(errors[round(100 * share)], rel=0.3)
    assert psnr(torch.lerp(coarse, fine, share), truth) > max(psnr(fine, truth), psnr(coarse, truth))


def test_grey_pictures_are_filtered_too(photograph: NDArray[np.uint8]) -> None:
    told, output = selected("stopping=none", "nonlocal_means=1", image=photograph[:, :, 0])
    assert told["nonlocal_means"] == 1
    assert output.shape == (64, 64, 1)
