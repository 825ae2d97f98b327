"""Which sample values are black and white for the fit, and that mapping there and back loses nothing."""

import numpy as np
import pytest

from dip_lightning.data import Picture, ValueRange


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.uint8, ValueRange(0, 255)),
        (np.uint16, ValueRange(0, 65535)),
        (np.int16, ValueRange(-32768, 32767)),
        (np.float32, ValueRange(0, 1)),
    ],
)
def test_by_default_it_is_all_that_the_type_can_say(dtype: type, expected: ValueRange) -> None:
    assert Picture(np.zeros((2, 2, 1), dtype)).scale == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_every_integer_comes_back_and_those_beyond_the_range_too(dtype: type) -> None:
    limits = np.iinfo(dtype)
    samples = np.arange(limits.min, limits.max + 1).astype(dtype)[None, :, None]
    picture = Picture(samples, scale=ValueRange(11, 97))
    assert picture.to_unit().max() > 1
    assert np.array_equal(picture.with_unit(picture.to_unit()).samples, samples)


def test_integers_are_clipped_to_their_type_and_not_to_the_range() -> None:
    picture = Picture(np.zeros((1, 3, 1), np.uint8), scale=ValueRange(100, 150))
    image = np.array([-9.0, 1.5, 9.0])[None, :, None]
    assert picture.with_unit(image).samples.ravel().tolist() == [0, 175, 255]


def test_floats_are_neither_clipped_nor_rounded() -> None:
    samples = np.random.default_rng(0).normal(1e4, 3.7, (5, 6, 2)).astype(np.float32)
    picture = Picture(samples, scale=ValueRange(9990, 10010))
    assert np.array_equal(picture.with_unit(picture.to_unit()).samples, samples)
    assert picture.with_unit(picture.to_unit()).samples.dtype == np.float32


def test_a_small_value_beside_a_large_offset_survives_an_output_in_float32() -> None:
    """Two million steps above the offset float32 has steps of an eighth; the range of 1 has finer ones."""
    picture = Picture(np.zeros((1, 2, 1), np.float64), scale=ValueRange(2e6, 2e6 + 1))
    image = np.array([0.01, 0.02], np.float32)[None, :, None]
    assert np.allclose(picture.with_unit(image).samples.ravel(), [2e6 + 0.01, 2e6 + 0.02], atol=1e-6, rtol=0)
