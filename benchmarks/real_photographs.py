"""Photographs as a camera develops them: what is handed back of each, without the clean picture and the true noise.

Each photograph is a pair of files in one folder, `NAME_real.png` and `NAME_mean.png`: one shot, and the mean of many of
the same scene, which is used to measure alone. The central part of each is fitted by `dip`, a run folder each.
Without a folder, such pairs are made of two of scikit-image's pictures, with the noises of `noise_estimate.py`.

    python benchmarks/real_photographs.py [PHOTOS] [--only WORD,...] [--side 256] [--out FOLDER] [--overrides ...]

Finished fits are passed over, so that the same command goes on where it was. Writes `photographs.csv` into the folder.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from skimage.restoration import denoise_nl_means

from noise_estimate import MADE, SEED, central

COLUMNS = (
    "photograph", "true sigma", "sigma", "neighbours share", "file", "non-local means", "peak averaged", "at",
    "picked at", "holdout", "sure", "fit", "gap", "share of non-local means", "handed back", "iterations", "seconds",
    "unsure",
)  # fmt: skip


def main() -> None:
    """Fit what is missing, and write the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="folder with NAME_real.png and NAME_mean.png")
    parser.add_argument("--only", default="", help="those whose name has one of these words in it, with commas between")
    parser.add_argument("--side", type=int, default=256, help="side of the central part, in pixels")
    parser.add_argument("--out", type=Path, default=Path("outputs/real-photographs"))
    parser.add_argument("--overrides", nargs="*", default=[], help="settings of dip beside the defaults")
    arguments = parser.parse_args()
    photos = (arguments.photos or make_pairs(arguments.out / "made")).expanduser()
    pairs = sorted(photos.glob("*_real.*"))
    if not pairs:
        sys.exit(f"{photos} has no NAME_real.png; name a folder of pairs NAME_real.png, NAME_mean.png")
    rows = []
    for noisy in pairs:
        clean = noisy.with_name(noisy.name.replace("_real", "_mean"))
        if not clean.exists():
            sys.exit(f"{noisy.name} has no {clean.name} beside it")
        name = noisy.stem.removesuffix("_real")
        if not any(word.strip() in name for word in arguments.only.split(",")):
            continue
        folder = arguments.out / name
        if not (folder / "summary.json").exists():
            print(f"{name}: fitting", flush=True)
            settings = [f"image.path={noisy}", f"image.clean={clean}", f"image.crop={arguments.side}"]
            command = [*settings, "degradation=none", "logger=none", f"hydra.run.dir={folder}", *arguments.overrides]
            done = subprocess.run([sys.executable, "-m", "dip_lightning", *command], stdout=subprocess.DEVNULL)
            if done.returncode not in (0, 3):  # 3: worse than the file, which is a result, too
                sys.exit(f"{name}: the fit ended with code {done.returncode}; the same command goes on")
        rows.append(row_of(name, noisy, clean, arguments.side, json.loads((folder / "summary.json").read_text())))
        write(rows, arguments.out / "photographs.csv")
        print(f"{name}: {rows[-1]['file']} dB as it is, {rows[-1]['handed back']} dB handed back", flush=True)


def make_pairs(folder: Path) -> Path:
    """Write a pair of files for each of two pictures and each kind of noise, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "coffee"):
        clean = central(getattr(skimage.data, name)() / 255, 256)
        for kind, make in MADE.items():
            pair = zip(("real", "mean"), make(clean, np.random.default_rng(SEED)), strict=True)
            for what, samples in pair:
                file = folder / f"{name}-{kind.replace(' ', '-')}_{what}.png"
                Image.fromarray((255 * samples).clip(0, 255).round().astype(np.uint8)).save(file)
    return folder


def row_of(name: str, noisy: Path, clean: Path, side: int, summary: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table.

    Args:
        name: Of the photograph.
        noisy: Its file.
        clean: The file of the mean of many.
        side: Of the part that was fitted.
        summary: Of its fit.
    """
    seen, truth = (_central(path, side) for path in (noisy, clean))
    stopping, selected, averaged = summary["stopping"], summary["selected"], summary["averaged"]
    sigma = summary["noise"]["level"]
    filtered = denoise_nl_means(seen, 7, 11, sigma / 255, sigma=sigma / 255, channel_axis=-1)
    return {
        "photograph": name,
        "true sigma": f"{255 * (seen - truth).std():.2f}",
        "sigma": f"{sigma:.2f}",
        "neighbours share": f"{(summary['noise']['across'] + summary['noise']['down']) / 2:.2f}",
        "file": f"{summary['psnr_observation']:.2f}",
        "non-local means": f"{_psnr(np.clip(filtered, 0, 1), truth):.2f}",
        "peak averaged": f"{averaged['peak_psnr']:.2f}",
        "at": averaged["peak_iteration"],
        "picked at": selected["iteration"],
        "holdout": stopping["picks"].get("holdout", ""),
        "sure": stopping["picks"].get("sure", ""),
        "fit": f"{averaged['peak_psnr'] - stopping['gap_db']:.2f}",
        "gap": f"{stopping['gap_db']:.2f}",
        "share of non-local means": f"{selected['nonlocal_means']:.2f}",
        "handed back": f"{selected['psnr']:.2f}",
        "iterations": summary["iterations"],
        "seconds": f"{summary['seconds']:.0f}",
        "unsure": "unsure" if stopping["unsure"] else "",
    }


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the table, the mean of the photographs last."""
    means = {"photograph": "mean"}
    for column in ("file", "non-local means", "peak averaged", "fit", "gap", "handed back"):
        means[column] = f"{np.mean([float(row[column]) for row in rows]):.2f}"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, means])


def _central(path: Path, side: int) -> np.ndarray:
    with Image.open(path) as image:
        samples = np.asarray(image.convert("RGB"), np.float32) / 255
    top, left = ((length - side) // 2 for length in samples.shape[:2])
    return samples[top : top + side, left : left + side]


def _psnr(image: np.ndarray, clean: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(image - clean).mean()))


if __name__ == "__main__":
    main()
