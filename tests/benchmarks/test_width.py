"""The comparison of widths goes on where it was, and its table is of the fits that all settings have."""

import csv
from pathlib import Path

from tests.benchmarks.test_benchmarks import run


def test_settings_are_compared_and_what_is_finished_is_passed_over(tmp_path: Path) -> None:
    out = tmp_path / "width"
    command = ["width.py", "trainer=cpu", "iterations=8", "model.input_channels=4", "model.levels=2", "--crop", "32"]
    command += ["--out", str(out)]
    both = [*command, "--names", "chelsea", "--settings", "lean-32,unet-32"]
    done = run(*both)
    assert done.returncode == 0, done.stderr
    with (out / "width.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["setting"] for row in rows] == ["lean-32", "unet-32"]
    assert all(float(row["handed_back"]) <= float(row["peak"]) + 1e-3 for row in rows)
    assert {row["iterations"] for row in rows} == {"8"}
    written = {path: path.stat().st_mtime_ns for path in out.glob("*/summary.json")}
    again = run(*both, "--seeds", "0,1", "--minutes", "0")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/summary.json")} == written
    assert "Means over 1 fits of each setting." in again.stdout
    cells = [cell.strip() for cell in again.stdout.splitlines()[4].strip("|").split("|")]
    assert cells[:2] == ["lean-32", f"{int(rows[0]['parameters']):,}"]
    assert cells[6] == f"{float(rows[0]['handed_back']):.2f}"


def test_a_name_that_is_none_and_one_folder_alone_are_told_in_one_line(tmp_path: Path) -> None:
    done = run("width.py", "--settings", "lean-63", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "lean-63: expected one of lean-64, " in done.stderr
    done = run("width.py", "--noisy", str(tmp_path), "--out", str(tmp_path))
    assert "give both --noisy and --clean" in done.stderr
