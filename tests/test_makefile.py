"""The targets of the Makefile that can be tried without installing anything."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-s", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_help_lists_every_target() -> None:
    out = make("help").stdout
    for target in ("setup", "run", "test", "lint", "type", "bench", "gpu-table1", "clean", "help"):
        assert f"make {target} " in out


def copy_of_the_project(folder: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.mark.parametrize("python", ["", "/nowhere/python3.11", "false"])
def test_a_missing_or_old_python_gives_one_clear_line(tmp_path: Path, python: str) -> None:
    done = make("setup", f"PYTHON={python}", cwd=copy_of_the_project(tmp_path))
    assert done.returncode != 0
    first, *rest = done.stderr.strip().splitlines()
    assert "Python 3.11, 3.12 or 3.13 is needed" in first
    assert len(rest) <= 1  # make's own "Error 2"
    assert not (tmp_path / ".venv").exists()


def test_a_finished_setup_is_not_done_again(tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    (folder / ".venv").mkdir()
    (folder / ".venv" / ".ready").touch()
    assert make("setup", "PYTHON=false", cwd=folder).returncode == 0
