"""A fit in the picture's own range: the same whatever the file calls white, exactly undone, stars and all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dip_lightning import Problem, restore
from dip_lightning.config.compose import compose_config
from dip_lightning.data import Picture, read_image, write_image
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.fitting.resume_check import resumable
from dip_lightning.runs.record import read_summary
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY_UNET
from tests.small import fit as small_fit
from tests.small import picture

SETTINGS = [o for o in TINY_UNET if "crop" not in o]
CLEAN = skimage.data.astronaut()[60:92, 190:222] / 255
NOISY = np.clip(CLEAN + np.random.default_rng(1).normal(0, 25 / 255, CLEAN.shape), 0, 1)


def samples(white: float, image: NDArray[np.floating] = NOISY) -> NDArray[np.uint16]:
    return np.rint(image * white).astype(np.uint16)


def run(image: NDArray[Any], *overrides: str, **more: Any) -> FitResult:
    return restore(image, overrides=[*SETTINGS, *overrides], **more)


def with_star(white: int = 4095) -> NDArray[np.uint16]:
    """A 12-bit picture with a star of several pixels and one hot pixel."""
    image = samples(white)
    image[10:13, 20:23] = 60000
    image[4, 5, 2] = 50000
    return image


def test_twelve_bits_are_fitted_as_the_same_picture_in_sixteen() -> None:
    """On the same values, up to a rounding of 1/8190: the loss agrees, and so do σ and the PSNRs."""
    full, twelve = (run(samples(white), clean=samples(white, CLEAN)) for white in (65535, 4095))
    assert twelve.summary["range"] == {"low": 0, "high": 4095, "source": "estimated", "beyond": 0}
    assert full.summary["range"] == {"low": 0, "high": 65535, "source": "type", "beyond": 0}
    np.testing.assert_allclose(twelve.curves["loss"], full.curves["loss"], rtol=0.01)
    np.testing.assert_allclose(twelve.curves["psnr_averaged"], full.curves["psnr_averaged"], atol=0.05)
    assert twelve.summary["sigma"] == pytest.approx(full.summary["sigma"], rel=0.01)
    assert twelve.summary["psnr_observation"] == pytest.approx(full.summary["psnr_observation"], abs=0.01)
    np.testing.assert_allclose(twelve.image / 4095, full.image / 65535, atol=0.02)


def test_a_picture_of_twelve_bits_keeps_its_brightness_in_each_channel() -> None:
    image = np.rint(300 + 900 * NOISY).astype(np.uint16)
    result = run(image, "iterations=400", "stopping=none", "model.channels=16", "model.levels=3")
    means = result.image.mean(axis=(0, 1)) / image.mean(axis=(0, 1))
    assert np.abs(means - 1).max() < 0.002


@pytest.mark.slow
@pytest.mark.parametrize("white", [40, 4095])
def test_a_dark_picture_of_eight_bits_and_one_of_twelve_come_closer_to_the_clean_one(white: int) -> None:
    image = samples(white).astype(np.uint8 if white < 256 else np.uint16)
    result = run(image, "iterations=500", "stopping=none", "model.channels=16", "model.levels=3")
    before, after = (np.square(shown - white * CLEAN).mean() for shown in (image, result.image))
    assert after < before / 2
    assert np.abs(result.image.mean(axis=(0, 1)) / image.mean(axis=(0, 1)) - 1).max() < 0.002


@pytest.mark.slow
def test_a_dark_sky_is_restored_under_its_stars() -> None:
    rng = np.random.default_rng(4)
    down, right = np.mgrid[:48, :48]
    clean = 1000 + 80 * np.exp(-((down - 30) ** 2 + (right - 12) ** 2) / 200)
    for row, column in ((9, 11), (22, 37), (40, 30)):
        clean += 59000 * np.exp(-((down - row) ** 2 + (right - column) ** 2) / (2 * 1.2**2))
    image = np.clip(np.rint(clean + rng.normal(0, 38, clean.shape)), 0, 65535).astype(np.uint16)
    result = run(image, "iterations=500", "stopping=none", "model.channels=16", "model.levels=3")
    bright = image > 3000
    assert np.array_equal(result.image[bright], image[bright])
    away = ~gaussian_filter(bright.astype(float), 2).astype(bool)
    assert np.sqrt(np.square(result.image[away] - clean[away]).mean()) < 38 / 2  # divided by 65535: 122 and more


def test_what_lies_beyond_the_range_comes_back_and_does_not_pull_at_the_fit() -> None:
    image = with_star()
    result = run(image)
    assert np.array_equal(result.image[10:13, 20:23], image[10:13, 20:23])
    assert np.array_equal(result.image[4, 5], image[4, 5])
    assert result.summary["range"]["beyond"] == 10
    assert result.image[11, 24].max() <= 4095  # beside it, the fit
    # What a star of 15 times the range would add to the mean square of 1024 pixels is above 1.
    without = run(samples(4095))
    assert np.all(result.curves["loss"] < 1.2 * without.curves["loss"])
    assert np.all(np.abs(result.curves["psnr_observation"] - without.curves["psnr_observation"]) < 1)


def test_what_lies_beyond_a_range_that_was_given_is_told() -> None:
    given = run(with_star(), "image.range=[0,4095]")
    assert any(remark.startswith("10 pixels lie beyond image.range") for remark in given.summary["remarks"])
    found = run(with_star())
    assert found.summary["range"]["beyond"] == 10
    assert not any("image.range" in remark for remark in found.summary["remarks"])


def test_a_star_does_not_spoil_the_psnr() -> None:
    clean = samples(4095, CLEAN)
    clean[10:13, 20:23] = 60000
    result, without = run(with_star(), clean=clean), run(samples(4095), clean=samples(4095, CLEAN))
    for name in ("psnr_one_pass", "psnr_averaged"):
        assert np.all(np.abs(result.curves[name] - without.curves[name]) < 1)
    assert result.summary["selected"]["psnr"] == pytest.approx(without.summary["selected"]["psnr"], abs=1)


def test_stars_come_back_from_tiles(tmp_path: Path) -> None:
    image = with_star()
    result = run(image, "tile=16", "overlap=4", "stopping=none", run_folder=tmp_path)
    assert np.array_equal(result.image[10:13, 20:23], image[10:13, 20:23])
    whole, tile = read_summary(tmp_path), read_summary(tmp_path / "tiles" / "0-0")
    assert {**whole["range"], "beyond": 0} == {**tile["range"], "beyond": 0}
    assert whole["range"]["beyond"] == 10
    assert whole["removed"] is not None
    assert np.array_equal(read_image(tmp_path / "restored.png").samples, result.picture.samples)


def test_a_star_is_as_large_in_a_picture_of_twice_the_size() -> None:
    image = with_star()
    result = run(image, "problem=downsample")
    assert result.image.shape == (64, 64, 3)
    assert np.array_equal(result.image[20:26:2, 40:46:2], image[10:13, 20:23])


def test_a_dead_network_is_noticed_beside_a_star() -> None:
    fixed = torch.full((1, 3, 16, 16), torch.nan)
    fixed[:, :, 3, 4] = 1.0
    problem = Problem(picture(), fixed=fixed)
    flat = problem.complete(torch.full((1, 3, 16, 16), 0.5))
    assert float(flat.max()) == 1
    low, high = problem.extremes(flat)
    assert (float(low), float(high)) == (0.5, 0.5)


def test_fixed_samples_are_in_every_output_and_cost_nothing() -> None:
    fixed = torch.full((1, 3, 16, 16), torch.nan)
    fixed[:, :, 3, 4] = 1.0
    module = small_fit(Problem(picture(), fixed=fixed))
    assert torch.equal(module.iterate.one_pass[:, :, 3, 4], fixed[:, :, 3, 4])
    assert torch.equal(module.evaluate()[:, :, 3, 4], fixed[:, :, 3, 4])
    with pytest.raises(UserError, match="fixed samples of"):
        Problem(picture(), fixed=fixed[:, :, :8])


def test_a_range_that_is_given_is_in_the_record_and_tells_fits_apart(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", Picture(samples(4095)))
    settings = [*SETTINGS, f"image.path={tmp_path / 'a.png'}", "callbacks.checkpoint.iterations=2"]
    given = compose_config([*settings, "image.range=[0,5000]"])
    fit(given, tmp_path / "run")
    assert read_summary(tmp_path / "run")["range"] == {"low": 0, "high": 5000, "source": "given", "beyond": 0}
    given.iterations = 9
    assert resumable(tmp_path / "run", given) is not None
    assert resumable(tmp_path / "run", compose_config([*settings, "iterations=9"])) is None
    with pytest.raises(UserError, match=r"image.range=\[0, 5000\]"):
        fit(compose_config([*settings, "iterations=9"]), resume=resumable(tmp_path / "run", given))


def test_the_range_is_told_before_the_fit(tmp_path: Path, dip: Callable[..., Any]) -> None:
    write_image(tmp_path / "a.png", Picture(samples(4095)))
    shown = [o for o in SETTINGS if "fit_progress" not in o]
    told = dip(*shown, "image.path=a.png")
    assert told.code == 0
    assert "a.png: 32x32, colour, range: 0..4095 of 65535, noise" in told.err
    assert "the first is the lower" in dip(*shown, "image.path=a.png", "image.range=[9,2]").err
