"""The range of values that a picture is fitted in: found in the picture, or given; and what lies beyond it."""

from typing import Any

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from dip_lightning.data import GaussianNoise, NoDegradation, Picture, ValueRange, load_observation
from dip_lightning.data.own_range import find_range, range_of_clean
from dip_lightning.errors import UserError
from dip_lightning.problems.operators.downsample import Downsample


def photo(white: float, dtype: Any = np.uint16, sigma: float = 25) -> NDArray[Any]:
    """A crop with noise, (64, 64, 3), from 0 to ``white``."""
    clean = skimage.data.astronaut()[60:124, 180:244] / 255
    noisy = np.clip(clean + np.random.default_rng(7).normal(0, sigma / 255, clean.shape), 0, 1) * white
    return (np.rint(noisy) if np.issubdtype(dtype, np.integer) else noisy).astype(dtype)


def sky(stars: int) -> NDArray[np.uint16]:
    """A sky of 1000 ± 38 with stars of 60000, each with a fringe, (64, 64, 1)."""
    rng = np.random.default_rng(3)
    image = rng.normal(1000, 38, (64, 64))
    down, right = np.mgrid[:64, :64]
    for row, column in rng.integers(5, 59, (stars, 2)):
        image += 59000 * np.exp(-((down - row) ** 2 + (right - column) ** 2) / (2 * 1.5**2))
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)[:, :, None]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (photo(255, np.uint8), (0, 255)),
        (photo(140, np.uint8), (0, 255)),  # more than half of it
        (photo(40, np.uint8), (0, 63)),
        (photo(65535), (0, 65535)),
        (photo(40000), (0, 65535)),
        (photo(4095), (0, 4095)),
        (photo(1023), (0, 1023)),
        (photo(4095, np.int16), (0, 4095)),
        (photo(1, np.float32), (0, 1)),
        (photo(4095, np.float64), (0, 4095)),
        (np.full((16, 16, 1), 7, np.uint16), (0, 65535)),
        (np.zeros((16, 16, 1), np.float32), (0, 1)),
    ],
)
def test_a_picture_that_fills_a_natural_range_is_fitted_in_it(
    samples: NDArray[Any], expected: tuple[float, float]
) -> None:
    assert find_range(Picture(samples)) == ValueRange(*expected)


def test_a_flat_picture_with_a_little_of_something_else_keeps_it_inside() -> None:
    samples = np.zeros((40, 40, 1), np.uint8)
    samples[5:7, 5:7] = 200
    assert find_range(Picture(samples)) == ValueRange(0, 255)


def test_a_picture_of_little_contrast_has_its_own_range_with_a_margin() -> None:
    found = find_range(Picture(photo(1000) + 1500))
    assert found == ValueRange(1450, 2550)


def test_counts_stay_counts_and_a_range_never_leaves_the_type() -> None:
    assert find_range(Picture(np.linspace(0.1, 0.4, 400).reshape(20, 20, 1))).low >= 0
    bright = np.linspace(200, 254, 400).reshape(20, 20, 1).astype(np.uint8)
    assert find_range(Picture(bright)).high == 255


def test_a_range_has_more_steps_than_rounding() -> None:
    samples = (np.arange(400).reshape(20, 20, 1) % 2 + 7).astype(np.uint8)
    assert find_range(Picture(samples)).span >= 4


@pytest.mark.parametrize("hot", [1, 8, 30])
def test_hot_pixels_do_not_stretch_the_range(hot: int) -> None:
    samples = photo(4095)
    samples.reshape(-1)[np.random.default_rng(0).choice(samples.size, hot, replace=False)] = 65535
    assert find_range(Picture(samples)) == ValueRange(0, 4095)


@pytest.mark.parametrize("stars", [1, 2, 4, 8])
def test_the_noise_of_a_sky_is_not_lost_under_its_stars(stars: int) -> None:
    found = find_range(Picture(sky(stars)))
    assert found.low < 1000 - 3 * 38
    assert found.high > 1000 + 3 * 38
    assert 38 / found.span * 255 > 9  # of 65535 it would be 0.15


def test_a_lamp_in_a_picture_of_ordinary_contrast_belongs_to_it() -> None:
    """It is 3% of the pixels, and about twice as bright as the others: to leave it as it is would gain little."""
    samples = photo(120, np.uint8)
    samples[10:22, 10:21] = 240
    assert find_range(Picture(samples)) == ValueRange(0, 255)


def test_what_is_no_number_is_passed_over() -> None:
    samples = photo(3000, np.float32)
    samples[3, 4], samples[5, 6] = np.nan, np.inf
    assert find_range(Picture(samples)) == ValueRange(0, 4095)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([4095, 0], "the first is the lower"),
        ([0, 0], "the first is the lower"),
        ([0], r"image.range=\[0\]"),
        ([0, "white"], "two sample values"),
        ([0, float("nan")], "two sample values"),
        ("all", "image.range=all"),
        (4095, "image.range=4095"),
        ([5000, 6000], "with 100% of the samples outside"),
    ],
)
def test_a_range_without_sense_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        load_observation(photo(4095), NoDegradation(), range=given)
    assert "\n" not in str(refused.value)


