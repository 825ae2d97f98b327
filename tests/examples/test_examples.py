"""The examples run as they stand, at toy size."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
TOY = ["--iterations", "12", "model.channels=4", "model.levels=2", "trainer=cpu"]


def run(name: str, folder: Path, *options: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--out", str(folder), *options, *TOY]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def size(folder: Path) -> tuple[int, int]:
    with Image.open(folder / "comparison.png") as image:
        return image.size


@pytest.mark.slow
def test_tomography(tmp_path: Path) -> None:
    told = run("tomography", tmp_path, "--side", "32", "--angles", "8")
    assert re.search(r"fitted: \d+\.\d\d dB\nback-projected: \d+\.\d\d dB", told)
    assert size(tmp_path) == (96, 32)


@pytest.mark.slow
def test_a_noise_of_one_s_own(tmp_path: Path) -> None:
    told = run("own_noise", tmp_path, "--crop", "32")
    assert re.search(r"squared error: \d+\.\d\d dB\ngamma: \d+\.\d\d dB", told)
    assert size(tmp_path) == (128, 32)


def test_rays_sum_what_they_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from tomography import ParallelBeam

    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    upright, across = ParallelBeam(2, 32)(image)[0, 0]  # at 0 and 90 degrees
    assert torch.allclose(upright, image[0, 0].mean(dim=0), atol=1e-5)
    assert torch.allclose(across, image[0, 0].mean(dim=1).flip(0), atol=1e-5)
