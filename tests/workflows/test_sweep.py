import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from dip_lightning.callbacks import PeakPSNR
from dip_lightning.config.compose import compose_config, config_folder
from dip_lightning.fitting.resume_check import read_digest
from dip_lightning.module import DeepImagePrior
from dip_lightning.runs.status import fingerprint, is_finished
from dip_lightning.workflows.restore import fit
from hydra_plugins.dip_sweeper import BlockSweeper
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
EXPERIMENTS = sorted(
    path.stem
    for path in (config_folder() / "experiment").glob("*.yaml")
    if "MULTIRUN" in path.read_text(encoding="utf-8")
)
# Of an experiment's own networks only the width is changed.
NARROW = (
    *("trainer=cpu", "model.channels=8", "model.input_channels=4"),
    *("logger=none", "callbacks.pictures=null", "callbacks.fit_progress=null"),
)
# The jobs that each is to have on a CPU.
JOBS = {"noise": 8, "precision": 9, "seeds": 5, "structure": 37, "table1": 8, "width": 3}


def summaries(folder: Path) -> list[dict[str, Any]]:
    """Of the jobs of a sweep, in their order."""
    sweep = next(folder.rglob("sweep.json"))
    records = [sweep.parent / job / "summary.json" for job in json.loads(sweep.read_text(encoding="utf-8"))["jobs"]]
    records = [record for record in records if record.is_file()]
    assert len(records) == len(list(folder.rglob("summary.json")))
    return [json.loads(record.read_text(encoding="utf-8")) for record in records]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_goes_through(experiment: str, dip: Dip, tmp_path: Path) -> None:
    outcome = dip("-m", f"experiment={experiment}", "size=tiny", *NARROW)
    assert outcome.code == 0, outcome.err
    (sweep,) = (tmp_path / "outputs" / "multirun").iterdir()
    assert sweep.name.startswith(f"{experiment}-tiny-")
    done = summaries(sweep)
    assert len(done) == JOBS[experiment]
    assert {summary["height"] for summary in done} == {40}
    # No two jobs are the same fit.
    assert len({summary["fingerprint"] for summary in done}) == len(done)


def test_table_1_is_the_papers_four_networks_at_its_size() -> None:
    cfg = compose_config(["experiment=table1"])
    assert cfg.iterations == 5000
    assert cfg.image.crop is None
    node = yaml.safe_load((config_folder() / "experiment" / "table1.yaml").read_text(encoding="utf-8"))
    assert node["hydra"]["sweeper"]["blocks"] == {
        "plain": {"model": "unet,resnet"},
        "residual_unet": {"model": "resunet", "dropout": "0,0.1"},
    }


@pytest.mark.parametrize(("size", "side", "iterations"), [("medium", 128, 2000), ("small", 64, 1500)])
def test_a_size_sets_what_the_command_line_does_not(size: str, side: int, iterations: int) -> None:
    cfg = compose_config(["experiment=table1", f"size={size}"])
    assert (cfg.image.crop, cfg.iterations) == (side, iterations)
    cfg = compose_config(["experiment=table1", f"size={size}", "iterations=7", "image.crop=33"])
    assert (cfg.image.crop, cfg.iterations) == (33, 7)


def test_the_experiment_of_width_has_uniform_and_tapered_networks() -> None:
    node = yaml.safe_load((config_folder() / "experiment" / "width.yaml").read_text(encoding="utf-8"))
    jobs = jobs_of(BlockSweeper(**node["hydra"]["sweeper"]))
    assert len(jobs) == 2 * 5 + 4 + 2 * 3 + 2
    assert ["model=unet", "model.channels=[16,32,64,128,128]"] in jobs


def jobs_of(sweeper: BlockSweeper, *overrides: str) -> list[list[str]]:
    return sweeper.make_jobs(OverridesParser.create(), list(overrides))


def test_blocks_are_joined_and_multiplied_by_what_they_share() -> None:
    sweeper = BlockSweeper(params={"seed": "0,1"}, blocks={"a": {"m": "u"}, "b": {"m": "r", "p": "0,1", "x": False}})
    assert jobs_of(sweeper) == [
        ["m=u", "seed=0"],
        ["m=u", "seed=1"],
        ["m=r", "p=0", "x=False", "seed=0"],
        ["m=r", "p=0", "x=False", "seed=1"],
        ["m=r", "p=1", "x=False", "seed=0"],
        ["m=r", "p=1", "x=False", "seed=1"],
    ]


def test_the_command_line_wins_and_what_it_makes_alike_is_run_once() -> None:
    sweeper = BlockSweeper(blocks={"a": {"m": "u"}, "b": {"m": "r,v"}})
    assert jobs_of(sweeper, "m=k", "seed=1,2") == [["m=k", "seed=1"], ["m=k", "seed=2"]]


def test_without_blocks_it_is_hydras_sweep() -> None:
    assert jobs_of(BlockSweeper(), "a=1,2", "b=3") == [["a=1", "b=3"], ["a=2", "b=3"]]


