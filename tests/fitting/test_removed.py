"""Without a clean image: what was removed is held against the noise, and what looks like picture is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from dip_lightning import Problem, restore
from dip_lightning.data import Picture, write_image
from dip_lightning.fitting.removed import Removed, combine, measure_removed
from dip_lightning.runs import figures
from dip_lightning.runs.record import read_summary
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
SETTINGS = [o for o in TINY_UNET if "crop" not in o and "iterations" not in o]
CLEAN = skimage.data.astronaut()[60:92, 190:222].astype(float)
NOISE = np.random.default_rng(2).normal(0, 25, CLEAN.shape)
# A fit that hardly moves: its result is a grey veil.
STUCK = [*SETTINGS, "lr=1e-6", "iterations=300", "stopping=none"]


def removed(result: np.ndarray, noise: np.ndarray = NOISE, *, doubtful: bool = False) -> Removed:
    """What was removed where ``result`` is handed back; both (H, W, C), 0 to 255."""
    seen, image = (torch.from_numpy(a / 255).permute(2, 0, 1)[None] for a in (CLEAN + noise, result))
    return measure_removed(Problem(seen), image, 25, doubtful=doubtful)


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    samples = np.clip(np.rint(CLEAN + NOISE), 0, 255).astype(np.uint8)
    write_image(tmp_path / "noisy.png", Picture(samples))
    write_image(tmp_path / "clean.png", Picture(CLEAN.astype(np.uint8)))
    return tmp_path / "noisy.png"


def test_noise_that_is_removed_raises_no_doubt() -> None:
    found = removed(CLEAN)
    assert found.times_sigma == pytest.approx(1, abs=0.03)
    assert abs(found.neighbours) < 0.05
    assert found.doubt() is None
    assert not found.is_worse


def test_picture_that_is_removed_is_told_and_more_of_it_is_worse() -> None:
    blurred = removed(gaussian_filter(CLEAN, (9, 9, 0)))
    assert blurred.is_picture
    assert not blurred.is_worse
    assert "times the noise, and looks like picture" in str(blurred.doubt())
    veil = removed(np.broadcast_to(CLEAN.mean(axis=(0, 1)), CLEAN.shape), 0.2 * NOISE)
    veil = Removed(veil.rms, veil.shift, veil.neighbours, sigma=5, doubtful=False)
    assert veil.is_worse
    assert "worse than what was given" in str(veil.doubt())
    silent = Removed(6.4, 0.0, 0.9, sigma=0.0, doubtful=False)
    assert (
        "What was removed is 6.4 of 255, where there is next to no noise, and looks like picture: the fit was"
        in str(silent.doubt())
    )


def test_brightness_that_has_changed_is_told() -> None:
    found = removed(CLEAN + 10)
    assert found.shift == pytest.approx(-10, abs=3 * 25 / 32)  # three standard errors of the mean of the noise
    assert "The brightness has changed by +" in str(found.doubt())


def test_noise_that_was_fitted_is_told() -> None:
    assert "only 30% of the noise" in str(removed(CLEAN + 0.7 * NOISE).doubt())


def test_white_noise_stronger_than_the_estimate_is_no_picture() -> None:
    """The estimate is a median: noise that is strong in some places only, it takes for weak."""
    found = removed(CLEAN, 4 * NOISE)
    assert not found.is_worse
    assert "times the noise." in str(found.doubt())


def test_where_sigma_is_no_measure_nothing_is_told() -> None:
    shared = 4 * gaussian_filter(NOISE, (1, 1, 0))
    assert removed(CLEAN, 8 * shared).is_worse
    assert removed(CLEAN, 8 * shared, doubtful=True).doubt() is None


def test_samples_that_were_lost_do_not_count() -> None:
    seen = torch.from_numpy((CLEAN + NOISE) / 255).permute(2, 0, 1)[None]
    known = (torch.rand((1, 1, 32, 32), generator=torch.Generator().manual_seed(0)) < 0.6).to(seen)
    problem = Problem(torch.where(known == 1, seen, 9.0), known=known)
    found = measure_removed(problem, torch.from_numpy(CLEAN / 255).permute(2, 0, 1)[None], 25, doubtful=False)
    assert found.times_sigma == pytest.approx(1, abs=0.05)
    assert found.doubt() is None


def test_parts_are_put_together() -> None:
    parts = [removed(CLEAN).as_summary(), removed(CLEAN + 10).as_summary()]
    whole = combine(parts, 25, doubtful=False)
    assert whole is not None
    assert whole.rms == pytest.approx(np.sqrt((parts[0]["rms"] ** 2 + parts[1]["rms"] ** 2) / 2))
    assert combine([], 25, doubtful=False) is None


def test_a_fit_that_goes_well_raises_no_alarm() -> None:
    clean = skimage.data.brick()[60:108, 60:108].astype(float)
    noisy = np.clip(np.rint(clean + np.random.default_rng(5).normal(0, 25, clean.shape)), 0, 255).astype(np.uint8)
    network = ["model.channels=16", "model.input_channels=8", "model.levels=3"]
    result = restore(noisy, model="unet", iterations=400, overrides=[*SETTINGS, *network, "stopping=none"])
    assert result.summary["stopping"]["unsure"] is None
    assert not result.summary["worse_than_observation"]
    assert result.summary["removed"] is not None
    assert result.summary["removed"]["times_sigma"] == pytest.approx(1, abs=0.2)


def test_a_fit_that_is_too_short_is_unsure(noisy: Path) -> None:
    result = restore(noisy, iterations=40, overrides=[*SETTINGS, "stopping=none", "model.channels=16"])
    assert "looks like picture" in str(result.summary["stopping"]["unsure"])
    assert any(remark.startswith("Unsure. What was removed is") for remark in result.summary["remarks"])


@pytest.mark.slow
@pytest.mark.parametrize("clean", [[], ["image.clean=clean.png"]])
def test_a_result_that_is_worse_is_written_and_ends_with_code_3(
    dip: Dip, noisy: Path, tmp_path: Path, clean: list[str]
) -> None:
    given = [*STUCK, "image.path=noisy.png", "image.sigma=15", *clean]
    told = dip(*given, "hydra.run.dir=run")
    assert told.code == 3
    assert "worse than" in told.out
    assert (tmp_path / "run" / "restored.png").is_file()
    assert read_summary(tmp_path / "run")["worse_than_observation"]
    # A few iterations are a trial, and a sweep measures.
    assert dip(*given, "iterations=299").code == 0
    assert dip("-m", *given, "seed=0", "hydra.sweep.dir=sweep").code == 0


@pytest.mark.slow
def test_tiles_that_are_worse_make_a_whole_that_is(noisy: Path) -> None:
    result = restore(noisy, overrides=[*STUCK, "image.sigma=15", "tile=16", "overlap=0"])
    assert result.is_worse
    assert "What was removed is" in str(result.summary["stopping"]["unsure"])


def test_a_folder_with_a_result_that_is_worse_ends_with_code_3(dip: Dip, noisy: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    noisy.rename(tmp_path / "photos" / "noisy.png")
    given = [*STUCK, "image.path=photos", "image.sigma=15"]
    told = dip(*given)
    assert told.code == 3
    assert "Worse than before: noisy.png" in told.out
    assert "Unsure of noisy.png: What was removed is" in told.out
    again = dip(*given)
    assert (again.code, "1 of them before" in again.out) == (3, True)
    (tmp_path / "photos" / "text.png").write_text("no image")
    assert dip(*given).code == 2


def test_a_run_that_went_on_tells_it_too(dip: Dip, noisy: Path, tmp_path: Path) -> None:
    given = [*STUCK, "image.path=noisy.png", "image.sigma=15", "hydra.run.dir=run"]
    assert dip(*given, "iterations=290").code == 0
    assert dip("resume=run", "iterations=310").code == 3


def test_what_was_handed_back_stands_beside_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a picture with holes: these are black, and what is known is as it was."""
    lost = np.zeros((32, 32), bool)
    lost[8:12, 10:20] = True
    Image.fromarray((~lost * np.uint8(255)).astype(np.uint8)).save(tmp_path / "mask.png")
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(figures, "draw_comparison", lambda path, panels: drawn.update(panels) or path.touch())
    clean = skimage.data.astronaut()[200:232, 200:232]
    holed = ["problem=inpaint", f"problem.mask={tmp_path / 'mask.png'}"]
    settings = [*SETTINGS, *holed, "iterations=4", "degradation=none", "image.range=[0,255]"]
    result = restore(clean, run_folder=tmp_path / "run", overrides=settings)
    observation, one_pass, restored = drawn
    assert (observation, one_pass) == ("observation", "last one-pass output")
    assert restored.startswith("restored, iteration ")
    assert (drawn[observation][lost] == 0).all()
    assert np.array_equal(drawn[restored][~lost], clean[~lost] / 255)
    np.testing.assert_allclose(drawn[restored], result.image / 255, atol=0.5 / 255 + 1e-9)
    seen = np.asarray(Image.open(tmp_path / "run" / "observation.png"))
    assert (seen[lost] == 0).all()
    assert np.array_equal(seen[~lost], clean[~lost])
