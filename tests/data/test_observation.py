"""What is fitted: the part of the picture, its noise, and the clean image beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from dip_lightning.data import SAMPLES, DefaultNoise, GaussianNoise, NoDegradation, load_observation
from dip_lightning.errors import UserError


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    array = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_can_be_loaded_without_a_download(sample: str) -> None:
    observation = load_observation(f"skimage:{sample}", NoDegradation())
    assert observation.noisy.shape[1] in (1, 3)
    assert observation.clean is None


def test_noise_is_added_to_the_clean_image(photo: Path) -> None:
    observation = load_observation(str(photo), GaussianNoise(25, clip=False))
    assert observation.clean is not None
    difference = (observation.noisy - observation.clean).numpy()
    # 7200 samples: the standard error of the deviation is 25 / sqrt(2 * 7200) = 0.2.
    assert difference.std() * 255 == pytest.approx(25, abs=1)
    assert abs(difference.mean()) * 255 < 1
    assert observation.sigma == 25


def test_the_seed_decides_the_noise() -> None:
    clean = np.full((8, 8, 3), 0.5)
    assert np.array_equal(GaussianNoise(25, seed=1)(clean), GaussianNoise(25, seed=1)(clean))
    assert not np.array_equal(GaussianNoise(25, seed=1)(clean), GaussianNoise(25, seed=2)(clean))


def test_clipping_keeps_the_noisy_image_in_range() -> None:
    white = np.ones((8, 8, 3))
    assert GaussianNoise(50)(white).max() == 1
    assert GaussianNoise(50, clip=False)(white).max() > 1


def test_a_picture_of_ones_own_has_no_clean_image(photo: Path) -> None:
    observation = load_observation(str(photo), NoDegradation())
    assert observation.clean is None
    assert observation.sigma_source == "estimated"
    assert np.allclose(observation.noisy[0].permute(1, 2, 0) * 255, np.asarray(Image.open(photo)))


def test_a_noisy_picture_beside_its_clean_one(photo: Path, tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (10, 20, 30)).save(tmp_path / "gt.png")
    observation = load_observation(str(photo), NoDegradation(), clean=str(tmp_path / "gt.png"), crop=[1, 2, 10, 20])
    assert observation.clean is not None
    assert observation.noisy.shape == observation.clean.shape == (1, 3, 10, 20)
    assert np.allclose(observation.clean[0, :, 0, 0] * 255, [10, 20, 30])


def test_crop_takes_the_central_square_or_a_rectangle(photo: Path) -> None:
    whole = np.asarray(Image.open(photo))
    central = load_observation(str(photo), NoDegradation(), crop=20).picture
    assert np.array_equal(central.samples, whole[10:30, 20:40])
    part = load_observation(str(photo), NoDegradation(), crop=[3, 5, 16, 24]).picture
    assert np.array_equal(part.samples, whole[3:19, 5:29])


def test_size_resizes_after_cropping(photo: Path) -> None:
    assert load_observation(str(photo), NoDegradation(), size=30).picture.samples.shape == (20, 30, 3)
    exact = load_observation(str(photo), NoDegradation(), crop=40, size=[16, 18]).picture
    assert exact.samples.shape == (16, 18, 3)


def test_resizing_keeps_brightness_and_alpha(tmp_path: Path) -> None:
    Image.new("LA", (40, 40), (200, 77)).save(tmp_path / "la.png")
    picture = load_observation(str(tmp_path / "la.png"), NoDegradation(), size=20).picture
    assert picture.samples.shape == (20, 20, 1)
    assert np.all(picture.samples == 200)
    assert picture.alpha is not None
    assert np.all(picture.alpha == 77)


def test_an_array_is_as_good_as_a_file() -> None:
    array = skimage.data.camera()[:32, :32]
    assert np.array_equal(load_observation(array, NoDegradation()).picture.samples[:, :, 0], array)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crop": 41}, "image.crop=41"),
        ({"crop": [0, 0, 10]}, "image.crop="),
        ({"crop": [35, 0, 10, 10]}, "image.crop=.35,0,10,10."),
        ({"crop": 0}, "image.crop=0"),
        ({"crop": "big"}, "image.crop=big"),
        ({"size": 0}, "image.size=0"),
        ({"size": [1, 2, 3]}, "image.size="),
        ({"crop": 4}, "4x4 pixels"),
        ({"clean": "missing.png"}, "no file missing.png"),
        ({"clean": "skimage:camera"}, "512x512 pixels and 1 channel"),
    ],
)
def test_settings_that_do_not_fit_are_refused(photo: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_observation(str(photo), NoDegradation(), **options)


def test_a_clean_image_and_added_noise_contradict_each_other(photo: Path) -> None:
    with pytest.raises(UserError, match="degradation=none"):
        load_observation(str(photo), GaussianNoise(25), clean=str(photo))


@pytest.mark.parametrize(
    ("path", "clean", "sigma", "expected"),
    [
        ("skimage:camera", None, None, 25),
        ("skimage:camera", None, 10, 10),
        ("photo.png", None, None, None),
        ("photo.png", None, 10, 10),
        ("photo.png", "photo.png", None, None),
    ],
)
def test_a_picture_of_ones_own_is_taken_as_it_is_unless_a_sigma_is_given(
    photo: Path, path: str, clean: str | None, sigma: float | None, expected: float | None
) -> None:
    names = {"photo.png": str(photo)}
    given = None if clean is None else names[clean]
    observation = load_observation(names.get(path, path), DefaultNoise(sigma), clean=given, crop=16)
    assert (observation.sigma_source == "added") == (expected is not None)
    if expected is not None:
        assert observation.sigma == expected
    else:
        assert np.array_equal(observation.noisy[0].permute(1, 2, 0), observation.picture.to_unit())


def test_an_unknown_sample_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="astronaut, camera"):
        load_observation("skimage:lena", NoDegradation())


@pytest.mark.parametrize("array", [np.zeros((8, 8), complex), np.zeros((9, 9), bool), np.zeros(9, np.uint8)])
def test_an_array_of_another_kind_is_refused(array: np.ndarray) -> None:
    with pytest.raises(UserError):
        load_observation(array, NoDegradation())