def test_the_same_sweep_started_again_does_only_what_is_missing(dip: Dip, tmp_path: Path) -> None:
    sweep = ("-m", *TINY_UNET, "seed=0,1,2")
    assert dip(*sweep).code == 0
    records = sorted(tmp_path.rglob("summary.json"))
    before = [record.stat().st_mtime_ns for record in records]
    records[0].unlink()  # as if it had been killed
    interrupted = json.loads(records[2].read_text()) | {"signal": 15}
    records[2].write_text(json.dumps(interrupted))
    outcome = dip(*sweep)
    assert outcome.code == 0
    assert "job 1 (seed=1): finished before" in outcome.out
    assert outcome.out.count("finished before") == 1
    after = [record.stat().st_mtime_ns for record in sorted(tmp_path.rglob("summary.json"))]
    assert len(after) == 3
    assert after[1] == before[1]
    assert after[0] != before[0]
    assert json.loads(records[2].read_text())["signal"] is None
    # TensorBoard would draw the curves of both fits of a job that was done twice.
    events = [len(list(record.parent.glob("events.out*"))) for record in records]
    assert len(set(events)) == 1


def test_a_job_is_named_by_what_tells_it_from_the_others(dip: Dip, tmp_path: Path) -> None:
    told = dip("-m", *TINY_UNET, "dropout=0,0.1", "model=unet", "seed=1,2", "hydra.sweep.dir=sweep")
    assert told.code == 0
    names = ["dropout=0,seed=1", "dropout=0,seed=2", "dropout=0.1,seed=1", "dropout=0.1,seed=2"]
    assert sorted(path.parent.name for path in (tmp_path / "sweep").glob("*/summary.json")) == names
    for number, name in enumerate(names):
        assert f"job {number} ({name}): 6 iterations" in told.out
    # It can be gone on with by that name, which holds commas and equal signs.
    assert dip(f"resume=sweep/{names[2]}", "iterations=8").code == 0
    assert json.loads((tmp_path / "sweep" / names[2] / "summary.json").read_text())["iterations"] == 8
    assert len(list((tmp_path / "sweep" / names[0]).glob("events.out*"))) == 1


def test_a_folder_that_was_asked_for_is_the_folder_of_a_job(dip: Dip, tmp_path: Path) -> None:
    own = "hydra.sweep.subdir='of ${hydra.job.num}'"
    assert dip("-m", *TINY_UNET, "seed=1,2", "hydra.sweep.dir=sweep", own).code == 0
    assert sorted(path.parent.name for path in (tmp_path / "sweep").glob("*/summary.json")) == ["of 0", "of 1"]
    # What another program has in such a folder is kept.
    theirs = tmp_path / "other" / "of 1" / ".hydra" / "overrides.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("- mine\n")
    refused = dip("-m", *TINY_UNET, "seed=1,2", "hydra.sweep.dir=other", own)
    assert (refused.code, list((tmp_path / "other").iterdir())) == (2, [theirs.parents[1]])
    assert "of 1/.hydra/overrides.yaml was not written by this sweep" in refused.err


def test_a_mistake_in_any_job_is_told_before_the_first(dip: Dip, tmp_path: Path) -> None:
    refused = dip("-m", *TINY_UNET, "seed=1,a", "hydra.sweep.dir=sweep")
    assert (refused.code, refused.err) == (
        2,
        "dip: seed=a: expected a whole number of at least 0, at most 4294967295; try seed=0\n",
    )
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_a_sweep_begun_under_numbers_goes_on(dip: Dip, tmp_path: Path) -> None:
    command = ("-m", *TINY_UNET, "seed=0,1,2")
    numbers = "hydra.sweep.subdir='${hydra.job.num}'"  # as it was before jobs had names
    assert dip(*command, numbers).code == 0
    (sweep,) = (tmp_path / "outputs" / "multirun").iterdir()
    (sweep / "sweep.json").unlink()
    (sweep / "2" / "summary.json").unlink()  # as if it had been killed
    before = [(sweep / job / "summary.json").stat().st_mtime_ns for job in "01"]
    outcome = dip(*command)
    assert outcome.code == 0
    assert outcome.out.count("finished before") == 2
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == ["0", "1", "2"]
    assert [(sweep / job / "summary.json").stat().st_mtime_ns for job in "01"] == before
    assert (sweep / "2" / "summary.json").is_file()
    # Another sweep in the same folder is no such one.
    assert dip("-m", *TINY_UNET, "seed=7,8", f"hydra.sweep.dir={sweep}").code == 0
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == ["0", "1", "2", "seed=7", "seed=8"]


