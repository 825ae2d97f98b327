"""A disk that is full, read-only or too small: one line, exit code 2, and no file that is half there."""

import errno
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dip_lightning.fitting.fit import FitResult
from dip_lightning.runs import run_folder
from dip_lightning.runs.atomic import atomic_write
from tests.conftest import TINY_UNET, Outcome
from tests.forked import run_forked

Dip = Callable[..., Outcome]


PROGRAM = """
import resource, sys
largest_file = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
from dip_lightning.cli import main as cli
cli.main()
"""


def dip_process(*arguments: str, cwd: Path, largest_file: int = resource.RLIM_INFINITY) -> Outcome:
    done = run_forked(PROGRAM, str(largest_file), *arguments, cwd=cwd, TMPDIR=str(cwd))
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_whole(folder: Path) -> None:
    """Every picture, record and table under a folder can be read to its end, and none is left in the making."""
    assert not list(folder.rglob(".*.part*"))
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
    for path in folder.rglob("summary.json"):
        json.loads(path.read_text())
    for path in folder.rglob("curves.csv"):
        assert path.read_text().endswith("\n")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system with options."""
    mounted = []

    def mount(options: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_a_full_or_read_only_disk_is_refused_before_the_fit(
    small_disk: Callable[[str], Path], tmp_path: Path, options: str
) -> None:
    disk = small_disk(options)
    told = dip_process(*TINY_UNET, f"hydra.run.dir={disk}/run", cwd=tmp_path)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "try hydra.run.dir=NEW_FOLDER" in line
    assert not list(disk.iterdir())


@pytest.mark.slow
def test_a_disk_that_fills_up_during_the_fit_loses_nothing(small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    disk = small_disk("size=2600k")
    # Pictures for TensorBoard at every iteration: about 4 MB of them.
    tiny = [override for override in TINY_UNET if not override.startswith(("iterations", "image.crop"))]
    settings = [*tiny, "image.crop=64", "iterations=200", "callbacks.pictures.every=1", "trainer.log_every_n_steps=5"]
    told = dip_process(*settings, f"hydra.run.dir={disk}/run", cwd=tmp_path)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "Traceback" not in told.out
    refuge = Path(line.rpartition("the results are in ")[2])
    assert refuge.parent == tmp_path
    assert json.loads((refuge / "summary.json").read_text())["iterations"] == 200
    for folder in (disk, refuge):
        assert_whole(folder)
    assert read_size(refuge / "restored.png") == (64, 64)


def read_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_files_that_may_not_grow_cost_one_line_and_none_is_half_there(tmp_path: Path) -> None:
    """The same wherever nothing can be mounted: no file of the process may grow past 20 kB."""
    told = dip_process(*TINY_UNET, "callbacks.pictures.every=1", cwd=tmp_path, largest_file=20_000)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "cannot be written (File too large)" in line
    assert "Traceback" not in told.out
    assert_whole(tmp_path)
    assert not list(tmp_path.rglob("summary.json"))  # by which a run is known as finished


def test_too_little_room_is_told_in_numbers(dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = run_folder.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    told = dip(*TINY_UNET)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "1.0 MB of room" in line
    # Two pictures of 32x32x3 samples, three times some thousand weights, and 2 MB for figures.
    assert "about 2." in line
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("fails", ["write_image", "write_curves"])
def test_what_the_run_folder_does_not_take_is_written_elsewhere(
    dip: Dip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    write, calls = getattr(run_folder, fails), []

    def full_at_first(path: Path, *arguments: object) -> None:
        calls.append(path)
        if len(calls) == 1:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, *arguments)

    monkeypatch.setattr(run_folder, fails, full_at_first)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told = dip(*TINY_UNET)
    assert told.code == 2
    (line,) = told.err.strip().splitlines()
    assert "No space left on device" in line
    refuge = Path(line.rpartition("the results are in ")[2])
    assert (refuge / "summary.json").exists()
    assert_whole(tmp_path)
    (place,) = tmp_path.glob("outputs/*/*")
    assert not (place / "summary.json").exists()


def test_a_refused_run_leaves_no_folder_and_touches_none_that_was_there(dip: Dip, tmp_path: Path) -> None:
    assert dip(*TINY_UNET, "dropout=2").code == 2
    assert not (tmp_path / "outputs").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    os.utime(tmp_path, (1e9, 1e9))  # long before this command
    assert dip(*TINY_UNET, "dropout=2", "hydra.run.dir=mine").code == 2
    assert mine.is_dir()
    (mine / "notes.txt").write_text("kept")
    assert dip(*TINY_UNET, "dropout=2", "hydra.run.dir=mine").code == 2
    assert (mine / "notes.txt").read_text() == "kept"


def test_a_refused_run_leaves_the_others_of_its_day(dip: Dip, tmp_path: Path) -> None:
    assert dip(*TINY_UNET).code == 0
    before = sorted(tmp_path.glob("outputs/*/*"))
    assert dip(*TINY_UNET, "dropout=2").code == 2
    assert sorted(tmp_path.glob("outputs/*/*")) == before


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "restored.png"

    def write(content: str, then: Exception | None) -> None:
        with atomic_write(path) as part:
            part.write_text(content)
            assert part.parent == path.parent
            assert part.suffix == ".png"
            if then is not None:
                raise then

    with pytest.raises(OSError, match="full"):
        write("half", OSError("full"))
    assert not list(tmp_path.iterdir())
    write("whole", None)
    with pytest.raises(OSError, match="full"):
        write("half", OSError("full"))
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_events_that_cannot_be_written_do_not_end_the_fit(
    tiny_fit: Callable[..., FitResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    write, calls = RecordWriter.write, []

    def full_later(self: object, data: bytes) -> None:
        calls.append(data)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", full_later)
    result = tiny_fit("trainer.log_every_n_steps=1", "iterations=60", "callbacks.pictures.every=1", run_folder=tmp_path)
    assert result.summary["iterations"] == 60
    assert np.isfinite(result.curves["loss"]).all()
    assert (tmp_path / "summary.json").exists()
    told = [record.message for record in caplog.records if "cannot write any more" in record.message]
    assert len(told) == 1
