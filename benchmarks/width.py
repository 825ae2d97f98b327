"""How wide a network need be: what narrow and lean networks hand back, and in how many iterations and seconds.

Fits every setting to every picture, one fit after another, and writes `width.csv` (a line a fit: peak of the averaged
output, its iteration, for how many iterations it is within 0.1 and 0.5 dB of that, the one-pass peak, what was handed
back, the iteration that was picked, how many there were, seconds), `width.md` (a line a setting: means over the
pictures that all of the settings have) and `width.png` (the averaged output over the iterations, likewise).

    python benchmarks/width.py [--noisy FOLDER --clean FOLDER] [--names f16,baboon] [--crop 128] [--seeds 0]
        [--settings lean-64,unet-32] [--out FOLDER] [--minutes M] [--table-only] [OVERRIDE...]

Without folders the pictures are the samples, with noise of sigma = 25 added. Finished fits are passed over and an
interrupted one goes on, so that the same command goes on where it was. A fit's seconds are its own, and mean something
only where nothing else runs.
"""

import argparse
import csv
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from arguments import minutes, mistakes_told, naturals, positive
from dip_lightning.config.compose import compose_config
from dip_lightning.errors import UserError
from dip_lightning.fitting.resume_check import read_digest, resumable
from dip_lightning.report.runs import find_runs
from dip_lightning.runs.status import is_finished
from dip_lightning.workflows.restore import fit

_LEAN, _UNET = ["model=leanunet", "alpha=growing"], ["model=unet", "alpha=growing"]
# What is compared, by name. The paper's networks have the paper's average.
SETTINGS = {
    "lean-64": _LEAN,
    "lean-128": [*_LEAN, "model.channels=128"],
    "lean-32": [*_LEAN, "model.channels=32"],
    "lean-96": [*_LEAN, "model.channels=96"],
    "lean-taper": [*_LEAN, "model.channels=[32,64,128,128]"],
    "unet-32": [*_UNET, "model.channels=32"],
    "unet-taper": [*_UNET, "model.channels=[16,32,64,128,128]"],
    "unet-128": ["model=unet", "alpha=0.99"],
    "resunet": ["model=resunet", "alpha=0.99"],
}
SAMPLES = ("astronaut", "chelsea", "coffee", "rocket")
COLUMNS = (
    *("setting", "picture", "seed", "parameters", "precision", "noisy", "peak", "peak_iteration"),
    *("within_0.1", "within_0.5", "one_pass_peak", "handed_back", "picked", "iterations", "seconds"),
)


def configure(options: argparse.Namespace, setting: str, picture: str, seed: int) -> list[str]:
    """The overrides of one fit."""
    path = [f"image.path=skimage:{picture}", "degradation.sigma=25"]
    if options.noisy is not None:
        noisy, clean = (folder / f"{picture}.png" for folder in (options.noisy, options.clean))
        path = [f'image.path="{noisy}"', f'image.clean="{clean}"', "image.sigma=25"]
    own = [*SETTINGS[setting], f"seed={seed}", f"image.crop={options.crop}", *options.overrides]
    shown = [f"callbacks.fit_progress.title={setting}-{picture}", "callbacks.fit_progress.line_every=60"]
    return [*path, *shown, "logger=none", "save_checkpoint=false", "callbacks.peak_psnr.eval_every=0", *own]