def test_a_sweep_does_a_job_anew_of_another_picture_however_old_its_file_is(dip: Dip, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((32, 32)).save(tmp_path / "one.png")
    sweep = ("-m", *(o for o in TINY_UNET if "crop" not in o), "image.path=one.png", "seed=0")
    dip(*sweep)
    assert "finished before" in dip(*sweep).out
    Image.radial_gradient("L").resize((32, 32)).save(tmp_path / "one.png")
    os.utime(tmp_path / "one.png", (0, 0))
    again = dip(*sweep).out
    assert "finished before" not in again
    assert "job 0: done anew, since it was of other settings, other pixels or an earlier version: " in again
    assert "finished before" in dip(*sweep).out


@pytest.mark.slow
def test_a_sweep_goes_on_inside_the_job_that_was_killed(
    dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = ("-m", *TINY_UNET, "seed=0,1,2", "callbacks.checkpoint.iterations=2")
    assert dip(*sweep, "hydra.sweep.dir=whole").code == 0
    step = DeepImagePrior.training_step
    steps: list[tuple[int, int]] = []

    def killed(self: DeepImagePrior, batch: object, batch_idx: int) -> torch.Tensor:
        done = self.first_iteration + batch_idx
        if len(steps) == 6 + 5:  # in the second job, after five of six iterations
            raise SystemExit(137)
        steps.append((self.first_iteration, done))
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DeepImagePrior, "training_step", killed)
        assert dip(*sweep, "hydra.sweep.dir=parts").code == 137
        assert len(steps) == 11
        steps.extend([(0, 0)] * 100)
        assert dip(*sweep, "hydra.sweep.dir=parts").code == 0
    # The first job not at all, the second from its last checkpoint on, the third from the beginning.
    assert steps[111:] == [(4, 4), (4, 5), *((0, iteration) for iteration in range(6))]
    for job in "012":
        whole, parts = (tmp_path / name / f"seed={job}" / "curves.csv" for name in ("whole", "parts"))
        assert whole.read_text() == parts.read_text()


def test_a_run_counts_as_finished_only_for_its_own_settings_and_picture(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.linear_gradient("L").save(picture)
    settings = [*TINY_UNET, f"image.path={picture}", "stopping=none"]
    run = tmp_path / "run"

    def finished(*overrides: str) -> bool:
        cfg = compose_config([*settings, *overrides])
        return is_finished(run, cfg, partial(read_digest, cfg))

    assert not finished()
    fit(compose_config(settings), run)
    assert finished()
    assert finished("logger=none")
    assert not finished("lr=0.02")
    # Whatever the dates of files are, their pixels are compared.
    written = (run / "summary.json").stat().st_mtime
    os.utime(picture, (written + 10, written + 10))
    assert finished()
    Image.radial_gradient("L").save(picture)
    os.utime(picture, (written - 10, written - 10))
    assert not finished()
    picture.write_text("no picture")
    assert not finished()
    picture.unlink()
    assert finished()


def test_the_fingerprint_is_of_what_decides_the_result() -> None:
    base = fingerprint(compose_config([*TINY_UNET]))
    assert base == fingerprint(compose_config([*TINY_UNET, "callbacks.pictures=null", "save_checkpoint=false"]))
    for change in ("seed=1", "model.levels=3", "stopping=none", "precision=fp64", "degradation.seed=3"):
        assert fingerprint(compose_config([*TINY_UNET, change])) != base


def alive() -> list[object]:
    gc.collect()
    return [held for held in gc.get_objects() if type(held) in (DeepImagePrior, PeakPSNR)]


@pytest.mark.slow
def test_a_job_leaves_nothing_to_the_next(dip: Dip, tmp_path: Path) -> None:
    jobs = ("precision=fp64,fp32", "seed=3,4", "trainer.deterministic=true")
    handlers, levels = list(logging.getLogger().handlers), logging.getLogger("pytorch_lightning").level
    default, state = torch.get_default_dtype(), torch.random.get_rng_state()
    before = alive()
    assert dip("-m", *TINY_UNET, *jobs).code == 0
    assert len(alive()) == len(before)  # "before" keeps what is left of other tests alive, so none can end meanwhile
    # Hydra sets its own log up for each job; it must not grow with their number.
    assert len(logging.getLogger().handlers) <= max(len(handlers), 2)
    assert logging.getLogger("pytorch_lightning").level == levels
    assert torch.get_default_dtype() is default
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)
    # The last job of four equals the same fit alone.
    alone = fit(compose_config([*TINY_UNET, "precision=fp32", "seed=4", "trainer.deterministic=true"]))
    last = summaries(tmp_path)[3]
    assert (last["precision"], last["seed"]) == ("fp32", 4)
    assert last["averaged"] == alone.summary["averaged"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"],
    ],
    ids=["joblib", "submitit_local"],
)
def test_other_launchers_do_the_same_sweep(launcher: list[str], tmp_path: Path) -> None:
    # In a process of its own: these launchers start further ones, which must find everything by themselves.
    command = [sys.executable, "-m", "dip_lightning", "-m", *TINY_UNET, "image.crop=9999,32", *launcher]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "1 of 2 jobs failed" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert [summary["width"] for summary in summaries(tmp_path / "outputs")] == [32]
    command = command[: -len(launcher)]
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    # Whoever launched them, they are the jobs of one sweep.
    assert again.stdout.count("finished before") == 1


@pytest.mark.slow
def test_table_1_is_in_the_precisions_of_the_size(dip: Dip, tmp_path: Path) -> None:
    """In float32 alone where the machine is small; the other sizes compare float64 with it."""
    assert dip("-m", "experiment=table1", "size=small", *NARROW, "iterations=1", "image.crop=40").code == 0
    assert {summary["precision"] for summary in summaries(tmp_path)} == {"fp32"}