def test_a_range_that_is_given_wins_and_is_told() -> None:
    observation = load_observation(photo(4095), NoDegradation(), range=[100, 3900])
    assert observation.range.values == ValueRange(100, 3900)
    assert observation.range.source == "given"
    assert f"range: 100..3900 of 65535 ({observation.beyond} pixels beyond stay)" in observation.describe()
    assert observation.beyond > 0


def test_the_range_is_told_where_it_is_not_the_types() -> None:
    assert "colour, range: 0..4095 of 65535, noise" in load_observation(photo(4095), NoDegradation()).describe()
    assert "range" not in load_observation(photo(255, np.uint8), NoDegradation()).describe()


def test_noise_counts_on_the_range() -> None:
    """σ = 25 of 255 is the same noise whatever the white of the file is."""
    full, twelve = (load_observation(photo(white), NoDegradation()) for white in (65535, 4095))
    assert twelve.sigma == pytest.approx(full.sigma, rel=0.01)
    clean = photo(4095, sigma=0)
    added = load_observation(clean, GaussianNoise(25, clip=False))
    assert added.clean is not None
    assert float((added.noisy - added.clean).std()) * 255 == pytest.approx(25, rel=0.02)
    assert np.array_equal(
        added.picture.with_unit(added.clean[0].permute(1, 2, 0).numpy()).samples, photo(4095, sigma=0)
    )


def test_noise_that_is_added_to_8_bits_counts_in_their_grey_levels() -> None:
    added = load_observation(photo(40, np.uint8, sigma=0), GaussianNoise(25, clip=False))
    assert added.range.values == ValueRange(0, 255)


@pytest.mark.parametrize(
    ("dtype", "white", "expected"),
    [(np.uint16, 4095, (0, 4095)), (np.uint8, 255, (0, 255)), (np.float32, 4095, (0, 4095))],
)
def test_the_clean_image_has_the_same_range(dtype: Any, white: float, expected: tuple[float, float]) -> None:
    noisy = Picture(photo(4095), scale=ValueRange(0, 4095))
    assert range_of_clean(noisy, Picture(photo(white, dtype, sigma=0))) == ValueRange(*expected)


def test_the_clean_image_of_a_dark_picture_has_the_same_part_of_its_type() -> None:
    dark = Picture(photo(8191), scale=ValueRange(0, 8191))
    found = range_of_clean(dark, Picture(photo(31, np.uint8, sigma=0)))
    assert (found.low, found.high) == (0, pytest.approx(31.87, abs=0.01))


def test_stars_are_taken_out_of_the_fit_and_kept() -> None:
    samples = sky(3)
    observation = load_observation(samples, NoDegradation())
    assert observation.known is not None
    assert observation.fixed is not None
    beyond = observation.known[0, 0].numpy() == 0
    assert np.array_equal(np.isnan(observation.fixed[0, 0].numpy()), ~beyond)
    restored = observation.picture.with_unit(observation.completed(np.full((64, 64, 1), 0.5)))
    assert np.array_equal(restored.samples[beyond], samples[beyond])
    middle = observation.range.values.to_samples(np.array([0.5]))
    assert np.all(np.abs(restored.samples[~beyond] - middle) <= 0.5)


def test_a_pixel_that_is_hot_in_one_channel_is_kept_as_a_whole() -> None:
    """Else its hue would be made of the observation and of the fit."""
    samples = photo(4095)
    samples[20, 30, 1] = 65535
    observation = load_observation(samples, NoDegradation())
    restored = observation.picture.with_unit(observation.completed(np.zeros((64, 64, 3))))
    assert np.array_equal(restored.samples[20, 30], samples[20, 30])
    assert observation.beyond == 1


def test_noise_that_is_added_leaves_stars_where_they_are() -> None:
    added = load_observation(sky(2), GaussianNoise(25))
    samples = added.picture.with_unit(added.noisy[0].permute(1, 2, 0).numpy()).samples
    assert samples.max() > 50000


def test_each_pixel_of_a_star_stands_for_its_block_of_a_larger_image() -> None:
    samples = photo(4095)
    samples[2, 3] = 65535
    observation = load_observation(samples, NoDegradation(), operator=Downsample(2))
    assert observation.fixed is not None
    assert observation.fixed.shape == (1, 3, 128, 128)
    kept = ~np.isnan(observation.fixed[0, 0].numpy())
    assert kept[4:6, 6:8].all()
    assert kept.sum() == 4


def test_a_tile_keeps_the_range_of_the_whole_and_its_own_stars() -> None:
    whole = load_observation(sky(1), NoDegradation())
    assert whole.fixed is not None
    row, column = (int(index[0]) for index in np.nonzero(~np.isnan(whole.fixed[0, 0].numpy())))
    tiles = [whole.cropped(top, left, 32, 32) for top in (0, 32) for left in (0, 32)]
    assert {tile.range for tile in tiles} == {whole.range}
    assert sum(tile.beyond for tile in tiles) == whole.beyond
    assert any(tile.fixed is None for tile in tiles)
    assert tiles[2 * (row >= 32) + (column >= 32)].fixed is not None
