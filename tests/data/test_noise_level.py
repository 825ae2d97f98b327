"""The estimate of σ, on pictures whose noise is known."""

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter
from skimage.restoration import estimate_sigma

from dip_lightning.data import (
    GaussianNoise,
    ImageSource,
    ImpulseNoise,
    JpegCompression,
    NoDegradation,
    ShotNoise,
    SpeckleNoise,
    load_observation,
)
from dip_lightning.data.noise_level import clipped_noise, estimate_noise, is_correlated, iterations_for
from dip_lightning.errors import UserError


@pytest.mark.parametrize("sigma", [5, 15, 25])
@pytest.mark.parametrize("sample", ["chelsea", "moon", "brick"])
def test_the_estimate_is_within_a_fifth(sample: str, sigma: float) -> None:
    clean = np.atleast_3d(getattr(skimage.data, sample)()) / 255
    assert estimate_noise(GaussianNoise(sigma)(clean)) == pytest.approx(sigma, rel=0.2)


def test_one_odd_channel_does_not_move_the_estimate() -> None:
    noisy = GaussianNoise(20)(skimage.data.chelsea() / 255)
    odd = noisy.copy()
    odd[..., 2] = np.random.default_rng(0).random(odd.shape[:2])
    assert estimate_noise(odd) == pytest.approx(estimate_noise(noisy), rel=0.05)


@pytest.mark.parametrize("sigma", [15, 50])
@pytest.mark.parametrize("sample", ["coffee", "camera", "chelsea"])
def test_what_clipping_leaves_of_the_noise_is_told_from_the_noisy_picture(sample: str, sigma: float) -> None:
    clean = np.atleast_3d(getattr(skimage.data, sample)())[120:216, 250:346] / 255
    noisy = GaussianNoise(sigma)(clean)
    left = 255 * np.sqrt(np.square(noisy - clean).mean())
    assert clipped_noise(noisy, sigma) == pytest.approx(left, rel=0.05)
    observation = load_observation((clean * 255).astype(np.uint8), GaussianNoise(sigma))
    assert observation.sigma_in_force == pytest.approx(left, rel=0.05)
    assert observation.sigma == sigma
    unclipped = load_observation((clean * 255).astype(np.uint8), GaussianNoise(sigma, clip=False))
    assert unclipped.sigma_in_force == sigma


def test_noise_is_told_on_the_scale_to_255() -> None:
    noisy = GaussianNoise(20)(skimage.data.chelsea() / 255)
    # What the library says of the same picture on that scale.
    expected = np.median(estimate_sigma(255 * noisy, channel_axis=-1))
    assert estimate_noise(noisy) == pytest.approx(float(expected), rel=1e-9)
    assert clipped_noise(np.full((512, 512, 3), 0.5), 20) == pytest.approx(20, rel=0.002)


@pytest.mark.parametrize(("level", "left"), [(0.5, 10), (0.0, 10 / np.sqrt(2)), (1.0, 10 / np.sqrt(2))])
def test_what_clipping_leaves_is_computed_and_not_drawn(level: float, left: float) -> None:
    # Of noise on black or white half is clipped; in the middle, at twelve standard deviations, none.
    assert clipped_noise(np.full((8, 8, 1), level), 10) == pytest.approx(left, rel=1e-12)
    assert clipped_noise(np.full((8, 8, 1), level), 0) == 0


@pytest.mark.parametrize("level", [0.02, 0.1, 0.7, 0.97])
def test_what_clipping_leaves_is_that_of_noise_that_is_drawn(level: float) -> None:
    noise = np.random.default_rng(3).normal(0, 50 / 255, 1_000_000)
    drawn = 255 * np.sqrt(np.square(np.clip(level + noise, 0, 1) - level).mean())
    assert clipped_noise(np.full((8, 8, 1), level), 50) == pytest.approx(drawn, rel=0.004)  # 0.07% a standard error


def test_of_a_strength_that_is_given_clipping_leaves_less_where_the_picture_was_clipped() -> None:
    clean = np.atleast_3d(skimage.data.coffee())[120:216, 250:346] / 255  # dark
    picture = (GaussianNoise(25)(clean) * 255).round().astype(np.uint8)
    left = 255 * np.sqrt(np.square(picture / 255 - clean).mean())
    assert left < 23
    given = load_observation(picture, NoDegradation(), sigma=25)
    assert given.sigma == 25
    assert given.sigma_in_force == pytest.approx(left, rel=0.03)
    inside = (GaussianNoise(10)(0.4 + 0.2 * clean) * 255).round().astype(np.uint8)
    assert 0 < inside.min() <= inside.max() < 255
    assert load_observation(inside, NoDegradation(), sigma=10).sigma_in_force == 10
    # What is estimated is told from what is left already.
    estimated = load_observation(picture, NoDegradation())
    assert estimated.sigma_in_force == estimated.sigma == estimated.sigma_estimated


def test_without_noise_there_is_next_to_none() -> None:
    assert estimate_noise(np.full((64, 64, 3), 0.3)) == pytest.approx(0)
    assert estimate_noise(np.zeros((64, 64, 3))) == 0
    assert estimate_noise(np.zeros((4, 4, 1))) == 0


def test_sigma_is_given_or_added_or_estimated() -> None:
    picture = (GaussianNoise(30)(skimage.data.chelsea() / 255) * 255).round().astype(np.uint8)
    given = load_observation(picture, NoDegradation(), sigma=12)
    assert (given.sigma, given.sigma_source) == (12, "given")
    added = load_observation(picture, GaussianNoise(40))
    assert (added.sigma, added.sigma_source) == (40, "added")
    estimated = load_observation(picture, NoDegradation())
    assert estimated.sigma == pytest.approx(30, rel=0.1)
    assert estimated.sigma_source == "estimated"
    assert load_observation(picture, ShotNoise()).sigma_source == "estimated"
    with pytest.raises(UserError, match=r"image\.sigma=-1"):
        load_observation(picture, NoDegradation(), sigma=-1)


def test_the_cap_follows_the_noise_unless_it_is_given() -> None:
    assert [iterations_for(sigma) for sigma in (0, 5, 15, 25, 50, 100)] == [10_000, 10_000, 8300, 5000, 3000, 3000]
    assert [iterations_for(sigma, shared=True) for sigma in (5, 25, 100)] == [2500, 2500, 2500]
    noise = GaussianNoise(50)
    assert ImageSource("skimage:camera", noise, iterations=None, crop=32).iterations == 3000
    assert ImageSource("skimage:camera", noise, iterations=7, crop=32).iterations == 7


@pytest.mark.parametrize("sample", ["astronaut", "coffee", "chelsea"])
def test_noise_that_neighbours_share_is_told_from_white_noise(sample: str) -> None:
    clean = getattr(skimage.data, sample)()[100:260, 100:260] / 255
    white = [GaussianNoise(15), GaussianNoise(50), ShotNoise(), ImpulseNoise(), SpeckleNoise()]
    assert not any(is_correlated(noise(clean)) for noise in white)
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 0.2, clean.shape), (0.7, 0.7, 0))
    assert is_correlated(np.clip(clean + noise, 0, 1))
    noisy = GaussianNoise(25)(clean)
    assert all(is_correlated(JpegCompression(quality)(noisy)) for quality in (40, 75, 90))
    picture = (JpegCompression(75)(noisy) * 255).round().astype(np.uint8)
    assert load_observation(picture, NoDegradation()).correlated
    assert load_observation(picture, NoDegradation(), sigma=20).correlated
    assert not load_observation(picture, NoDegradation(), noise="white").correlated
