"""What is known of the noise of an observation, and what is told of it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data

from dip_lightning.data import Observation, load_observation
from dip_lightning.data.degradation import GaussianNoise, NoDegradation
from dip_lightning.errors import UserError


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    """A picture whose neighbours share a noise of 8 of 255."""
    noise = np.stack([gaussian_filter(plane, 0.8) for plane in np.random.default_rng(0).normal(size=(3, 128, 128))], 2)
    clean = data.coffee()[100:228, 200:328].astype(np.float64)
    return np.clip(np.round(clean + noise * (8 / noise.std())), 0, 255).astype(np.uint8)


def _load(photograph: NDArray[np.uint8], **options: object) -> Observation:
    return load_observation(photograph, NoDegradation(), **options)  # type: ignore[arg-type]


def test_shared_noise_is_estimated_and_told(photograph: NDArray[np.uint8]) -> None:
    observation = _load(photograph)
    assert observation.sigma == observation.noise.level == pytest.approx(8, rel=0.2)
    assert observation.noise.neighbours == pytest.approx(0.65, abs=0.1)
    assert observation.describe().endswith("of it: a developed photograph")
    assert observation.sigma_source == "estimated"


def test_what_is_given_wins(photograph: NDArray[np.uint8]) -> None:
    estimated, given = _load(photograph), _load(photograph, sigma=12)
    assert (given.sigma, given.sigma_source) == (pytest.approx(12), "given")
    assert given.noise.across == estimated.noise.across
    assert given.sigma_estimated == estimated.sigma
    white = _load(photograph, noise="white")
    assert white.noise.is_white
    assert white.sigma < 0.6 * estimated.sigma
    assert "neighbours" not in white.describe()


def test_noise_that_is_added_is_white(photograph: NDArray[np.uint8]) -> None:
    observation = load_observation(photograph, GaussianNoise(25))
    assert observation.noise.is_white
    assert (observation.sigma, observation.noise.source) == (25, "added")


def test_an_autocorrelation_of_ones_own(photograph: NDArray[np.uint8], tmp_path: Path) -> None:
    name = str(tmp_path / "shared.npy")
    np.save(name, np.array([[0, 1, 0], [3, 4, 3], [0, 1, 0]]))
    noise = _load(photograph, noise=name, sigma=9).noise
    assert (noise.across, noise.down, noise.level) == (0.75, 0.25, pytest.approx(9))


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        (np.ones((3, 4)), "of 3x4 numbers"),
        (np.ones((2, 2)), "of 2x2 numbers"),
        (np.ones(3), "no plane of numbers"),
        (np.array([[0, 5, 0], [0, 1, 0], [0, 0, 0]]), "not in its centre"),
        (np.full((3, 3), np.nan), "not in its centre"),
    ],
)
def test_what_is_no_autocorrelation_is_refused(
    kernel: NDArray[np.float64], told: str, photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    name = str(tmp_path / "k.npy")
    np.save(name, kernel)
    with pytest.raises(UserError, match=told):
        _load(photograph, noise=name)


@pytest.mark.parametrize("name", ["missing.npy", "brown"])
def test_a_noise_that_is_no_file_is_refused(name: str, photograph: NDArray[np.uint8]) -> None:
    with pytest.raises(UserError, match=r"white, or an \.npy file"):
        _load(photograph, noise=name)
