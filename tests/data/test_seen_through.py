"""Observations that are made of a clean image, or read, with something between it and the camera."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from dip_lightning.config.compose import compose_config
from dip_lightning.data import DefaultNoise, GaussianNoise, NoDegradation, Observation, load_observation
from dip_lightning.data.noise_level import estimate_noise_of_known
from dip_lightning.errors import UserError
from dip_lightning.problems import Blur, Inpaint, Mosaic, SuperResolution
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY_UNET

SAMPLE = "skimage:astronaut"
CLEAN = data.coffee()[100:164, 200:264]


@pytest.fixture
def lost() -> NDArray[np.bool_]:
    return np.random.default_rng(0).random((64, 64)) < 0.4


@pytest.fixture
def mask(tmp_path: Path, lost: NDArray[np.bool_]) -> str:
    Image.fromarray((~lost * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    return str(tmp_path / "mask.png")


def shown(observation: Observation) -> NDArray[np.float64]:
    return observation.noisy[0].permute(1, 2, 0).numpy()


def test_of_a_clean_image_alone_what_is_seen_is_made() -> None:
    seen = load_observation(SAMPLE, DefaultNoise(), clean=CLEAN, operator=SuperResolution(4))
    assert seen.noisy.shape == (1, 3, 16, 16)
    assert seen.clean is not None
    assert np.array_equal(seen.clean[0].permute(1, 2, 0).numpy(), CLEAN / 255)
    assert (seen.sigma, seen.sigma_source) == (0, "added")
    small = Image.fromarray(CLEAN).resize((16, 16), Image.Resampling.LANCZOS)
    assert np.abs(shown(seen) - np.asarray(small) / 255).max() < 1.1 / 255  # Pillow rounds, twice
    noisy = load_observation(SAMPLE, GaussianNoise(10), clean=CLEAN, operator=SuperResolution(4))
    assert 6 < 255 * (noisy.noisy - seen.noisy).std() < 12
    assert noisy.sigma == 10


def test_a_small_picture_is_one_and_its_large_one_may_be_measured_against() -> None:
    small = np.asarray(Image.fromarray(CLEAN).resize((16, 16), Image.Resampling.LANCZOS))
    alone = load_observation(small, DefaultNoise(), operator=SuperResolution(4))
    assert alone.clean is None
    assert alone.picture_shape == (3, 64, 64)
    measured = load_observation(small, DefaultNoise(), clean=CLEAN, operator=SuperResolution(4))
    assert measured.clean is not None
    with pytest.raises(UserError, match=r"image\.clean of 62x62"):
        load_observation(small, DefaultNoise(), clean=CLEAN[1:-1, 1:-1], operator=SuperResolution(4))


def test_what_is_lost_is_not_known_to_the_fit(mask: str, lost: NDArray[np.bool_]) -> None:
    made = load_observation(SAMPLE, DefaultNoise(), clean=CLEAN, operator=Inpaint(mask))
    given = load_observation(CLEAN, DefaultNoise(), operator=Inpaint(mask))
    for seen in (made, given):
        assert seen.measured is not None
        assert np.array_equal(seen.measured[0, 0].numpy() == 0, lost)
        values = set(map(tuple, np.round(255 * shown(seen)[~lost]).astype(int)))
        assert {tuple(pixel) for pixel in np.round(255 * shown(seen)[lost]).astype(int)} <= values
        assert np.array_equal(shown(seen)[~lost], CLEAN[~lost] / 255)
        assert seen.digest != load_observation(CLEAN, DefaultNoise()).digest
    assert made.clean is not None
    assert given.clean is None
    assert np.array_equal(made.clean[0].permute(1, 2, 0).numpy(), CLEAN / 255)


def test_known_pixels_are_handed_back_where_they_are_nearer(mask: str, lost: NDArray[np.bool_]) -> None:
    def changed(image: NDArray[np.floating], **options: Any) -> bool:
        degradation = options.pop("degradation", NoDegradation())
        operator = Inpaint(mask, options.pop("paste", "auto"))
        seen = load_observation(SAMPLE, degradation, clean=CLEAN, operator=operator, **options)
        completed, observed = seen.completed(image), seen.noisy[0].permute(1, 2, 0).numpy()
        assert np.array_equal(completed[lost], image[lost])
        pasted = np.array_equal(completed[~lost], observed[~lost])
        assert pasted or np.array_equal(completed, image)
        return pasted

    near = CLEAN / 255 + np.random.default_rng(7).normal(0, 10 / 255, CLEAN.shape)  # misses 10 of 255
    assert changed(near)
    assert changed(near, sigma=6)
    assert changed(near, degradation=GaussianNoise(20), paste=True)
    assert not changed(near, sigma=12)
    assert changed(near, sigma=16)  # nearer than the noise: it has been fitted along, or there is none
    assert not changed(near, degradation=GaussianNoise(20))
    assert not changed(near, paste=False)


def test_known_pixels_whose_noise_may_be_texture_are_handed_back(mask: str, lost: NDArray[np.bool_]) -> None:
    seen = load_observation(CLEAN, DefaultNoise(), operator=Inpaint(mask))
    assert seen.sigma_source == "estimated"
    assert 0.5 < seen.sigma < 4
    near = CLEAN / 255 + np.random.default_rng(7).normal(0, seen.sigma / 255, CLEAN.shape)  # misses as much
    assert np.array_equal(seen.completed(near)[~lost], CLEAN[~lost] / 255)
    assert np.array_equal(seen.completed(near)[lost], near[lost])
    told = load_observation(CLEAN, DefaultNoise(), operator=Inpaint(mask), sigma=seen.sigma)
    assert np.array_equal(told.completed(near), near)


def test_the_noise_of_what_is_known_is_estimated(lost: NDArray[np.bool_]) -> None:
    smooth = np.tile(np.linspace(0.2, 0.8, 64)[:, None, None], (1, 64, 3))
    noisy = smooth + np.random.default_rng(1).normal(0, 12 / 255, smooth.shape)
    noisy[lost] = 0
    known = np.broadcast_to(~lost[:, :, None], noisy.shape)
    assert estimate_noise_of_known(noisy, known) == pytest.approx(12, rel=0.1)
    assert estimate_noise_of_known(noisy, np.zeros_like(known)) == 0


def test_transparent_pixels_are_filled_and_come_out_opaque(tmp_path: Path, lost: NDArray[np.bool_]) -> None:
    Image.fromarray(np.dstack([CLEAN, ~lost * np.uint8(255)]), "RGBA").save(tmp_path / "erased.png")
    seen = load_observation(tmp_path / "erased.png", DefaultNoise(), operator=Inpaint("alpha"))
    assert seen.picture.alpha is None
    assert seen.measured is not None
    assert np.array_equal(seen.measured[0, 0].numpy() == 0, lost)
    with pytest.raises(UserError, match=r"problem\.mask=alpha of an opaque picture"):
        load_observation(CLEAN, DefaultNoise(), operator=Inpaint("alpha"))


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.full((64, 64), 255, np.uint8), "without a hole"),
        (np.zeros((64, 64), np.uint8), "nothing is known"),
        (np.eye(32, dtype=np.uint8) * 255, "of 32x32 pixels: expected 64x64 pixels, as the picture"),
        (CLEAN, "in colour"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, mask: NDArray[np.uint8], told: str) -> None:
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=told):
        load_observation(CLEAN, DefaultNoise(), operator=Inpaint(str(tmp_path / "mask.png")))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_a_mask_of_one_bit_is_one(suffix: str, tmp_path: Path, lost: NDArray[np.bool_]) -> None:
    name = tmp_path / f"mask{suffix}"
    Image.fromarray(~lost).save(name)
    with Image.open(name) as file:
        assert file.mode == "1"
    seen = load_observation(CLEAN, DefaultNoise(), operator=Inpaint(str(name)))
    assert seen.measured is not None
    assert np.array_equal(seen.measured[0, 0].numpy() == 0, lost)
    assert (seen.shown[0].permute(1, 2, 0).numpy()[lost] == 0).all()
    assert np.array_equal(seen.shown[0].permute(1, 2, 0).numpy()[~lost], CLEAN[~lost] / 255)


def test_without_a_mask_the_picture_itself_must_have_holes() -> None:
    with pytest.raises(UserError, match="a picture without lost samples"):
        load_observation(CLEAN, DefaultNoise(), operator=Inpaint())
    holed = CLEAN / 255
    holed[10:20, 30:40] = np.nan
    seen = load_observation(holed, DefaultNoise(), operator=Inpaint(), range=[0, 1])
    assert seen.measured is not None
    assert (seen.measured == 0).sum() == 300


def test_a_soft_mask_is_told(tmp_path: Path, lost: NDArray[np.bool_]) -> None:
    soft = (~lost * np.uint8(255)).astype(np.uint8)
    soft[:2] = 100
    soft[2:4] = 200
    Image.fromarray(soft).save(tmp_path / "mask.png")
    seen = load_observation(CLEAN, DefaultNoise(), operator=Inpaint(str(tmp_path / "mask.png")))
    assert seen.measured is not None
    assert (seen.measured[0, 0, :2] == 0).all()
    assert (seen.measured[0, 0, 2:4] == 1).all()
    assert "256 pixels of the mask are neither black nor white" in str(seen.picture.notes)


def test_a_part_of_a_mosaic_begins_where_its_pattern_does() -> None:
    mosaic = CLEAN[:, :, 0].copy()
    seen = load_observation(mosaic, DefaultNoise(), crop=38, range=[0, 255], operator=Mosaic())
    assert np.array_equal(shown(seen)[:, :, 0], mosaic[12:50, 12:50] / 255)  # 13 would be the middle
    assert seen.picture_shape == (3, 38, 38)
    with pytest.raises(UserError, match=r"multiples of 2; try image.crop=\[2,4,8,8\]"):
        load_observation(mosaic, DefaultNoise(), crop=[3, 4, 8, 8], operator=Mosaic())


def test_the_noise_of_a_mosaic_is_that_of_pixels_of_one_colour() -> None:
    colourful = np.tile(np.array([230, 40, 120], np.uint8), (64, 64, 1))
    seen = load_observation(SAMPLE, GaussianNoise(8), clean=colourful, operator=Mosaic())
    assert seen.sigma_estimated == pytest.approx(8, rel=0.2)
    assert seen.noise.is_white


@pytest.mark.parametrize("problem", ["super_resolution", "deblur", "demosaic", "inpaint"])
def test_a_fit_of_each_problem_hands_back_a_picture_of_the_clean_ones_size(problem: str, mask: str) -> None:
    settings = [*TINY_UNET, "image.crop=null", f"problem={problem}", "lr=0.02", "alpha=0.5", "iterations=60"]
    settings += [f"problem.mask={mask}"] if problem == "inpaint" else []
    result = fit(compose_config(settings), clean=CLEAN)
    assert result.image.shape == CLEAN.shape
    selected = result.summary["selected"]
    assert selected["psnr"] > 12
    lost = selected["psnr_lost"]
    assert (lost is None) == (problem != "inpaint")
    if lost is not None:
        assert lost < selected["psnr"]  # known pixels are exact


@pytest.mark.parametrize("problem", ["super_resolution", "deblur", "demosaic", "inpaint"])
def test_tiles_see_what_the_whole_sees(problem: str, mask: str) -> None:
    settings = [*TINY_UNET, "image.crop=null", f"problem={problem}", "lr=0.02", "alpha=0.5", "iterations=20"]
    settings += [f"problem.mask={mask}"] if problem == "inpaint" else []
    settings += ["problem.factor=2", "problem.filter=area"] if problem == "super_resolution" else []
    settings += ["problem.width=0.5"] if problem == "deblur" else []
    result = fit(compose_config([*settings, "tile=40", "overlap=4", "stopping=none"]), clean=CLEAN)
    assert result.image.shape == CLEAN.shape
    assert result.summary["tiles"]["done"] == 4


def test_an_operator_that_looks_far_needs_large_tiles() -> None:
    settings = [*TINY_UNET, "image.crop=null", "problem=deblur", "problem.width=3", "tile=40", "overlap=4"]
    with pytest.raises(UserError, match="looks 12 pixels far: expected at least 56"):
        fit(compose_config(settings), clean=CLEAN)


def test_blurred_samples_count_where_they_are_known() -> None:
    seen = load_observation(SAMPLE, GaussianNoise(2), clean=CLEAN, operator=Blur("gaussian", 1.6))
    assert seen.noisy.shape == (1, 3, 64, 64)
    assert seen.measured is None
