"""Restoring from Python goes the way of the command line."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dip_lightning
from dip_lightning import UserError, restore
from tests.conftest import TINY_UNET

TINY = [o for o in TINY_UNET if o.startswith(("model.", "trainer"))]
ARRAY = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)


def test_an_array_is_restored() -> None:
    result = restore(ARRAY, iterations=4, overrides=TINY)
    assert result.image.shape == ARRAY.shape
    assert result.image.dtype == np.uint8
    assert result.summary["image"] == "array"
    assert result.summary["averaged"] is None
    assert len(result.curves["loss"]) == 4
    assert result.run_folder is None


def test_a_file_and_its_array_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "it's a ${seed} photo, x=1 grün.png"  # everything that a name may hold
    Image.fromarray(ARRAY).save(path)
    from_file = restore(path, iterations=4, overrides=TINY)
    assert np.array_equal(from_file.image, restore(ARRAY, iterations=4, overrides=TINY).image)


def test_settings_are_those_of_the_command_line(tmp_path: Path) -> None:
    result = restore(
        ARRAY[:, :, 0],
        clean=np.zeros((33, 41), np.uint8),
        model="unet",
        dropout=0.2,
        precision="fp64",
        seed=3,
        iterations=5,
        run_folder=tmp_path / "run",
        overrides=TINY,
    )
    summary = result.summary
    assert (summary["model"], summary["dropout"], summary["precision"]) == ("unet", 0.2, "fp64")
    assert (summary["seed"], summary["iterations"], summary["channels"]) == (3, 5, 1)
    assert summary["averaged"] is not None
    assert result.image.shape == (33, 41)
    assert (tmp_path / "run" / "summary.json").exists()


def test_noise_is_added_only_where_asked_for() -> None:
    noisy = restore(ARRAY, iterations=2, overrides=[*TINY, "degradation.sigma=50"])
    assert noisy.summary["sigma"] == 50
    assert noisy.summary["psnr_observation"] == pytest.approx(15, abs=1)


def test_mistakes_are_the_users_error() -> None:
    with pytest.raises(UserError, match="dropout=2"):
        restore(ARRAY, dropout=2, overrides=TINY)
    with pytest.raises(UserError, match="no file"):
        restore("missing.png", overrides=TINY)
    with pytest.raises(UserError, match="try model=unet"):
        restore(ARRAY, model="vgg")
    with pytest.raises(UserError, match="foo"):
        restore(ARRAY, foo=1)
    with pytest.raises(UserError, match=r"numpy\.asarray"):
        restore(ARRAY.tolist())


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    restore(ARRAY, iterations=2, overrides=TINY)
    assert torch.equal(torch.get_rng_state(), state)
    assert "PL_GLOBAL_SEED" not in os.environ


def test_the_package_names_what_it_offers() -> None:
    for name in dip_lightning.__all__:
        assert getattr(dip_lightning, name) is not None
    with pytest.raises(AttributeError):
        dip_lightning.nothing  # noqa: B018
