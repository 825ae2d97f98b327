"""Samples that were lost: the fit does not see them, and they come back filled or as they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import tifffile

from dip_lightning import restore
from dip_lightning.data import NoDegradation, load_observation, picture_from_array, read_image
from dip_lightning.data.cropping import crop_picture, resize_picture
from dip_lightning.data.lost_samples import fill_lost
from dip_lightning.errors import UserError
from tests.conftest import TINY_UNET

RNG = np.random.default_rng(0)
SCENE = skimage.data.camera()[100:140, 200:248].astype(np.float32)
HOLE = np.zeros(SCENE.shape, bool)
HOLE[4:9, 10:16] = True
TINY = [override for override in TINY_UNET if not override.startswith(("image.crop", "iterations"))]
TINY += ["image.range=null"]  # floats beyond [0, 1]


def with_nan() -> np.ndarray:
    return np.where(HOLE, np.nan, SCENE)


def with_infinity() -> np.ndarray:
    return np.where(HOLE, np.inf, SCENE)


def masked() -> np.ndarray:
    return np.ma.MaskedArray(np.where(HOLE, 9999, SCENE).astype(np.int32), HOLE)


@pytest.mark.parametrize("make", [with_nan, with_infinity, masked])
@pytest.mark.parametrize("lost", ["fill", "keep"])
def test_lost_samples_are_filled_or_left_as_they_were(make: Any, lost: str) -> None:
    image = make()
    result = restore(image, iterations=4, overrides=[*TINY, f"image.lost={lost}"])
    assert result.image.dtype == image.dtype
    given = np.ma.getdata(image)
    if lost == "keep":
        assert np.array_equal(result.image[HOLE], given[HOLE], equal_nan=True)
    else:
        assert np.isfinite(result.image).all()
        assert result.image[HOLE].max() < 400
    becomes = "filled" if lost == "fill" else "left as they were"
    assert f"30 samples that were lost (NaN, masked, no data) are {becomes}." in " ".join(result.summary["remarks"])


def test_the_fit_does_not_see_what_was_lost() -> None:
    """What stands in the hole of a masked array makes no difference to what is fitted elsewhere."""
    results = [
        restore(np.ma.MaskedArray(np.where(HOLE, value, SCENE), HOLE), iterations=6, overrides=TINY).image
        for value in (0.0, 1e6)
    ]
    assert np.array_equal(*results)


def test_noise_and_range_are_told_from_what_is_known() -> None:
    whole = load_observation(SCENE, NoDegradation())
    holed = load_observation(np.ma.MaskedArray(np.where(HOLE, 1e9, SCENE), HOLE), NoDegradation())
    assert holed.picture.scale.high < 1.2 * whole.picture.scale.high
    assert holed.sigma == pytest.approx(whole.sigma, rel=0.2)
    assert holed.measured is not None
    assert np.array_equal(holed.measured[0, 0].numpy() == 0, HOLE)
    assert holed.digest != load_observation(holed.picture.filled(), NoDegradation()).digest


def test_a_lost_sample_is_replaced_by_its_nearest_neighbour() -> None:
    samples = np.arange(12.0).reshape(3, 4, 1)
    known = np.ones(samples.shape, bool)
    known[1, 1:3] = False
    assert fill_lost(samples, known)[1, :, 0].tolist()[::3] == [4, 7]
    assert set(fill_lost(samples, known)[1, 1:3, 0]) <= {1.0, 2.0, 4.0, 7.0, 9.0, 10.0}
    assert fill_lost(samples, None) is samples


def test_the_value_of_no_data_is_no_sample(tmp_path: Path) -> None:
    heights = np.where(HOLE, -9999, SCENE).astype(np.int16)
    tifffile.imwrite(tmp_path / "dem.tif", heights, extratags=[(42113, 2, 0, "-9999", True)])
    picture = read_image(tmp_path / "dem.tif")
    assert picture.known is not None
    assert np.array_equal(picture.known[:, :, 0], ~HOLE)


def test_a_part_and_a_smaller_one_know_what_was_lost() -> None:
    picture = picture_from_array(with_nan())
    part = crop_picture(picture, [2, 8, 16, 16])
    assert part.known is not None
    assert np.array_equal(part.known[:, :, 0], ~HOLE[2:18, 8:24])
    smaller = resize_picture(picture, [20, 24])
    assert smaller.known is not None
    assert 0 < np.count_nonzero(~smaller.known) <= 30
    assert np.isnan(smaller.samples[3, 6])
    assert np.isfinite(smaller.to_unit()).all()
    with pytest.raises(UserError, match=r"image\.crop=.*samples that are known"):
        crop_picture(picture, [4, 10, 5, 6])


def test_a_small_picture_of_a_large_one_may_have_holes() -> None:
    result = restore(with_nan(), iterations=4, overrides=[*TINY, "problem=downsample", "image.lost=keep"])
    assert result.image.shape == (80, 96)
    assert np.isnan(result.image[10:16, 24:28]).all()
    assert np.isfinite(result.image[30:]).all()


def test_tiles_know_what_was_lost() -> None:
    result = restore(with_nan(), iterations=4, overrides=[*TINY, "tile=24", "overlap=8", "image.lost=keep"])
    assert np.array_equal(np.isnan(result.image), HOLE)


@pytest.mark.parametrize("lost", ["drop", "null"])
def test_another_word_is_refused(lost: str) -> None:
    with pytest.raises(UserError, match=r"image\.lost"):
        restore(SCENE, iterations=4, overrides=[*TINY, f"image.lost={lost}"])
