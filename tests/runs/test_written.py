"""Nothing that a run did not write itself is overwritten."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dip_lightning import UserError, restore
from dip_lightning.runs.written import WRITTEN, check_own
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]


def write_picture(path: Path) -> bytes:
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(path, "PNG")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["restored.png", "comparison.png", "curves.csv", "hparams.yaml", "summary.json"])
def test_a_file_of_the_users_is_kept_and_a_free_folder_named(dip: Dip, tmp_path: Path, name: str) -> None:
    before = write_picture(tmp_path / name)
    outcome = dip(*TINY_UNET, "hydra.run.dir=.")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert name in line
    assert str(tmp_path / "run-1") in line
    assert (tmp_path / name).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", ["metrics.csv", "hparams.yaml"])
def test_a_table_of_the_users_is_kept(dip: Dip, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "run" / "csv" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs\n")
    outcome = dip(*TINY_UNET, "hydra.run.dir=run", "logger=csv")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert f"{name} was not written by this run" in line
    assert str(tmp_path / "run" / "run-1") in line
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "theirs\n"


def test_a_run_writes_over_its_own_table(dip: Dip, tmp_path: Path) -> None:
    for seed in (0, 1):
        told = dip(*TINY_UNET, "stopping=none", "hydra.run.dir=run", "logger=csv", f"seed={seed}")
        assert told.code == 0, told.err
        with (tmp_path / "run" / "csv" / "metrics.csv").open() as file:
            assert [int(row["step"]) for row in csv.DictReader(file) if row["training/loss"]] == list(range(6))
        assert f"seed: {seed}" in (tmp_path / "run" / "csv" / "hparams.yaml").read_text()


@pytest.mark.parametrize("name", ["config.yaml", "hydra.yaml", "overrides.yaml"])
def test_the_configuration_of_another_program_is_kept(dip: Dip, tmp_path: Path, name: str) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / name).write_text("theirs: 1\n")
    outcome = dip(*TINY_UNET, "hydra.run.dir=.")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert f"{name} was not written by this run" in line
    assert str(tmp_path / "run-1") in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / ".hydra" / name]
    assert (tmp_path / ".hydra" / name).read_text() == "theirs: 1\n"


def test_a_run_writes_over_itself_but_not_over_a_picture_that_was_retouched(dip: Dip, tmp_path: Path) -> None:
    for _ in range(2):
        assert dip(*TINY_UNET, "hydra.run.dir=run").code == 0
    before = write_picture(tmp_path / "run" / "restored.png")
    outcome = dip(*TINY_UNET, "seed=1", "hydra.run.dir=run")
    assert outcome.code == 2
    assert "restored.png" in outcome.err
    assert (tmp_path / "run" / "restored.png").read_bytes() == before


def test_a_folder_of_an_earlier_version_is_taken_over(dip: Dip, tmp_path: Path) -> None:
    assert dip(*TINY_UNET, "hydra.run.dir=run").code == 0
    (tmp_path / "run" / WRITTEN).unlink()
    assert dip("resume=run", "iterations=8").code == 0
    assert set(json.loads((tmp_path / "run" / WRITTEN).read_text())) >= {"restored.png", "comparison.png"}
    (tmp_path / "run" / WRITTEN).unlink()
    (tmp_path / "run" / "summary.json").unlink()  # killed: only a checkpoint tells
    check_own(tmp_path / "run")


def test_python_keeps_what_is_in_a_folder(tmp_path: Path) -> None:
    before = write_picture(tmp_path / "curves.png")
    with pytest.raises(UserError, match=r"curves\.png was not written by this run"):
        restore(np.zeros((32, 32), np.uint8), run_folder=tmp_path, iterations=1)
    assert (tmp_path / "curves.png").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["multirun.yaml", "seed=1/.hydra/config.yaml", "seed=1/.hydra/overrides.yaml", "sweep.json"]
)
def test_a_sweep_keeps_the_configuration_of_another_program(dip: Dip, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "sweep" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs: 1\n")
    outcome = dip("-m", *TINY_UNET, "seed=1,2", "hydra.sweep.dir=sweep")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert f"{name} was not written by this sweep" in line
    assert "hydra.sweep.dir=" in line
    assert [path for path in (tmp_path / "sweep").rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "theirs: 1\n"


def test_a_sweep_goes_on_in_its_own_folder(dip: Dip, tmp_path: Path) -> None:
    command = ("-m", *TINY_UNET, "seed=1,2", "hydra.sweep.dir=sweep")
    assert dip(*command).code == 0
    assert dip(*command).code == 0
    assert b"dip_lightning" in (tmp_path / "sweep" / "multirun.yaml").read_bytes()
