"""Inside a batch system a fit is one process on one device, ends in time, and goes on when the job is run again."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lightning_utilities.core import rank_zero
from PIL import Image

from dip_lightning import restore
from dip_lightning.config.compose import compose_config, register_resolvers
from dip_lightning.system.batch import batch_job, is_requeued
from tests.conftest import TINY_UNET, Outcome
from tests.system.test_terminal import read_until, start, summary_of

Dip = Callable[..., Outcome]
ROOT = Path(__file__).parents[2]
OVERRIDES = [o for o in TINY_UNET if o.startswith(("model.", "trainer"))]
JOB = {
    "SLURM_JOB_ID": "77",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_NAME": "denoise",
    "SLURM_NNODES": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODELIST": "localhost",
}
RANKS = [
    {**JOB, "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NTASKS_PER_NODE": "4"},
    {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"},
    {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "2"},
    {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "2"},
    {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_RANK": "2", "JSM_NAMESPACE_SIZE": "4"},
]


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "RANK", "LOCAL_RANK")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("environment", RANKS)
def test_a_fit_is_one_process_whatever_the_environment_says(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero.rank_zero_only, "rank", 3)  # as Lightning takes it from there when it is imported
    array = np.random.default_rng(0).integers(0, 256, (33, 41), dtype=np.uint8)
    restore(array, iterations=3, run_folder=tmp_path, overrides=OVERRIDES)
    (events,) = {path.stat().st_size > 1000 for path in tmp_path.glob("events*")} or {False}
    assert events
    assert (tmp_path / "hparams.yaml").exists()
    assert {name: os.environ[name] for name in environment} == environment


def test_a_job_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (batch_job(), is_requeued()) == (None, False)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert not is_requeued()
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert (batch_job(), is_requeued()) == ("77", True)
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")
    assert batch_job() == "70_5-task2"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert not is_requeued()


def folder_of(dip: Dip, *overrides: str) -> Path:
    told = dip(*TINY_UNET, "iterations=2", *overrides)
    assert told.code == 0, told
    return Path(next(line for line in told.out.splitlines() if line.startswith("Run folder: ")).partition(": ")[2])


def test_a_job_that_is_run_again_finds_its_folder_and_no_other_does(dip: Dip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    first, other = folder_of(dip), folder_of(dip, "seed=3")
    again = folder_of(dip)  # the same command twice in one job is two runs
    assert len({first, other, again}) == 3
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    told = dip(*TINY_UNET, "iterations=2")
    assert (told.code, told.out) == (0, f"finished before: {again}\n")
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert folder_of(dip) not in (first, other, again)
    register_resolvers()
    assert compose_config().image.path == "skimage:astronaut"


def stand_in(folder: Path) -> dict[str, str]:
    """A `scontrol` that writes down what it was asked, and a `dip` of this checkout."""
    folder.mkdir()
    scripts = {
        "scontrol": f'#!/bin/sh\necho "$@" >> {folder}/asked\n',
        "dip": f'#!/bin/sh\nexec {sys.executable} -m dip_lightning "$@"\n',
    }
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {**os.environ, **JOB, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGTERM])
def test_a_signal_of_the_batch_system_ends_a_fit_with_everything_written(
    number: signal.Signals, tmp_path: Path
) -> None:
    environment = stand_in(tmp_path / "bin")
    fit = [o for o in TINY_UNET if not o.startswith(("iterations", "callbacks.fit_progress"))]
    fit += ["hydra.run.dir=run", "callbacks.fit_progress.line_every=0.01", "iterations=400", "stopping=none"]
    (tmp_path / "cwd").mkdir()
    process = start(*fit, cwd=tmp_path / "cwd", env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    read_until(process.stderr.fileno(), b"iteration 2")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    run = tmp_path / "cwd" / "run"
    summary = summary_of(run)
    assert summary["signal"] == number
    assert 0 < summary["iterations"] < 400
    assert not (tmp_path / "bin" / "asked").exists()
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == ["run"]
    if number is signal.SIGUSR1:  # the same command goes on
        again = start(*fit, cwd=tmp_path / "cwd", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = again.communicate(timeout=100)
        assert again.returncode == 0
        assert b"Going on with the fit in" in out
        assert b"going on after" in err
        whole = summary_of(run)
        assert (whole["signal"], whole["iterations"]) == (None, 400)


@pytest.mark.slow
def test_the_script_of_the_documentation_requeues_its_job_and_goes_on(tmp_path: Path) -> None:
    """`docs/clusters.md`, with stand-ins for Slurm: the warning comes, the job is requeued and run again."""
    script = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", (ROOT / "docs" / "clusters.md").read_text(), re.DOTALL)[0]
    samples = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(samples).save(tmp_path / "noisy.png")
    tiny = [o for o in TINY_UNET if not o.startswith(("iterations", "image", "callbacks.fit"))]
    tiny += ["iterations=400", "stopping=none", "callbacks.fit_progress.line_every=0.01"]
    assert "dip image.path=noisy.png" in script
    text = script.replace("dip image.path=noisy.png", f"dip image.path=noisy.png {' '.join(tiny)}")
    (tmp_path / "job.sh").write_text(text)
    environment = stand_in(tmp_path / "bin")
    job = subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    assert job.stderr is not None
    read_until(job.stderr.fileno(), b"iteration 2")
    job.send_signal(signal.SIGUSR1)  # as --signal=B:USR1@120 does, to the shell
    job.communicate(timeout=60)
    assert (tmp_path / "bin" / "asked").read_text() == "requeue 77\n"
    (run,) = tmp_path.glob("outputs/*/*/summary.json")
    assert json.loads(run.read_text())["signal"] == signal.SIGUSR1
    environment["SLURM_RESTART_COUNT"] = "1"
    again = subprocess.run(
        ["bash", "job.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert (again.returncode, "Going on with the fit in" in again.stdout) == (0, True), again
    assert list(tmp_path.glob("outputs/*/*/summary.json")) == [run]
    assert json.loads(run.read_text())["iterations"] == 400
    assert (tmp_path / "bin" / "asked").read_text() == "requeue 77\n"
