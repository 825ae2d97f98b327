"""Whether a change of the code changes results: small fits of every kind, recorded before and compared after.

    python benchmarks/same_bits.py record before.json    # with the code as it was
    python benchmarks/same_bits.py compare before.json   # with the code as it is: exit code 1 where a bit differs

Curves, restored pictures and summaries are compared to the last bit, but for what tells of the machine and the moment.
A record holds for one machine and one version of torch: others round differently.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

_SMALL = (
    *(
        "trainer=cpu",
        "precision=fp32",
        "alpha=0.99",
        "optimizer=adam",
        "model.channels=8",
        "model.input_channels=4",
        "image.crop=32",
    ),
    *("iterations=60", "logger=none", "callbacks.fit_progress=null", "callbacks.peak_psnr.eval_every=20"),
)
_VOTE = (
    *("stopping.min_iterations=10", "stopping.patience=25", "stopping.rules.wmv.window=10", "alpha=0.8"),
    *("lr=0.1", "iterations=160"),  # so that the rules end some of them
)
_NETWORKS = {
    "unet": ("model=unet", "model.levels=2"),
    "resnet": ("model=resnet", "model.num_blocks=2"),
    "resunet": ("model=resunet", "model.levels=2"),
}
_UNET = _NETWORKS["unet"]

# What differs from one machine, or one moment, to the next.
_OF_THE_MOMENT = (
    *("seconds", "seconds_per_iteration", "seconds_compiling", "peak_memory_mb", "memory_estimate_mb"),
    *("device", "versions", "git_commit", "fingerprint", "image"),
)


def cases() -> dict[str, tuple[str, ...]]:
    """The overrides of each fit, by its name."""
    found = {}
    for network, overrides in _NETWORKS.items():
        for precision in ("fp32", "bf16"):
            found[f"{network}-{precision}-none"] = (*_SMALL, *overrides, f"precision={precision}", "stopping=none")
            found[f"{network}-{precision}-vote"] = (*_SMALL, *overrides, f"precision={precision}", *_VOTE)
    none = (*_SMALL, *_UNET, "stopping=none")
    found["grey"] = (*none, "image.path=skimage:camera")
    found["odd"] = (*none, "image.crop=[0,0,37,45]")
    found["fp64-vote"] = (*_SMALL, *_UNET, *_VOTE, "precision=fp64")
    found["l1-vote"] = (*_SMALL, *_UNET, *_VOTE, "degradation=impulse")
    found["one-pass"] = (*_SMALL, *_UNET, *_VOTE, "select=one_pass")
    found["diverging"] = (
        *none,
        "lr=0.5",
        "callbacks.divergence_guard.max_drop_db=0.5",
        "callbacks.divergence_guard.max_restores=2",
    )
    found["channels-first"] = (*none, "channels_last=false", "seed=3")
    found["tiles"] = (*_SMALL, *_UNET, *_VOTE, "image.crop=40", "tile=24", "overlap=8")
    found["folder"] = (*none, "image.path=pictures", "image.crop=null")
    return found


def run(arguments: tuple[str, ...], folder: Path) -> None:
    """Run ``dip`` in a folder, one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "dip_lightning", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")


def digest(run_folder: Path) -> dict[str, Any]:
    """What the run folders below a folder hold, without what belongs to the moment."""
    found: dict[str, Any] = {}
    for summary in sorted(run_folder.rglob("summary.json")):
        record = json.loads(summary.read_text(encoding="utf-8"))
        place = str(summary.parent.relative_to(run_folder))
        found[place] = {key: value for key, value in record.items() if key not in _OF_THE_MOMENT}
        for file in sorted([*summary.parent.glob("restored.*"), summary.parent / "curves.csv"]):
            found[place][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def measure(only: str) -> dict[str, Any]:
    """Run every case whose name holds ``only``."""
    results = {}
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        (here / "pictures").mkdir()
        generator = np.random.default_rng(0)
        for index, sample in enumerate(("coffee", "chelsea")):
            part = getattr(skimage.data, sample)()[100:132, 100 : 130 + 2 * index]
            noisy = np.clip(part + generator.normal(0, 25, part.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(here / "pictures" / f"{sample}.png")
        for case, overrides in cases().items():
            if only not in case:
                continue
            run((*overrides, f"hydra.run.dir={case}"), here)
            results[case] = digest(here / case)
            print(f"{case}: {len(results[case])} run folders", flush=True)
        if only not in "resumed":
            return results
        again = (*_SMALL, *_UNET, *_VOTE, "stopping.patience=500")
        run((*again, "iterations=20", "hydra.run.dir=resumed"), here)
        run(("resume=resumed", "iterations=60"), here)
        results["resumed"] = digest(here / "resumed")
    return results


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two records differ; keys that only one of them has are named apart."""
    if isinstance(before, dict) and isinstance(after, dict):
        told = [f"{path}{key}: only before" for key in sorted({*before} - {*after})]
        told += [f"{path}{key}: only after" for key in sorted({*after} - {*before})]
        for key in sorted({*before} & {*after}):
            told += differences(before[key], after[key], f"{path}{key} ")
        return told
    return [] if before == after else [f"{path.strip()}: {before!r} before, {after!r} after"]


def main() -> int:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="", help="a part of the names of the fits to compare")
    options = parser.parse_args()
    results = json.loads(json.dumps(measure(options.only)))
    if options.action == "record":
        options.file.write_text(json.dumps(results, indent=1), encoding="utf-8")
        return 0
    before = json.loads(options.file.read_text(encoding="utf-8"))
    told = differences({case: before[case] for case in results if case in before}, results)
    keys = [line for line in told if line.endswith((": only before", ": only after"))]
    values = [line for line in told if line not in keys]
    print("\n".join(keys[:40] + values[:40]))
    print(f"{len(results)} fits: {len(values)} values differ, {len(keys)} keys are of one side only")
    return 1 if values else 0


if __name__ == "__main__":
    sys.exit(main())
