"""A folder of pictures: each in a run folder of its own, bad files reported, a second start going on."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dip_lightning.callbacks import OutputEMA
from dip_lightning.config.compose import compose_config
from dip_lightning.data.folder import find_pictures
from dip_lightning.errors import UserError
from dip_lightning.fitting.resume_check import resumable
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
SETTINGS = [*(o for o in TINY_UNET if "crop" not in o), "image.path=photos"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures (one with a name that a console might turn into a smiley), a text named like one, and no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("b.jpg", (32, 40, 3)), ("a :cat:.PNG", (33, 32))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(folder / name)
    (folder / "c.png").write_text("no image")
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden.png").write_text("nothing")
    (folder / "sub.png").mkdir()
    return folder


def runs(tmp_path: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in tmp_path.glob("outputs/folders/*/*/summary.json")}


def test_every_picture_is_restored_and_a_bad_one_is_reported_at_the_end(dip: Dip, photos: Path, tmp_path: Path) -> None:
    told = dip(*SETTINGS)
    assert told.code == 2
    assert set(runs(tmp_path)) == {"a :cat:.PNG", "b.jpg"}
    assert (runs(tmp_path)["b.jpg"] / "restored.jpg").exists()
    assert (runs(tmp_path)["a :cat:.PNG"] / "restored.png").exists()
    assert "1/3 a :cat:.PNG: σ = " in told.out
    assert "2 of 3 pictures restored." in told.out
    assert "Failed, c.png: photos/c.png is no image that can be read" in told.out
    assert "Traceback" not in told.out + told.err


def test_the_width_that_suits_the_machine_is_no_other_setting(dip: Dip, photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").unlink()
    as_wide_as_suits = ["model.levels=1", "iterations=3", "image.path=photos"]
    dip(*as_wide_as_suits)
    assert "2 of 2 pictures restored, 2 of them before." in dip(*as_wide_as_suits).out
    # Nor is a checkpoint of such a fit one of another.
    cfg = compose_config(["model.levels=1", "iterations=5", f"image.path={photos}"])
    assert resumable(runs(tmp_path)["b.jpg"], cfg, image=photos / "b.jpg") is not None
    cfg.model.channels = 16
    assert resumable(runs(tmp_path)["b.jpg"], cfg, image=photos / "b.jpg") is None


def test_a_second_start_passes_over_what_is_there(dip: Dip, photos: Path, tmp_path: Path) -> None:
    dip(*SETTINGS)
    before = {name: (run / "summary.json").stat().st_mtime_ns for name, run in runs(tmp_path).items()}
    (photos / "c.png").unlink()
    told = dip(*SETTINGS)
    assert told.code == 0
    assert "2 of 2 pictures restored, 2 of them before." in told.out
    assert before == {name: (run / "summary.json").stat().st_mtime_ns for name, run in runs(tmp_path).items()}
    # A picture that is another one now is restored again, however old its file is, and one of the same pixels is not.
    later = (runs(tmp_path)["a :cat:.PNG"] / "summary.json").stat().st_mtime + 10
    os.utime(photos / "a :cat:.PNG", (later, later))
    Image.new("RGB", (40, 32), (90, 20, 60)).save(photos / "b.jpg")
    os.utime(photos / "b.jpg", (0, 0))
    assert "2 of 2 pictures restored, 1 of them before." in dip(*SETTINGS).out
    after = {name: (run / "summary.json").stat().st_mtime_ns for name, run in runs(tmp_path).items()}
    assert {name for name, stamp in after.items() if stamp != before[name]} == {"b.jpg"}
    # Other settings have a place of their own.
    assert "2 of 2 pictures restored." in dip(*SETTINGS, "seed=5").out


def test_results_lie_side_by_side_under_the_pictures_own_names(dip: Dip, photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").unlink()
    Image.new("RGB", (36, 32), (90, 20, 60)).save(photos / "b.png")
    told = dip(*SETTINGS)
    (folder,) = tmp_path.glob("outputs/folders/*/restored")
    assert f"Restored pictures: {folder}" in told.out.replace("\n", "")
    names = {"a :cat:.PNG", "b.jpg", "b.png"}
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == names
    for name in names:
        (own,) = runs(tmp_path)[name].glob("restored.*")
        assert (folder / name).read_bytes() == own.read_bytes()
    # What somebody has retouched stays, what was lost comes back, and what a run said of itself is said again.
    (folder / "b.jpg").write_bytes(b"retouched")
    (folder / "b.png").unlink()
    again = dip(*SETTINGS)
    assert again.code == 2
    assert "b.jpg was not written by this run" in again.out
    assert (folder / "b.jpg").read_bytes() == b"retouched"
    assert (folder / "b.png").exists()
    assert again.out.count("Unsure of") == told.out.count("Unsure of") > 0


def test_a_file_of_the_users_among_the_results_is_told_before_the_first_fit(
    dip: Dip, photos: Path, tmp_path: Path
) -> None:
    (photos / "c.png").unlink()
    theirs = tmp_path / "run" / "restored" / "b.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs\n")
    (tmp_path / "run" / "run-1").mkdir()
    told = dip(*SETTINGS, "hydra.run.dir=run")
    assert told.code == 2
    (line,) = told.err.splitlines()
    assert "b.jpg was not written by this run" in line
    assert f"hydra.run.dir={tmp_path / 'run' / 'run-2'}" in line
    assert not list(tmp_path.rglob("summary.json"))
    assert theirs.read_text() == "theirs\n"
    # One that was retouched, of a picture that would be fitted again, is known as soon.
    theirs.unlink()
    assert dip(*SETTINGS, "hydra.run.dir=run").code == 0
    theirs.write_text("retouched\n")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    told = dip(*SETTINGS, "hydra.run.dir=run", "seed=5")
    assert (told.code, len(told.err.splitlines())) == (2, 1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == before
    assert theirs.read_text() == "retouched\n"


def test_another_picture_does_not_go_on_with_what_was_begun(
    dip: Dip, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "c.png").unlink()
    (photos / "a :cat:.PNG").unlink()
    average = OutputEMA.on_train_batch_end

    def interrupt(self: OutputEMA, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        average(self, trainer, module, outputs, batch, batch_idx)
        if batch_idx == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(OutputEMA, "on_train_batch_end", interrupt)
        assert dip(*SETTINGS).code == 130
    Image.new("RGB", (40, 32), (90, 20, 60)).save(photos / "b.jpg")
    os.utime(photos / "b.jpg", (0, 0))
    told = dip(*SETTINGS)
    assert told.code == 0, told.out
    assert "1 of 1 pictures restored." in told.out


def test_an_interrupted_folder_goes_on_where_it_was(
    dip: Dip, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "c.png").unlink()
    average = OutputEMA.on_train_batch_end

    def interrupt(self: OutputEMA, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        average(self, trainer, module, outputs, batch, batch_idx)
        if batch_idx == 3 and module.problem.observation.shape[-2:] == (32, 40):  # b.jpg
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(OutputEMA, "on_train_batch_end", interrupt)
        told = dip(*SETTINGS)
    assert told.code == 130
    assert "1 of 2 pictures restored" in told.out
    assert json.loads((runs(tmp_path)["b.jpg"] / "summary.json").read_text())["signal"] == signal.SIGINT
    told = dip(*SETTINGS)
    assert told.code == 0
    assert "2 of 2 pictures restored, 1 of them before." in told.out
    assert json.loads((runs(tmp_path)["b.jpg"] / "summary.json").read_text())["signal"] is None
    events = EventAccumulator(str(runs(tmp_path)["b.jpg"])).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == list(range(6))


def test_clean_pictures_of_the_same_names_are_measured_against(dip: Dip, photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").unlink()
    clean = tmp_path / "clean"
    clean.mkdir()
    for name, size in (("a :cat:.PNG", (32, 33)), ("b.jpg", (40, 32))):
        Image.new("L" if ":cat:" in name else "RGB", size).save(clean / name)
    assert dip(*SETTINGS, "image.clean=clean").code == 0
    assert all(json.loads((run / "summary.json").read_text())["psnr_observation"] for run in runs(tmp_path).values())
    assert "a folder too" in dip(*SETTINGS, "image.clean=skimage:camera").err


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picture in"):
        find_pictures(tmp_path)
    (tmp_path / "of a day").mkdir()
    (tmp_path / "of a day" / "a.jpg").touch()
    with pytest.raises(UserError, match=r"one folder at a time: try image.path='.*/of a day'$"):
        find_pictures(tmp_path)


def test_however_the_folder_is_spelled_it_is_the_same_command(dip: Dip, photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").unlink()
    dip(*SETTINGS)
    for spelled in ("photos/", "./photos", str(photos), f"{photos}/../photos"):
        told = dip(*(o for o in SETTINGS if "path" not in o), f"image.path={spelled}")
        assert "2 of 2 pictures restored, 2 of them before." in told.out


def test_a_picture_whose_result_was_lost_is_restored_again(dip: Dip, photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").unlink()
    dip(*SETTINGS)
    (runs(tmp_path)["b.jpg"] / "restored.jpg").unlink()
    assert "2 of 2 pictures restored, 1 of them before." in dip(*SETTINGS).out
    (runs(tmp_path)["b.jpg"] / "summary.json").write_text("[")
    assert "2 of 2 pictures restored, 1 of them before." in dip(*SETTINGS).out


def test_a_mistake_in_the_settings_is_told_once(dip: Dip, photos: Path) -> None:
    told = dip(*SETTINGS, "data_term=l2")
    assert told.code == 2
    assert told.out.count("data_term=l2") == 1
    assert "Failed, a :cat:.PNG, b.jpg" in told.out
