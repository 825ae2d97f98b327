"""Each corruption is what it says, is seeded, and stays in range."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dip_lightning.data import (
    DefaultNoise,
    Degradation,
    GaussianNoise,
    ImpulseNoise,
    JpegCompression,
    ShotNoise,
    SpeckleNoise,
)
from dip_lightning.errors import UserError

GREY = np.full((200, 300, 3), 0.5)
SEEDED: list[Callable[..., Degradation]] = [GaussianNoise, ShotNoise, ImpulseNoise, SpeckleNoise]


@pytest.mark.parametrize("kind", SEEDED)
def test_the_seed_decides_the_noise(kind: Callable[..., Degradation]) -> None:
    assert np.array_equal(kind(seed=1)(GREY), kind(seed=1)(GREY))
    assert not np.array_equal(kind(seed=1)(GREY), kind(seed=2)(GREY))


@pytest.mark.parametrize("kind", [*SEEDED, JpegCompression])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_result_has_the_shape_and_the_range_of_an_image(kind: Callable[..., Degradation], channels: int) -> None:
    clean = np.random.default_rng(0).random((24, 33, channels))
    noisy = kind()(clean)
    assert noisy.shape == clean.shape
    assert noisy.dtype == np.float64
    assert 0 <= noisy.min() <= noisy.max() <= 1
    assert not np.array_equal(noisy, clean)


def test_the_noise_of_a_seed_stays_what_it_is() -> None:
    # Results were measured with it: NumPy's generator, seeded with 0, on grey pixels.
    grey = np.full((1, 2, 1), 0.5)
    normal = np.array([0.12573022, -0.13210486])
    assert np.allclose(GaussianNoise(51)(grey).ravel(), 0.5 + 0.2 * normal)
    assert np.allclose(GaussianNoise(510, clip=False)(grey).ravel(), 0.5 + 2 * normal)
    assert np.allclose(SpeckleNoise(0.5)(grey).ravel(), 0.5 * (1 + 0.5 * normal))


def test_a_sample_picture_gets_the_noise_of_the_paper_unless_another_is_told() -> None:
    assert np.array_equal(DefaultNoise().choose(is_sample=True)(GREY), GaussianNoise(25)(GREY))
    told = DefaultNoise(40, seed=3, clip=False).choose(is_sample=False)
    assert np.array_equal(told(GREY), GaussianNoise(40, 3, clip=False)(GREY))


def test_gaussian_noise_is_as_strong_as_it_says_on_the_scale_to_255() -> None:
    # A million samples: the standard error of the deviation is 0.02.
    grey = np.full((1000, 1000, 1), 0.5)
    assert 255 * (GaussianNoise(25)(grey) - grey).std() == pytest.approx(25, abs=0.04)


def test_shot_noise_has_the_variance_of_counted_photons() -> None:
    # Of a Poisson count with mean 0.5 · 400, divided by 400.
    assert ShotNoise(peak=400)(GREY).std() == pytest.approx(np.sqrt(0.5 / 400), rel=0.01)
    assert ShotNoise(peak=400)(GREY).mean() == pytest.approx(0.5, abs=1e-3)


def test_impulse_noise_loses_the_share_of_pixels_that_was_asked_for_in_all_channels() -> None:
    noisy = ImpulseNoise(amount=0.2)(GREY)
    assert (noisy == 0).all(axis=2).mean() == pytest.approx(0.1, abs=0.005)
    assert (noisy == 1).all(axis=2).mean() == pytest.approx(0.1, abs=0.005)
    assert ((noisy == 0.5).all(axis=2) | (noisy == 0).all(axis=2) | (noisy == 1).all(axis=2)).all()


def test_speckle_grows_with_the_brightness() -> None:
    dark, bright = SpeckleNoise(0.1)(GREY * 0.2), SpeckleNoise(0.1)(GREY)
    assert dark.std() == pytest.approx(0.01, rel=0.02)
    assert bright.std() == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("bands", [2, 4])
def test_jpeg_compresses_bands_each_by_itself(bands: int) -> None:
    clean = np.random.default_rng(0).random((16, 24, bands))
    expected = [JpegCompression(50)(clean[:, :, [band]]) for band in range(bands)]
    assert np.array_equal(JpegCompression(50)(clean), np.concatenate(expected, axis=2))


def test_jpeg_is_worse_at_lower_quality() -> None:
    clean = np.random.default_rng(0).random((64, 64, 3))
    errors = [np.square(JpegCompression(quality)(clean) - clean).mean() for quality in (5, 40, 95)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_jpeg_compresses_the_nearest_of_256_levels() -> None:
    # A flat picture of an even or odd level survives the best quality as it is.
    for level, nearest in ((100.4, 100), (100.6, 101), (254.9, 255)):
        assert np.allclose(255 * JpegCompression(95)(np.full((16, 16, 1), level / 255)), nearest)


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        (ShotNoise, {"peak": 0}, "degradation.peak=0"),
        (ImpulseNoise, {"amount": 1.2}, "degradation.amount=1.2"),
        (ImpulseNoise, {"seed": -1}, "degradation.seed=-1"),
        (SpeckleNoise, {"strength": "much"}, "degradation.strength=much"),
        (JpegCompression, {"quality": 96}, "degradation.quality=96"),
    ],
)
def test_a_value_without_sense_is_refused(kind: Callable[..., Any], options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        kind(**options)


def test_jpeg_compresses_each_band_of_a_picture_that_is_no_colour_by_itself() -> None:
    rng = np.random.default_rng(0)
    bands = rng.uniform(0, 1, (16, 24, 5))
    compressed = JpegCompression(30)(bands)
    assert compressed.shape == bands.shape
    for band in range(5):
        assert np.array_equal(compressed[:, :, [band]], JpegCompression(30)(bands[:, :, [band]]))
    colour = bands[:, :, :3]  # whose channels share what JPEG keeps at half the resolution
    assert not np.array_equal(JpegCompression(30)(colour), compressed[:, :, :3])
