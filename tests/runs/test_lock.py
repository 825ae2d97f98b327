"""A run folder is held by one run at a time; a second is told, or does something else of the same command."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dip_lightning import UserError, restore
from dip_lightning.runs.lock import LOCK, HeldError, hold
from tests.conftest import TINY_UNET, Outcome

Dip = Callable[..., Outcome]
SETTINGS = [o for o in TINY_UNET if "crop" not in o]
HOLDER = """
import sys
from pathlib import Path
from dip_lightning.runs.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a folder."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def pictures(folder: Path, *names: str) -> None:
    folder.mkdir()
    for seed, name in enumerate(names):
        samples = np.random.default_rng(seed).integers(0, 256, (32, 33, 3), dtype=np.uint8)
        Image.fromarray(samples).save(folder / name)


def test_who_holds_it_is_told_and_its_death_lets_go(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        with pytest.raises(HeldError, match=f"is being written by process {process.pid} on"), hold(tmp_path):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with hold(tmp_path), hold(tmp_path):  # a run in a run of the same thread
            pass
    with hold(None):
        pass


def test_threads_do_not_share_it(tmp_path: Path) -> None:
    told: list[str] = []

    def other() -> None:
        try:
            with hold(tmp_path):
                told.append("held")
        except HeldError as error:
            told.append(error.holder)

    for _ in range(2):
        thread = threading.Thread(target=other)
        if told:
            thread.start()
        else:
            with hold(tmp_path):
                thread.start()
                thread.join()
        thread.join()
    assert told[0].startswith(f"process {os.getpid()} on ")
    assert told[1] == "held"


def test_where_a_file_system_has_no_locks_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("dip_lightning.runs.lock.FileLock.acquire", refuse)
    with hold(tmp_path), pytest.raises(OSError, match="mine"):
        raise OSError("mine")


def test_a_second_run_in_a_folder_is_refused_and_changes_nothing_of_it(dip: Dip, tmp_path: Path) -> None:
    assert dip(*TINY_UNET, "hydra.run.dir=run").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file() and path.name != LOCK}
    with held_elsewhere(tmp_path / "run") as process:
        told = dip(*TINY_UNET, "lr=0.5", "hydra.run.dir=run")
        assert (told.code, len(told.err.splitlines())) == (2, 1)
        assert f"is being written by process {process.pid}" in told.err
        assert dip("resume=run", "iterations=9").code == 2
        with pytest.raises(UserError, match="is being written by"):
            restore(np.zeros((32, 32), np.uint8), run_folder=tmp_path / "run", overrides=SETTINGS[:3], iterations=2)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file() and path.name != LOCK}
    after.pop(tmp_path / "run" / "dip.log", None)
    before.pop(tmp_path / "run" / "dip.log", None)
    assert after == before
    assert dip(*TINY_UNET, "lr=0.5", "hydra.run.dir=run").code == 0


def test_a_folder_that_is_started_twice_is_shared(dip: Dip, tmp_path: Path) -> None:
    pictures(tmp_path / "photos", "a.png", "b.png")
    run = ["image.path=photos", "hydra.run.dir=run"]
    with held_elsewhere(tmp_path / "run" / "a.png") as process:
        told = dip(*SETTINGS, *run)
        assert told.code == 0
        assert "1 of 2 pictures restored." in told.out
        assert f"1 more are being restored by another run (process {process.pid} on" in told.out
    told = dip(*SETTINGS, *run)
    assert "2 of 2 pictures restored, 1 of them before." in told.out


def test_a_sweep_that_is_started_twice_is_shared(dip: Dip, tmp_path: Path) -> None:
    sweep = ["-m", *TINY_UNET, "seed=1,2", "hydra.sweep.dir=sweep"]
    with held_elsewhere(tmp_path / "sweep" / "seed=1") as process:
        told = dip(*sweep)
        assert (told.code, f": passed over, since process {process.pid}" in told.out) == (0, True), told
    assert not (tmp_path / "sweep" / "seed=1" / "summary.json").exists()
    assert (tmp_path / "sweep" / "seed=2" / "summary.json").exists()
    told = dip(*sweep)
    assert (told.code, "job 1 (seed=2): finished before" in told.out) == (0, True)


def test_a_refused_setting_leaves_no_folder_behind(dip: Dip, tmp_path: Path) -> None:
    assert dip(*TINY_UNET, "dropout=3").code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("hydra.run.dir=loop",), ("-m", "seed=1", "hydra.sweep.dir=loop")])
def test_a_link_to_itself_is_no_run_folder(dip: Dip, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    told = dip(*TINY_UNET, *command)
    assert (told.code, len(told.err.splitlines()), told.out) == (2, 1, "")
    assert "loop cannot be written" in told.err
