"""Terminals that are closed and output that nobody reads, each with a real process."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_UNET

FIT = [o for o in TINY_UNET if not o.startswith(("iterations", "callbacks.fit_progress"))]
FIT += ["hydra.run.dir=run", "callbacks.fit_progress.line_every=0.01"]


def start(*overrides: str, cwd: Path, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "dip_lightning", *overrides], cwd=cwd, **options)


def summary_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "summary.json").read_text()))


def read_until(descriptor: int, mark: bytes) -> None:
    seen = b""
    while mark not in seen:
        part = os.read(descriptor, 4096)
        assert part, seen
        seen += part


@pytest.mark.slow
def test_closing_the_terminal_ends_a_fit_with_everything_written(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    where = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = start(*FIT, "iterations=100000", cwd=tmp_path, preexec_fn=take_terminal, **where)
    os.close(theirs)
    read_until(ours, b"PSNR")
    os.close(ours)
    # A shell sends it once more.
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    summary = summary_of(tmp_path / "run")
    assert summary["stopping"]["reason"] == "It was interrupted (SIGHUP)."
    assert 0 < summary["iterations"] < 100000
    assert (tmp_path / "run" / "comparison.png").exists()
    assert list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_fit_under_nohup_outlives_the_terminal(tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start(*FIT, "iterations=150", cwd=tmp_path, preexec_fn=ignore, stderr=subprocess.PIPE)
    assert process.stderr is not None
    read_until(process.stderr.fileno(), b"iteration")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert summary_of(tmp_path / "run")["iterations"] == 150


@pytest.mark.slow
def test_a_fit_whose_output_nobody_reads_any_more_goes_on(tmp_path: Path) -> None:
    process = start(*FIT, "iterations=150", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    read_until(process.stdout.fileno(), b"iteration")
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert summary_of(tmp_path / "run")["iterations"] == 150


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_ends_no_fit(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(*FIT, "iterations=20", cwd=tmp_path, stdout=full, stderr=full)
        assert process.wait(timeout=60) == 0
    assert summary_of(tmp_path / "run")["iterations"] == 20


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("dip_lightning.cli.main", ["--help"]),
        ("dip_lightning.cli.main", ["--cfg", "job"]),
        ("dip_lightning.cli.report", ["--help"]),
        ("dip_lightning.cli.compare", ["--help"]),
    ],
)
def test_a_pipe_that_wants_no_more_is_no_error(tmp_path: Path, module: str, arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-c", f"import {module} as command; command.main()", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_signals_go_back_to_what_had_them(tmp_path: Path, dip: Callable[..., Any]) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert dip(*TINY_UNET).code == 0
    assert [signal.getsignal(number) for number in numbers] == before
