"""Paths as people type them: of their home, of Windows, with any name, and meant from where the command was started."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from dip_lightning import UserError, restore
from dip_lightning.cli.arguments import settle_arguments
from dip_lightning.config.paths import expand_home, quote_for_shell, quoted, settle_override, settle_paths
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
SETTINGS = [o for o in TINY_UNET if "crop" not in o]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 33, 3), dtype=np.uint8)).save(path, "PNG")
    return path


def value_of(override: str) -> str:
    """What Hydra and OmegaConf make of it."""
    cfg = OmegaConf.create({"value": None})
    OmegaConf.update(cfg, "value", OverridesParser.create().parse_override(override).value())
    return str(cfg.value)


@given(st.text(st.characters(blacklist_characters="\0\n\r"), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_is_quoted_stands_for_itself(text: str) -> None:
    assert value_of(f"image.path={quoted(text)}") == text


@pytest.mark.parametrize(
    "name", ["it's (1).png", 'a"b.png', "a,b[1]{c}.png", "x=1 ${seed}.png", "123", "null", "e\\.png"]
)
def test_the_name_of_a_file_that_is_there_needs_no_quotes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / name)
    assert value_of(settle_override(f"image.path={name}")) == name


def test_what_is_no_name_is_left_to_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "photo.png")
    for override in (
        "image.path=photo.png",
        "image.path=a.png,b.png",
        "image.path=skimage:moon",
        "seed=1",
        "~lr",
        "lr",
    ):
        assert settle_override(override) == override


@pytest.mark.parametrize("value", [r"C:\Users\me\photo (1).png", r"\\server\share\x.png", "D:/pictures/é.png"])
def test_a_path_of_windows_is_what_it_says(value: str) -> None:
    for key in ("image.path", "image.clean", "hydra.run.dir"):
        assert value_of(settle_override(f"{key}={value}")) == value


def test_on_windows_a_line_to_type_is_told_for_its_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quote_for_shell("image.path", r"C:\a b") == """'image.path="C:\\a b"'"""
    monkeypatch.setattr("dip_lightning.config.paths.os.name", "nt")
    assert quote_for_shell("image.path", r"C:\a b") == "\"image.path='C:\\a b'\""


@pytest.mark.slow
def test_a_home_is_found_in_every_place(dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "my home (1)"
    picture(home / "photo.png")
    monkeypatch.setenv("HOME", str(home))
    for number, path in enumerate(("~/photo.png", '"~/photo.png"', "'~/photo.png'")):
        told = dip(*SETTINGS, f"image.path={path}", f"hydra.run.dir=~/run{number}")
        assert told.code == 0, told
        assert (home / f"run{number}" / "summary.json").exists()
    assert dip("resume=~/run0", "iterations=8").code == 0
    fitted = restore("~/photo.png", iterations=2, run_folder="~/python", overrides=SETTINGS[:4])
    assert (fitted.image.shape, (home / "python" / "summary.json").exists()) == ((32, 33, 3), True)
    assert dip("-m", *SETTINGS, "image.path=~/photo.png,~/photo.png", "hydra.sweep.dir=~/sweep", "seed=1,2").code == 0
    assert len(list(home.glob("sweep/*/summary.json"))) == 2
    cfg = OmegaConf.create({"image": {"path": "~/photo.png", "clean": None}})
    settle_paths(cfg, tmp_path)
    assert cfg.image.path == str(home / "photo.png")


def test_a_name_with_a_tilde_that_is_there_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "~" / "photo.png")
    assert expand_home("~/photo.png") == "~/photo.png"
    assert expand_home("~nobody-of-this-name/x.png") == "~nobody-of-this-name/x.png"
    assert expand_home("~draft.png") == "~draft.png"


@pytest.mark.parametrize("chosen", [["run.png"], ["pictures"]])
def test_a_relative_path_is_meant_from_where_the_command_was_started(
    chosen: list[str], dip: Dip, tmp_path: Path
) -> None:
    for name in ("run.png", "pictures/a.png", "clean/a.png"):
        picture(tmp_path / name)
    clean = [] if chosen == ["run.png"] else ["image.clean=clean"]
    told = dip(*SETTINGS, f"image.path={chosen[0]}", *clean, "hydra.job.chdir=true")
    assert told.code == 0, told
    told = dip("-m", *SETTINGS, f"image.path={chosen[0]}", "hydra.job.chdir=true", "seed=1,2")
    assert told.code == 0, told
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    ("typed", "settled"),
    [
        (["a=1", "--config-dir", "conf", "b=2"], ["a=1", "b=2", "--config-dir", "conf"]),
        (["a=1", "-m", "b=2"], ["a=1", "b=2", "-m"]),
        (["--cfg", "job", "x=1"], ["x=1", "--cfg", "job"]),
        (["--cfg=job", "x=1", "--resolve", "y=2"], ["x=1", "y=2", "--cfg=job", "--resolve"]),
        (["--info", "x=1"], ["x=1", "--info"]),
        (["--info", "defaults", "x=1"], ["x=1", "--info", "defaults"]),
        (["x=1", "--multi", "~y", "z=-1"], ["x=1", "~y", "z=-1", "--multi"]),
        (["-c", "job", "-p", "model", "x=1"], ["x=1", "-c", "job", "-p", "model"]),
    ],
)
def test_flags_may_stand_anywhere(typed: list[str], settled: list[str]) -> None:
    assert settle_arguments(typed) == settled


@pytest.mark.parametrize("typed", [["a=1", "--frobnicate", "b=2"], ["a=1", "--cfg"], ["--cfg", "jobs", "a=1"]])
def test_a_wrong_flag_costs_one_line(typed: list[str]) -> None:
    with pytest.raises(UserError, match=r"dip --help"):
        settle_arguments(typed)


def test_a_flag_between_overrides_does_what_it_does_elsewhere(dip: Dip, tmp_path: Path) -> None:
    assert dip(*SETTINGS[:3], "image.crop=32", "-m", "iterations=2", "seed=1,2").code == 0
    assert len(list(tmp_path.glob("outputs/multirun/*/*/summary.json"))) == 2
    told = dip("seed=7", "--cfg", "job", "lr=0.5")
    assert (told.code, "seed: 7" in told.out, "lr: 0.5" in told.out) == (0, True, True)
    assert os.listdir(tmp_path) == ["outputs"]  # noqa: PTH208 - names are what is compared
