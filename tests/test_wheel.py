"""The wheel, for real: built, installed in an empty environment, run in another folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*command: str | Path, cwd: Path, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_runs_without_its_checkout(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    call(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    call(python, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path / "dist", ROOT, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {f"dip_lightning/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert expected | {"dip_lightning/py.typed"} <= names
    constraints = ROOT / "constraints.txt"
    # torch first: its pin takes whichever build suits the machine.
    call(python, "-m", "pip", "install", "-q", "--no-compile", "-c", constraints, "torch", cwd=tmp_path)
    call(python, "-m", "pip", "install", "-q", "--no-compile", "-c", constraints, wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    dip = tmp_path / "venv" / "bin" / "dip"
    assert "Group model" in call(dip, "--help", cwd=elsewhere)
    tiny = ["model.channels=8", "model.levels=2", "image.crop=32", "iterations=5", "trainer=cpu"]
    out = call(dip, *tiny, cwd=elsewhere)
    assert str(ROOT) not in out
    (summary,) = elsewhere.glob("outputs/*/*/summary.json")
    record = json.loads(summary.read_text())
    assert record["iterations"] == 5
    assert record["git_commit"] is None
    call(dip, "dropout=2", *tiny, cwd=elsewhere, code=2)
    code = "from dip_lightning import restore; import numpy as np; "
    code += f"print(restore(np.zeros((32, 32), np.uint8), iterations=2, overrides={tiny[:2] + tiny[4:]}).image.shape)"
    assert "(32, 32)" in call(python, "-c", code, cwd=elsewhere)
