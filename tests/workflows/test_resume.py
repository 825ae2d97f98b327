"""Whatever ends a fit, it goes on to the very result that it would have had; with real processes and real signals."""

import io
import json
import os
import pickle
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.resume_check import resumable
from dip_lightning.runs.checkpoint_file import read_checkpoint, write_checkpoint
from dip_lightning.workflows.restore import fit
from tests.conftest import TINY_UNET, Outcome
from tests.forked import run_forked

Dip = Callable[..., Outcome]

# Every 7 iterations a checkpoint; rules that settle late, a guard that looks seldom, evaluation at its own cadence.
SETTINGS = [
    *(o for o in TINY_UNET if not o.startswith("iterations")),
    *("iterations=60", "callbacks.checkpoint.iterations=7", "callbacks.peak_psnr.eval_every=9"),
    *("stopping.min_iterations=5", "stopping.rules.wmv.window=6", "trainer.log_every_n_steps=10"),
    *("callbacks.divergence_guard.check_every=3", "callbacks.pictures.every=20"),
]
# What differs from one run of the same fit to the next.
TIMES = ("seconds", "seconds_per_iteration", "seconds_compiling", "peak_memory_mb", "memory_estimate_mb")

# Runs `dip` in a process of its own, and does something to it at the end of certain iterations, before the checkpoint.
DRIVER = """
import json, os, resource, shutil, signal, sys
from pathlib import Path
from dip_lightning.cli import main as cli
from dip_lightning.callbacks import Checkpoint

deeds = json.loads(sys.argv.pop(1))
before = Checkpoint.on_train_batch_end

def on_train_batch_end(self, trainer, module, *rest):
    exec(deeds.get(str(module.iterate.iteration), ""), globals(), {"run": self.run_folder})
    before(self, trainer, module, *rest)

Checkpoint.on_train_batch_end = on_train_batch_end
cli.main()
"""


def dip_that(deeds: dict[int, str], *overrides: str, cwd: Path) -> CompletedProcess[str]:
    """Run ``dip`` in a process of its own that does ``deeds[i]`` in iteration i."""
    where = [] if any(override.startswith("resume=") for override in overrides) else ["hydra.run.dir=run"]
    return run_forked(DRIVER, json.dumps(deeds), *overrides, *where, cwd=cwd)


def kill(number: signal.Signals) -> str:
    return f"os.kill(os.getpid(), {int(number)})"


