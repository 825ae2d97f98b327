"""The estimate of the noise from the observation alone, and noise that is drawn from it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter
from skimage import data

from dip_lightning.data.flat_blocks import read_spectrum
from dip_lightning.data.noise_level import estimate_noise
from dip_lightning.data.noise_model import NoiseModel, estimate_model, white_noise


@pytest.fixture(scope="module")
def clean() -> NDArray[np.float64]:
    return data.coffee()[40:296, 150:406].astype(np.float64) / 255


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _demosaiced(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """What bilinear demosaicing (RGGB) makes of white noise (H, W): (H, W, 3)."""
    red, blue = np.zeros_like(noise), np.zeros_like(noise)
    red[::2, ::2], blue[1::2, 1::2] = 1, 1
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    masks = ((red, square), (1 - red - blue, cross), (blue, square))
    return np.stack([convolve(noise * mask, kernel, mode="mirror") for mask, kernel in masks], axis=2)


def _correlations(noise: NDArray[np.float64]) -> tuple[float, float]:
    """Of neighbours across and down."""
    variance = (noise**2).mean()
    return (noise[:, 1:] * noise[:, :-1]).mean() / variance, (noise[1:] * noise[:-1]).mean() / variance


def test_white_noise_is_estimated_as_before(clean: NDArray[np.float64]) -> None:
    noisy = clean + _rng().normal(0, 25 / 255, clean.shape)
    model = estimate_model(noisy)
    assert model.is_white
    assert model.level == estimate_noise(noisy)
    assert (model.reach, model.neighbours) == (0, 0)
    assert model.describe() == f"noise: {model.level:.1f} of 255"


def test_noise_of_a_demosaiced_picture_is_found_where_wavelets_miss_it(clean: NDArray[np.float64]) -> None:
    noise = _demosaiced(_rng().normal(0, 12 / 255, clean.shape[:2]))
    noisy = np.round(np.clip(clean + noise, 0, 1) * 255) / 255
    model = estimate_model(noisy)
    across, down = _correlations(noise)
    assert estimate_noise(noisy) < 0.5 * 255 * noise.std()
    assert model.level == pytest.approx(255 * noise.std(), rel=0.15)
    assert model.across == pytest.approx(across, abs=0.1)
    assert model.down == pytest.approx(down, abs=0.1)
    assert 1 <= model.reach <= 3
    assert model.describe().endswith(f"neighbours share {model.neighbours:.1f} of it: a developed photograph")


def test_what_colours_share_is_found(clean: NDArray[np.float64]) -> None:
    common = _demosaiced(_rng().normal(0, 10 / 255, clean.shape[:2]))[:, :, [1]]
    noise = common + 0.3 * _demosaiced(_rng(1).normal(0, 10 / 255, clean.shape[:2]))
    model = estimate_model(np.clip(clean + noise, 0, 1))
    true = np.corrcoef(noise.reshape(-1, 3).T)
    assert model.colors == pytest.approx(true, abs=0.15)


def test_noise_that_grows_with_brightness() -> None:
    ramp = np.linspace(0.1, 0.9, 256)[None, :, None].repeat(256, 0).repeat(3, 2)
    white = _demosaiced(_rng().normal(0, 1, (256, 256)))
    white /= white.std()
    noise = white * np.sqrt(0.0002 + 0.002 * ramp)
    model = estimate_model(ramp + noise)
    assert model.level == pytest.approx(255 * noise.std(), rel=0.15)
    assert model.slope == pytest.approx(0.002, rel=0.3)


def test_dark_ends_of_the_range_do_not_hide_the_noise() -> None:
    clean = np.full((128, 128, 3), 0.5)
    clean[:, :50] = 0.002
    noise = _demosaiced(_rng().normal(0, 10 / 255, (128, 128)))
    model = estimate_model(np.clip(clean + noise, 0, 1))
    assert model.level == pytest.approx(255 * noise.std(), rel=0.15)


def test_a_small_or_empty_picture_has_a_model() -> None:
    assert estimate_model(np.full((8, 8, 1), 0.5)).level == 0
    assert estimate_model(np.full((64, 64, 3), 0.5)).level == 0
    assert np.isfinite(read_spectrum(np.full((32, 32, 3), 0.5)).variance).all()
    assert estimate_model(_rng().random((40, 33, 2))).sigma[1] > 0


def test_drawn_noise_has_the_covariance_that_it_is_drawn_with(clean: NDArray[np.float64]) -> None:
    noisy = clean + _demosaiced(_rng().normal(0, 12 / 255, clean.shape[:2]))
    model = estimate_model(noisy)
    drawn = model.draw((1, 3, 256, 200), torch.Generator().manual_seed(0))
    assert drawn.shape == (1, 3, 256, 200)
    samples = drawn[0].permute(1, 2, 0).double().numpy()
    across, down = _correlations(samples)
    assert 255 * samples.std((0, 1)) == pytest.approx(model.sigma, rel=0.05)
    assert across == pytest.approx(model.across, abs=0.05)
    assert down == pytest.approx(model.down, abs=0.05)
    assert np.corrcoef(samples.reshape(-1, 3).T) == pytest.approx(model.colors, abs=0.05)
    # Nothing comes in on the other side.
    opposite = (samples[0] * samples[-1]).mean() / (samples**2).mean()
    assert abs(opposite) < 0.3 * model.down


def test_white_noise_is_drawn_number_by_number() -> None:
    drawn = white_noise(25.0, 3, "given").draw((1, 3, 16, 16), torch.Generator().manual_seed(3))
    assert torch.equal(drawn, torch.randn((1, 3, 16, 16), generator=torch.Generator().manual_seed(3)) * (25.0 / 255))


def test_another_level_keeps_what_is_shared(clean: NDArray[np.float64]) -> None:
    model = estimate_model(clean + _demosaiced(_rng().normal(0, 12 / 255, clean.shape[:2])))
    louder = model.with_level(20.0, "given")
    assert louder.level == pytest.approx(20)
    assert (louder.across, louder.reach, louder.source) == (model.across, model.reach, "given")
    assert louder.intercept + louder.slope * 0.5 == pytest.approx(
        (model.intercept + model.slope * 0.5) * (20 / model.level) ** 2
    )
    assert NoiseModel((0.0,), 0, 0, np.ones((1, 1)), np.eye(1), "estimated").with_level(5, "given").sigma == (5,)


def test_a_smooth_picture_with_lost_pixels_is_not_taken_for_noise() -> None:
    generator = np.random.default_rng(0)
    clean = gaussian_filter(generator.random((32, 32)), 3, mode="wrap")
    clean = 0.2 + 0.6 * (clean - clean.min()) / np.ptp(clean)
    clean[generator.random(clean.shape) < 0.01] = 1
    model = estimate_model(clean[..., None])
    assert model.is_white
    assert model.level < 1
