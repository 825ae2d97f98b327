"""Kills a fit 50 times at random moments, resumes it each time, and compares with the fit that was never interrupted.

A fit that comes to its end before the last kill is compared, and another one begun. Every kill is SIGKILL, which a
process cannot see coming; it falls into importing, setting up, iterating, writing checkpoints or writing results.

    python benchmarks/kill_loop.py --kills 50
"""

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

SETTINGS = (
    *("trainer=cpu", "callbacks.fit_progress=null", "image.crop=48", "model.channels=8", "model.input_channels=4"),
    *("model.levels=3", "iterations=160", "stopping.rules.wmv.window=20", "stopping.min_iterations=10"),
    *("callbacks.checkpoint.iterations=4", "callbacks.peak_psnr.eval_every=20"),
)
# What differs from one run of the same fit to the next.
TIMES = ("seconds", "seconds_per_iteration", "peak_memory_mb")


def start(arguments: tuple[str, ...], folder: Path) -> subprocess.Popen[str]:
    """Start ``dip`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dip_lightning", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(arguments: tuple[str, ...], folder: Path) -> float:
    """Run ``dip`` to its end; returns the seconds it took."""
    began = time.monotonic()
    process = start(arguments, folder)
    told, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"dip {' '.join(arguments)} ended with {process.returncode}:\n{told}")
    return time.monotonic() - began


def differences(one: Path, other: Path) -> list[str]:
    """Name what differs between two run folders, times aside."""
    differing = [
        name for name in ("curves.csv", "restored.png") if (one / name).read_bytes() != (other / name).read_bytes()
    ]
    first, second = (json.loads((run / "summary.json").read_text()) for run in (one, other))
    return differing + [f"summary.json: {key}" for key in first if key not in TIMES and first[key] != second[key]]


def describe(run: Path) -> str:
    """Say how far a run is, from its files alone."""
    if (run / "summary.json").exists():
        return "the record was written"
    names = sorted(path.name for path in run.glob("checkpoints/*"))
    return f"checkpoints/: {', '.join(names)}" if names else "no checkpoint yet"


def main() -> None:
    """Run the loop and print a line for every kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whole, run = folder / "whole", folder / "run"
        seconds = finish((*SETTINGS, f"hydra.run.dir={whole}"), folder)
        print(f"dip {' '.join(SETTINGS)}")
        print(f"Python {platform.python_version()}, torch {version('torch')}, Lightning {version('pytorch-lightning')}")
        print(
            f"uninterrupted: {seconds:.1f} s, commit {json.loads((whole / 'summary.json').read_text())['git_commit']}"
        )
        kills = compared = 0
        differing: list[str] = []
        while True:
            command = (
                (f"resume={run}",) if (run / ".hydra" / "config.yaml").exists() else (*SETTINGS, f"hydra.run.dir={run}")
            )
            process = start(command, folder)
            # Long enough that most get into the loop, and too short for its end but after some kills.
            delay = moments.uniform(0.4, 0.8) * seconds if kills < arguments.kills else None
            try:
                told, _ = process.communicate(timeout=delay)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                print(f"kill {kills:2}: after {delay:5.2f} s; {describe(run)}", flush=True)
                continue
            if process.returncode != 0 and "is finished" not in told:
                raise RuntimeError(f"dip {' '.join(command)} ended with {process.returncode}:\n{told}")
            compared += 1
            found = differences(whole, run)
            differing += found
            print(f"fit {compared} came to its end; {'; '.join(found) or 'the same to the last bit'}", flush=True)
            if kills == arguments.kills:
                break
            shutil.rmtree(run)
    print(f"{kills} kills, {compared} fits compared, {len(differing)} differences, lost: {len(differing)}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
