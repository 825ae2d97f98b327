"""The benchmarks run, at a size at which their numbers mean nothing."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import TINY_UNET

ROOT = Path(__file__).parents[1]
TINY_NET = tuple(override for override in TINY_UNET if override.startswith("model."))


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_original(folder: Path) -> Path:
    """A checkout that has what the benchmark takes from the original: `models.get_net`."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "skip.py").touch()
    (folder / "models" / "__init__.py").write_text(
        """
from torch import nn

def get_net(input_depth, kind, pad, skip_n33d, skip_n33u, skip_n11, num_scales, upsample_mode):
    assert (input_depth, kind, skip_n33d, skip_n33u, skip_n11, num_scales) == (32, "skip", 128, 128, 4, 5)
    return nn.Sequential(nn.Conv2d(input_depth, 3, 3, padding=1), nn.Sigmoid())
"""
    )
    return folder


def test_the_original_and_we_are_timed_in_turn(tmp_path: Path) -> None:
    original = write_original(tmp_path / "original")
    sizes = ["--sizes", "32", "--iterations", "2", "--repeats", "2", "--precisions", "fp32", "--threads", "1"]
    done = run("against_original.py", "--original", str(original), *sizes, *TINY_NET)
    assert done.returncode == 0, done.stderr
    theirs, ours = (line.split("|") for line in done.stdout.splitlines()[2:])
    assert theirs[2].strip() == "original"
    assert theirs[4].strip().startswith("1.00")
    assert ours[2].strip() == "fp32"
    median, low, high = (float(number) for number in re.findall(r"[\d.]+", ours[3]))
    assert 0 < low <= median <= high


def test_the_floor_is_measured() -> None:
    done = run("floor.py", "--size", "32", "--repeats", "2", "model=unet", "trainer=cpu", *TINY_NET)
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"step / floor +median ([\d.]+)", done.stdout)[1]) > 0  # type: ignore[index]
