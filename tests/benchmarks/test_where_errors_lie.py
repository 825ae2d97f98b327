"""Errors are found where they were put."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.test_benchmarks import run

SIDE = 64


def write(path: Path, values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8)).save(path)


def test_errors_are_found_at_their_frequency_and_in_their_region(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    columns = np.arange(SIDE)[None, :, None]
    clean = np.full((SIDE, SIDE, 3), 100.0)
    clean[:, SIDE // 2 :] = 160
    write(tmp_path / "clean.png", clean)
    wave = 10 * np.sin(2 * np.pi * columns / 32)  # 1/32 cycles a pixel
    at_edges = np.where(np.abs(columns - SIDE // 2 + 0.5) < 2, 20.0, 0.0)
    for name, error in {"slow": wave, "edges": at_edges}.items():
        write(tmp_path / name / "restored.png", clean + error)
        write(tmp_path / name / "observation.png", clean + random.normal(0, 25, clean.shape))
    runs = [f"{name}={tmp_path / name}" for name in ("slow", "edges")]
    done = run("where_errors_lie.py", str(tmp_path / "clean.png"), *runs, "--out", str(tmp_path / "errors.csv"))
    assert done.returncode == 0, done.stderr
    slow, edges = csv.DictReader((tmp_path / "errors.csv").read_text().splitlines())
    rings = [float(slow[name]) for name in list(slow)[3:8]]
    assert rings[1] > 0 > max(rings[2:])
    assert abs(float(slow["PSNR"]) - 10 * np.log10(255**2 / 50)) < 0.1  # the mean square of a sine of 10
    assert float(edges["edges"]) < 27 < 40 < float(edges["flat"])


def test_pictures_of_other_sizes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "clean.png", np.zeros((32, 32, 3)))
    for name in ("restored", "observation"):
        write(tmp_path / "run" / f"{name}.png", np.zeros((16, 16, 3)))
    done = run("where_errors_lie.py", str(tmp_path / "clean.png"), str(tmp_path / "run"))
    assert done.returncode == 2
    assert "of 16x16 pixels: expected 32x32, as the clean picture; try --crop" in done.stderr