def row_of(options: argparse.Namespace, setting: str, picture: str, seed: int, late: bool) -> dict[str, Any] | None:
    """Fit, or read what was fitted; None where there is nothing, and no time to fit it."""
    folder = options.out / f"{setting}-{picture}-seed{seed}"
    cfg = compose_config(configure(options, setting, picture, seed))
    digest = partial(read_digest, cfg)
    if not is_finished(folder, cfg, digest):
        if late:
            return None
        result = fit(cfg, folder, resume=resumable(folder, cfg))
        if result.signal is not None:
            sys.exit("interrupted; the same command goes on")
    (run,) = find_runs([folder])
    summary: dict[str, Any] = dict(run.summary)
    averaged = summary["averaged"]
    return {
        "setting": setting,
        "picture": picture,
        "seed": seed,
        "parameters": summary["num_parameters"],
        "precision": summary["precision"],
        "noisy": round(summary["psnr_observation"], 3),
        "peak": round(averaged["peak_psnr"], 3),
        "peak_iteration": averaged["peak_iteration"],
        "within_0.1": averaged["plateau_0.1db"],
        "within_0.5": averaged["plateau_0.5db"],
        "one_pass_peak": round(summary["one_pass"]["peak_psnr"], 3),
        "handed_back": round(summary["selected"]["psnr"], 3),
        "picked": summary["selected"]["iteration"],
        "iterations": summary["iterations"],
        "seconds": round(summary["seconds"], 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Write the table: means of each setting over the pictures and seeds that every setting in it has."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    fits: dict[str, dict[Any, dict[str, Any]]] = {setting: {} for setting in settings}
    for row in rows:
        fits[row["setting"]][row["picture"], row["seed"]] = row
    common = set.intersection(*(set(own) for own in fits.values()))
    lines = [
        f"Means over {len(common)} fits of each setting.",
        "",
        "| setting | parameters | peak averaged | at | within 0.1 / 0.5 dB | one-pass | handed back | iterations "
        "| seconds |",
        "| --- " * 9 + "|",
    ]
    for setting in settings if common else []:
        own = [fits[setting][case] for case in sorted(common)]
        mean = {name: statistics.mean(row[name] for row in own) for name in COLUMNS[6:]}
        lines.append(
            f"| {setting} | {own[0]['parameters']:,} | {mean['peak']:.2f} | {mean['peak_iteration']:.0f} | "
            f"{mean['within_0.1']:.0f} / {mean['within_0.5']:.0f} | {mean['one_pass_peak']:.2f} | "
            f"{mean['handed_back']:.2f} | {mean['iterations']:.0f} | {mean['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the averaged output over the iterations: of each setting the mean over the fits that every setting has."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    cases = [{(row["picture"], row["seed"]) for row in rows if row["setting"] == setting} for setting in settings]
    common = sorted(set.intersection(*cases))
    figure = Figure(figsize=(9, 4.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for setting in settings if common else []:
        runs = find_runs([folder / f"{setting}-{picture}-seed{seed}" for picture, seed in common])
        curves = [run.curves["psnr_averaged"] for run in runs]
        length = min(len(curve) for curve in curves)
        axes.plot(np.mean([curve[:length] for curve in curves], axis=0), label=setting)
    axes.set_ylim(bottom=axes.get_ylim()[1] - 4)
    axes.set_xlabel("iteration")
    axes.set_ylabel("averaged output, mean PSNR (dB)")
    axes.set_title(f"Mean over {len(common)} fits of each setting, as long as the shortest of them", fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend()
    figure.savefig(folder / "width.png")


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "width.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "width.md").write_text(table(rows), encoding="utf-8")


def main() -> None:
    """Fit what is missing, and write the table after each fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noisy", type=Path, help="folder of noisy pictures, NAME.png")
    parser.add_argument("--clean", type=Path, help="folder of clean ones of the same names")
    parser.add_argument("--names", help="which pictures; without it all of the folder, or the samples")
    parser.add_argument("--crop", type=positive, default=128, help="side of the central part, pixels")
    parser.add_argument("--seeds", type=naturals, default=[0])
    parser.add_argument("--settings", default=",".join(SETTINGS), help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--out", type=Path, default=Path("outputs/width"))
    parser.add_argument("--minutes", type=minutes, help="begin no fit after so many; the same command goes on later")
    parser.add_argument("--table-only", action="store_true", help="fit nothing")
    parser.add_argument("overrides", nargs="*", help="as for dip: precision=bf16 trainer=cpu")
    options = parser.parse_args()
    began = time.monotonic()
    if (options.noisy is None) != (options.clean is None):
        raise UserError("one folder", "noisy and clean pictures", "give both --noisy and --clean")
    there = SAMPLES if options.noisy is None else sorted(path.stem for path in options.noisy.glob("*.png"))
    names = options.names.split(",") if options.names else there
    settings = options.settings.split(",")
    for word, known in [(name, there) for name in names] + [(name, list(SETTINGS)) for name in settings]:
        if word not in known:
            raise UserError(word, f"one of {', '.join(known)}", "see --help")
    rows = []
    for seed in options.seeds:
        for picture in names:
            for setting in settings:
                late = options.table_only or (
                    options.minutes is not None and time.monotonic() - began > 60 * options.minutes
                )
                row = row_of(options, setting, picture, seed, late)
                if row is not None:
                    rows.append(row)
                    write(options.out, rows)
    if rows:
        draw(options.out, rows)
        print(table(rows))


if __name__ == "__main__":
    with mistakes_told():
        main()
