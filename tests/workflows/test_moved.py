"""Going on when the picture has moved, and by the same command in the same folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dip_lightning.runs.checkpoint_file import find_checkpoint, read_checkpoint, write_checkpoint
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
SETTINGS = [*(o for o in TINY_UNET if "crop" not in o), "stopping=none"]


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 33, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def moved(dip: Dip, tmp_path: Path) -> Path:
    """A run whose picture and clean picture have moved since, to `b/`."""
    picture(tmp_path / "a" / "noisy.png")
    picture(tmp_path / "a" / "clean.png", 1)
    told = dip(*SETTINGS, "image.path=a/noisy.png", "image.clean=a/clean.png", "hydra.run.dir=run")
    assert told.code == 0, told
    (tmp_path / "a").rename(tmp_path / "b")
    return tmp_path / "run"


@pytest.mark.parametrize("checkpoint", [True, False])
def test_where_it_was_looked_for_is_told_and_where_it_is_now_can_be(dip: Dip, moved: Path, checkpoint: bool) -> None:
    if not checkpoint:
        shutil.rmtree(moved / "checkpoints")
        (moved / "summary.json").unlink()
    more = ["iterations=9"]
    told = dip("resume=run", *more)
    assert (told.code, len(told.err.splitlines())) == (2, 1)
    assert f"no file {moved.parent / 'a' / 'noisy.png'}" in told.err
    assert "dip resume=run image.path=PLACE" in told.err
    told = dip("resume=run", *more, "image.path=b/noisy.png")
    assert (told.code, "dip resume=run image.clean=PLACE" in told.err) == (2, True)
    told = dip("resume=run", *more, "image.path=b/noisy.png", "image.clean='b/clean.png'")
    assert told.code == 0, told
    summary = json.loads((moved / "summary.json").read_text())
    assert (summary["iterations"], summary["image"]) == (9, "b/noisy.png")


def test_another_picture_in_its_place_is_refused(dip: Dip, moved: Path) -> None:
    picture(moved.parent / "b" / "other.png", 5)
    told = dip("resume=run", "iterations=9", "image.path=b/other.png", "image.clean=b/clean.png")
    assert (told.code, "is of another picture" in told.err) == (2, True)


def test_the_same_command_goes_on_in_its_folder_and_another_begins_anew(dip: Dip, tmp_path: Path) -> None:
    picture(tmp_path / "noisy.png")
    command = [*SETTINGS, "image.path=noisy.png", "hydra.run.dir=run", "callbacks.checkpoint.iterations=2"]
    assert dip(*command).code == 0
    whole = (tmp_path / "run" / "curves.csv").read_bytes()
    # As it lies there after a kill in the fifth iteration: a checkpoint, and no record.
    assert dip(*command, "iterations=4").code == 0
    state = read_checkpoint(find_checkpoint(tmp_path / "run") or Path())
    state["config"]["iterations"] = state["iterations"] = 6
    (tmp_path / "run" / "summary.json").unlink()
    write_checkpoint(tmp_path / "run", state)
    told = dip(*command)
    assert (told.code, "Going on with the fit in" in told.out) == (0, True), told
    assert (tmp_path / "run" / "curves.csv").read_bytes() == whole
    told = dip(*command)  # finished: anew
    assert (told.code, "Going on" in told.out) == (0, False)
    (tmp_path / "run" / "summary.json").unlink()
    told = dip(*command, "lr=0.5")  # another fit
    assert (told.code, "Going on" in told.out) == (0, False)
