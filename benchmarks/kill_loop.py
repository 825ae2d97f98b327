"""Kills a fit 50 times at random moments, resumes it each time, and compares with the fit that was never interrupted.

A fit that comes to its end before the last kill is compared, and another one begun. Every kill is SIGKILL, which a
process cannot see coming; it falls into setting up, iterating, writing checkpoints or writing results. The processes
are forked from one that has imported everything, where there is nothing to lose yet.

    python benchmarks/kill_loop.py --kills 50
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch

from dip_lightning.cli import main as cli
from dip_lightning.system import environment
from dip_lightning.workflows.resume import resume

SETTINGS = (
    *("trainer=cpu", "callbacks.fit_progress=null", "image.crop=48", "model.channels=8", "model.input_channels=4"),
    *("model.levels=3", "iterations=160", "stopping.rules.wmv.window=20", "stopping.min_iterations=10"),
    *("callbacks.checkpoint.iterations=4", "callbacks.peak_psnr.eval_every=20"),
)
# What differs from one run of the same fit to the next.
TIMES = ("seconds", "seconds_per_iteration", "seconds_compiling", "peak_memory_mb", "memory_estimate_mb")


def start(arguments: tuple[str, ...], output: Path) -> int:
    """Start ``dip`` in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["dip", *arguments]
    code: object = 1
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.stdout.flush()
        os._exit(int(str(code or 0)))


def wait(child: int, seconds: float | None) -> int | None:
    """Wait for a process; returns its exit code, or None if it took longer and was killed."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.001)


def differences(one: Path, other: Path) -> list[str]:
    """Name what differs between two run folders, times aside."""
    names = ("curves.csv", "restored.png", "observation.png")
    differing = [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]
    first, second = (json.loads((run / "summary.json").read_text()) for run in (one, other))
    return differing + [f"summary.json: {key}" for key in first if key not in TIMES and first[key] != second[key]]


def describe(run: Path) -> str:
    """Say how far a run is, from its files alone."""
    if (run / "summary.json").exists():
        return "summary.json was written"
    if (run / "restored.png").exists():
        return "writing results"
    names = sorted(path.name for path in run.glob("checkpoints/*"))
    return f"checkpoints/: {', '.join(names)}" if names else "no checkpoint yet"


def main() -> None:
    """Run the loop and print a line for every kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    torch.set_num_threads(1)
    assert resume  # imported here, that no child has to
    with tempfile.TemporaryDirectory() as place:
        whole, run, output = (Path(place) / name for name in ("whole", "run", "output.txt"))
        began = time.monotonic()
        if wait(start((*SETTINGS, f"hydra.run.dir={whole}"), output), None) != 0:
            raise RuntimeError(output.read_text())
        seconds = time.monotonic() - began
        print(f"dip {' '.join(SETTINGS)}")
        print(f"Python {platform.python_version()}, torch {version('torch')}, Lightning {version('pytorch-lightning')}")
        print(f"uninterrupted: {seconds:.1f} s, commit {environment.git_commit()}", flush=True)
        kills = compared = 0
        differing: list[str] = []
        while kills < arguments.kills or run.exists():
            begun = (run / ".hydra" / "config.yaml").exists()
            command = (f"resume={run}",) if begun else (*SETTINGS, f"hydra.run.dir={run}")
            delay = moments.uniform(0.05, 0.6) * seconds if kills < arguments.kills else None
            code = wait(start(command, output), delay)
            if code is None:
                kills += 1
                print(f"kill {kills:2}: after {delay:5.2f} s; {describe(run)}", flush=True)
                continue
            if code != 0 and "is finished" not in output.read_text():
                raise RuntimeError(f"dip {' '.join(command)} ended with {code}:\n{output.read_text()}")
            compared += 1
            found = differences(whole, run)
            differing += found
            print(f"fit {compared} came to its end; {'; '.join(found) or 'the same to the last bit'}", flush=True)
            shutil.rmtree(run)
    print(f"{kills} kills, {compared} fits compared, {len(differing)} differences")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