def results(run: Path) -> dict[str, Any]:
    summary = json.loads((run / "summary.json").read_text())
    kept = {key: value for key, value in summary.items() if key not in TIMES}
    files = {name: (run / name).read_bytes() for name in ("curves.csv", "restored.png", "observation.png")}
    return kept | files


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Return a function that fits without interruption, once for each choice of overrides."""
    done: dict[tuple[str, ...], dict[str, Any]] = {}

    def run(*overrides: str) -> dict[str, Any]:
        if overrides not in done:
            folder = tmp_path_factory.mktemp("uninterrupted")
            fit(compose_config([*SETTINGS, *overrides]), folder)
            done[overrides] = results(folder)
        return done[overrides]

    return run


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    done = dip_that({30: kill(signal.SIGKILL)}, *SETTINGS, cwd=folder)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return folder / "run"


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """A run that was killed in iteration 30, of which there are checkpoints after 21 and 28 iterations."""
    return shutil.copytree(killed_once, tmp_path / "run")


@pytest.mark.parametrize(
    ("at", "overrides"),
    [
        (13, []),
        (34, ["model=unet", "precision=bf16", "callbacks.detection=null", "channels_last=false", "select=one_pass"]),
        (27, ["model=leanunet", "precision=bf16", "alpha=growing", "image.crop=[0,0,33,37]"]),
        (52, ["precision=fp64", "stopping=all", "degradation=impulse", "callbacks.divergence_guard.max_drop_db=0.2"]),
    ],
)
def test_a_killed_fit_goes_on_to_the_same_result_to_the_last_bit(
    dip: Dip, tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]], at: int, overrides: list[str]
) -> None:
    done = dip_that({at: kill(signal.SIGKILL)}, *SETTINGS, *overrides, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "summary.json").exists()
    told = dip("resume=run")
    assert told.code == 0
    assert results(tmp_path / "run") == uninterrupted(*overrides)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_fit_that_is_killed_twice_and_stops_by_itself_goes_on_to_the_same_result(
    dip: Dip, tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]]
) -> None:
    overrides = ["lr=0.1", "alpha=0.8", "stopping.patience=12", "callbacks.checkpoint.iterations=5", "iterations=400"]
    expected = uninterrupted(*overrides)
    ends = expected["iterations"]
    assert 25 < ends < 400
    dip_that({12: kill(signal.SIGKILL)}, *SETTINGS, *overrides, cwd=tmp_path)
    again = dip_that({ends - 3: kill(signal.SIGKILL)}, "resume=run", cwd=tmp_path)
    assert again.returncode == -signal.SIGKILL
    assert dip("resume=run").code == 0
    assert results(tmp_path / "run") == expected


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_results_and_the_way_to_go_on(
    dip: Dip, tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]], number: signal.Signals, code: int
) -> None:
    done = dip_that({24: kill(number)}, *SETTINGS, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert f"To go on: dip resume={tmp_path / 'run'}" in done.stdout.replace("\n", "")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["signal"] == number
    assert summary["iterations"] in (25, 26)  # the signal comes after or before the verdict on iteration 24
    assert (tmp_path / "run" / "restored.png").exists()
    told = dip(f"resume={tmp_path / 'run'}")
    assert told.code == 0
    assert results(tmp_path / "run") == uninterrupted()


def test_a_signal_in_the_last_iteration_interrupts_nothing(dip: Dip, tmp_path: Path) -> None:
    done = dip_that({59: kill(signal.SIGTERM)}, *SETTINGS, cwd=tmp_path)
    assert done.returncode in (0, 143)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["signal"] is None
    assert "is finished" in dip("resume=run").err
    # Of a folder of runs it names one.
    refused(dip(f"resume={tmp_path}"), f"expected the folder of one run; try resume={tmp_path / 'run'}")


def test_a_fit_that_was_killed_while_its_results_were_written_writes_them_again(
    dip: Dip, tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]]
) -> None:
    # A checkpoint would be due after the last iteration, too.
    overrides = ["callbacks.checkpoint.iterations=10"]
    die = "import dip_lightning.fitting.outcome as o; "
    die += "o.write_run = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)"
    done = dip_that({55: die}, *SETTINGS, *overrides, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "summary.json").exists()
    assert dip("resume=run").code == 0
    assert results(tmp_path / "run") == uninterrupted(*overrides)


def test_tensorboard_shows_one_curve(dip: Dip, killed: Path) -> None:
    # The events of iterations 28 and 29, after the checkpoint, are on the disk: the block that ends with 29 was logged.
    before = EventAccumulator(str(killed), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in before.Scalars("training/loss")] == list(range(30))
    # TensorBoard orders its files by the second in their names.
    begun = max(int(file.name.split(".")[3]) for file in killed.glob("events.out.tfevents*"))
    while int(time.time()) <= begun:
        time.sleep(0.05)
    assert dip("resume=run").code == 0
    events = EventAccumulator(str(killed), size_guidance={"scalars": 0, "images": 0}).Reload()
    for tag in ("training/loss", "psnr/one_pass", "psnr/averaged", "training/psnr_observation"):
        assert [event.step for event in events.Scalars(tag)] == list(range(60)), tag
    (pictures,) = events.Tags()["images"]
    assert [image.step for image in events.Images(pictures)] == [19, 39, 59]
    # The figures of an end that was gone on from are forgotten.
    assert dip("resume=run", "iterations=70").code == 0
    events = EventAccumulator(str(killed), size_guidance={"scalars": 0}).Reload()
    assert [(event.step, event.value) for event in events.Scalars("whole_fit/iterations")] == [(70, 70)]


def test_a_fit_that_was_killed_before_its_first_checkpoint_begins_anew(
    dip: Dip, tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]]
) -> None:
    dip_that({4: kill(signal.SIGKILL)}, *SETTINGS, cwd=tmp_path)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert dip("resume=run").code == 0
    assert results(tmp_path / "run") == uninterrupted()
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == list(range(60))


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    dip: Dip,
    killed: Path,
    uninterrupted: Callable[..., dict[str, Any]],
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    newest = killed / "checkpoints" / "last.ckpt"
    content = bytearray(newest.read_bytes())
    if damage == "cut":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        # In the middle of the weights, where nothing but a checksum can tell.
        with zipfile.ZipFile(newest) as archive:
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
        newest.write_bytes(content)
    else:
        newest.unlink()  # as between two names, when one has been given up and the other not yet taken
    assert dip("resume=run").code == 0
    assert caplog.text.count("last.ckpt is damaged; going on from previous.ckpt") == (damage != "gone")
    assert results(killed) == uninterrupted()


def test_without_a_whole_checkpoint_there_is_one_line(dip: Dip, killed: Path) -> None:
    for path in (killed / "checkpoints").iterdir():
        path.write_bytes(b"")
    refused(dip("resume=run"), "no checkpoint that is whole")


def refused(told: Outcome, said: str) -> None:
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert said in line
    assert "Traceback" not in told.out


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def test_a_checkpoint_that_would_run_code_is_refused(dip: Dip, killed: Path) -> None:
    newest = killed / "checkpoints" / "last.ckpt"
    state = read_checkpoint(newest)
    torch.save({**state, "config": Evil()}, newest)
    refused(dip("resume=run"), "would run code")
    newest.write_bytes(pickle.dumps(Evil()))  # no archive at all
    (killed / "checkpoints" / "previous.ckpt").unlink()
    refused(dip("resume=run"), "no checkpoint that is whole")
    assert not (killed.parent / "executed").exists()


def test_a_configuration_in_a_checkpoint_runs_no_code(dip: Dip, killed: Path) -> None:
    state = read_checkpoint(killed / "checkpoints" / "last.ckpt")
    state["config"]["precision"] = {"_target_": "os.system", "command": "touch executed"}
    write_checkpoint(killed, state)
    refused(dip("resume=run"), "os.system")
    assert not (killed.parent / "executed").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=unet", "model=resunet: expected model=unet"),
        ("model.channels=9", "model.channels=8: expected model.channels=9"),
        ("lr=0.02", "lr=0.01: expected lr=0.02"),
        ("image.crop=40", "image.crop=32: expected image.crop=40"),
        ("image.path=other.png", "32x32 pixels and 3 channels: expected 32x32 pixels and 1 channel"),
        ("image.path=skimage:coffee", "another picture"),
        ("iterations=28", "after all 28 iterations"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused_with_the_difference(
    killed: Path, monkeypatch: pytest.MonkeyPatch, override: str, said: str
) -> None:
    monkeypatch.chdir(killed.parent)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save("other.png")
    cfg = compose_config([*SETTINGS, override])
    checkpoint = killed / "checkpoints" / "last.ckpt"
    assert resumable(killed, cfg) is None
    with pytest.raises(UserError) as error:
        fit(cfg, killed, resume=checkpoint)
    assert said in str(error.value)
    assert resumable(killed, compose_config(SETTINGS)) == checkpoint
    assert resumable(killed, compose_config([*SETTINGS, "logger=none", "iterations=70"])) == checkpoint


def test_a_checkpoint_of_another_version_is_refused(dip: Dip, killed: Path) -> None:
    newest = killed / "checkpoints" / "last.ckpt"
    state = read_checkpoint(newest)
    torch.save({**state, "format": 99}, newest)
    refused(dip("resume=run"), "of format 99: expected a checkpoint of dip, of format 5")
    torch.save({"state_dict": {}}, newest)
    refused(dip("resume=run"), "of another program")


def test_a_finished_run_says_so_and_can_have_more_iterations(
    dip: Dip, tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]]
) -> None:
    assert dip(*SETTINGS, "hydra.run.dir=run", "callbacks.detection=null", "callbacks.peak_psnr.eval_every=0").code == 0
    refused(dip("resume=run"), "all 60 iterations were done: expected a run that was interrupted, or more iterations")
    refused(dip("resume=run", "iterations=60"), "is finished")
    refused(dip("resume=run", "resume=other"), "resume=run resume=other: expected each key once")
    assert dip("resume=run", "iterations=80").code == 0
    assert results(tmp_path / "run") == uninterrupted(
        "callbacks.detection=null", "callbacks.peak_psnr.eval_every=0", "iterations=80"
    )
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == list(range(80))


@pytest.mark.parametrize(
    ("precision", "weights", "autocast"), [("bf16", "float32", "bfloat16"), ("fp64", "float64", None)]
)
def test_a_fit_goes_on_in_another_precision(
    dip: Dip, killed: Path, uninterrupted: Callable[..., dict[str, Any]], precision: str, weights: str, autocast: str
) -> None:
    assert resumable(killed, compose_config([*SETTINGS, f"precision={precision}"])) is None  # nobody asked for that
    assert dip("resume=run", f"precision={precision}").code == 0
    done, before = results(killed), uninterrupted()
    assert (done["precision"], done["iterations"]) == (precision, 60)
    assert (done["precision_in_force"]["weights"], done["precision_in_force"]["autocast"]) == (weights, autocast)
    ours, theirs = (columns(run["curves.csv"])["psnr_averaged"] for run in (done, before))
    assert np.array_equal(ours[:28], theirs[:28])
    assert abs(ours[28:] - theirs[28:]).max() < 0.5
    assert not np.array_equal(ours[28:], theirs[28:])


def columns(curves: bytes) -> Any:
    return np.genfromtxt(io.BytesIO(curves), delimiter=",", names=True)


def test_what_cannot_be_continued_costs_one_line(dip: Dip, killed: Path) -> None:
    refused(dip("resume=nowhere"), "resume=nowhere: expected the folder of a run")
    refused(dip("resume=."), "try resume=run")
    refused(dip("resume="), "resume=: expected the folder of a run")
    refused(dip("resume=run/checkpoints/last.ckpt"), "try resume=run")
    refused(dip("resume=run", "lr=0.1"), "resume= with lr=0.1: expected nothing but iterations= and precision=")
    refused(dip("-m", "resume=run"), "resume= with -m")
    refused(dip("resume=run", "iterations=many"), "iterations=many: expected a whole number")
    refused(dip("resume=run", "iterations=-5"), "iterations=-5: expected a whole number above 0")
    refused(dip("resume=run", "iterations=50"), "at least the run's own 60")
    refused(dip("resume=run", "precision=fp31"), "fp31")


def test_a_fit_that_gave_up_is_not_told_to_do_without_stopping_rules(dip: Dip) -> None:
    guard = "callbacks.divergence_guard"
    hasty = [f"{guard}.max_drop_db=0.000001", f"{guard}.max_restores=1", f"{guard}.escalate=false"]
    assert dip(*SETTINGS, *hasty, "hydra.run.dir=run").code == 3
    told = dip("resume=run")
    refused(told, "diverged again and again")
    assert "stopping=none" not in told.err


def test_without_checkpoints_none_are_written(tmp_path: Path) -> None:
    cfg = compose_config([*SETTINGS, "callbacks.checkpoint=null"])
    fit(cfg, tmp_path / "without")
    assert not (tmp_path / "without" / "checkpoints").exists()


def test_a_checkpoint_is_due_after_seconds(tmp_path: Path) -> None:
    settings = [o for o in SETTINGS if not o.startswith("callbacks.checkpoint")]
    written = {}
    for seconds in ("0.000001", "1000"):
        (tmp_path / seconds).mkdir()
        override = f"callbacks.checkpoint.seconds={seconds}"
        done = dip_that({40: kill(signal.SIGKILL)}, *settings, override, cwd=tmp_path / seconds)
        assert done.returncode == -signal.SIGKILL
        written[seconds] = (tmp_path / seconds / "run" / "checkpoints" / "last.ckpt").exists()
    assert written == {"0.000001": True, "1000": False}


LIMIT = "resource.setrlimit(resource.RLIMIT_FSIZE, ({}, -1))"
# A folder that may not be written to: the super-user may write everywhere, and becomes somebody else for a while.
LOCK = "os.seteuid(65534) if os.getuid() == 0 else (run / 'checkpoints').chmod(0o555)"
UNLOCK = "os.seteuid(0) if os.getuid() == 0 else (run / 'checkpoints').chmod(0o755)"


@pytest.mark.parametrize(
    ("begin", "end"), [(LIMIT.format(2000), LIMIT.format(-1)), (LOCK, UNLOCK)], ids=["full disk", "read-only folder"]
)
def test_a_checkpoint_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]], begin: str, end: str
) -> None:
    done = dip_that({22: begin, 45: end}, *SETTINGS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no checkpoint could be written") == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert results(tmp_path / "run") == uninterrupted()


@pytest.mark.parametrize("begin", [LIMIT.format(2000), LOCK], ids=["full disk", "read-only folder"])
def test_a_checkpoint_that_could_not_be_written_leaves_those_before(
    dip: Dip, tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]], begin: str
) -> None:
    done = dip_that({22: begin, 40: kill(signal.SIGKILL)}, *SETTINGS, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    folder = tmp_path / "run" / "checkpoints"
    folder.chmod(0o755)
    assert {path.name: read_checkpoint(path)["global_step"] for path in folder.iterdir()} == {
        "last.ckpt": 21,
        "previous.ckpt": 14,
    }
    assert dip("resume=run").code == 0
    assert results(tmp_path / "run") == uninterrupted()


def test_a_run_folder_that_is_deleted_while_fitting_is_made_anew(
    tmp_path: Path, uninterrupted: Callable[..., dict[str, Any]]
) -> None:
    done = dip_that({25: "shutil.rmtree(run)"}, *SETTINGS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert results(tmp_path / "run") == uninterrupted()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("problem", ["flash", "deblur"])
def test_a_job_is_not_finished_where_a_file_beside_its_picture_has_changed(
    dip: Dip, tmp_path: Path, problem: str
) -> None:
    random = np.random.default_rng(0)

    def write(name: str, side: int) -> None:
        Image.fromarray(random.integers(1, 256, (side, side, 3), dtype=np.uint8)).convert("L").save(tmp_path / name)

    write("seen.png", 16)
    key, side = {"flash": ("flash", 16), "deblur": ("kernel", 3)}[problem]
    command = ["-m", *TINY_UNET, "image.path=seen.png", "image.crop=null", "degradation=none", "iterations=3"]
    command += [f"problem={problem}", f"problem.{key}=beside.png", "hydra.sweep.dir=sweep", "seed=0"]
    said = []
    for changes in (True, False, True):
        if changes:
            write("beside.png", side)
        outcome = dip(*command)
        assert outcome.code == 0, outcome.err
        said.append("finished before" in outcome.out)
    assert said == [False, True, False]
