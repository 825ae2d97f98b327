"""Seconds until the averaged output is as good as float32 gets, within 0.1 dB: a faster iteration alone wins nothing.

For each seed, the first setting is fitted for all iterations; its averaged peak, less 0.1 dB, is the aim of that seed.
Then every setting's fit of that seed tells the first iteration that reaches the aim, and the seconds until then. Fits
alternate; each is a whole fit with every default callback but the progress bar, without TensorBoard's curves and
without stopping rules, which would end them at different iterations. Seconds of compiling count.

    python benchmarks/time_to_quality.py [--size 128] [--iterations 2000] [--seeds 0,1,2] [--out FOLDER]
        [--settings "precision=fp32" "precision=bf16"] [--overrides "model=unet"]

Finished fits are passed over and an interrupted one goes on, so that the same command goes on where it was. Writes
`quality.csv` and `curves.png` into the folder, of the last command alone.
"""

import argparse
import csv
import shlex
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from omegaconf import DictConfig

from arguments import mistakes_told, naturals, positive, square
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.resume_check import read_digest, resumable
from dip_lightning.report.runs import Run, find_runs
from dip_lightning.runs.status import is_finished
from dip_lightning.workflows.restore import fit

# How far from the reference's peak is as good, in dB.
WITHIN = 0.1


@dataclass(frozen=True)
class Result:
    """What one fit reached.

    Attributes:
        setting: As it was given.
        seed: Of the fit.
        averaged: PSNR of the averaged output in each iteration, in dB.
        seconds_per_iteration: Of the whole fit, without compiling.
        seconds_compiling: Before the second iteration.
        difference: That, less the reference's, in dB.
        reached: The first iteration that is as good as the reference's peak, within 0.1 dB; None where none is.
    """

    setting: str
    seed: int
    averaged: NDArray[np.floating]
    seconds_per_iteration: float
    seconds_compiling: float
    difference: float
    reached: int | None

    @property
    def peak(self) -> float:
        """The greatest PSNR of the averaged output."""
        return float(np.max(self.averaged))

    @property
    def seconds(self) -> float | None:
        """Seconds until it is reached, compiling included."""
        if self.reached is None:
            return None
        return self.seconds_compiling + (self.reached + 1) * self.seconds_per_iteration


def configure(options: argparse.Namespace, setting: str, seed: int) -> DictConfig:
    """The configuration of one fit."""
    common = [*square(options.size), f"iterations={options.iterations}", "alpha=0.99", *shlex.split(options.overrides)]
    own = [*shlex.split(setting), f"seed={seed}"]
    return compose_config([*common, *own, "stopping=none", "callbacks.fit_progress=null", "logger=none"])


def run_fit(folder: Path, cfg: DictConfig) -> Run:
    """Fit, or read what was fitted."""
    digest = partial(read_digest, cfg)
    if not is_finished(folder, cfg, digest):
        fit(cfg, folder, resume=resumable(folder, cfg))
    if not is_finished(folder, cfg, digest):
        sys.exit("interrupted; the same command goes on")
    (run,) = find_runs([folder])
    return run


def judge(setting: str, seed: int, run: Run, best: float | None) -> Result:
    """Compare a fit with the reference's peak; None where it is the reference itself."""
    averaged = run.curves["psnr_averaged"]
    peak = float(averaged.max())
    best = peak if best is None else best
    good = np.flatnonzero(averaged >= best - WITHIN)
    seconds = run.summary["seconds_per_iteration"], run.summary["seconds_compiling"]
    return Result(setting, seed, averaged, *seconds, peak - best, int(good[0]) if len(good) else None)


def table(results: list[Result], settings: list[str]) -> str:
    """Write the table: a line for each setting, means over the seeds."""
    lines = [
        "| setting | s / iteration | peak averaged (dB) | less the reference's | as good at | after (s) | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = {result.seed: result.seconds for result in results if result.setting == settings[0]}
    for setting in settings:
        own = [result for result in results if result.setting == setting]
        step = statistics.median(result.seconds_per_iteration for result in own)
        peak, difference = (statistics.mean(getattr(r, name) for r in own) for name in ("peak", "difference"))
        reached = [r for r in own if r.seconds is not None]
        cells = ["never", "", ""]
        if reached:
            ratios = [(first[r.seed] or 0) / (r.seconds or 1) for r in reached]
            cells = [
                ", ".join(str(r.reached) for r in reached)
                + (f" ({len(reached)} of {len(own)})" if own != reached else ""),
                f"{statistics.mean(r.seconds or 0 for r in reached):.0f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
            ]
        lines.append(f"| {setting} | {step:.4f} | {peak:.2f} | {difference:+.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(results: list[Result], settings: list[str], out: Path) -> None:
    """Write what was measured as a table and a figure."""
    with (out / "quality.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(
            [
                "setting",
                "seed",
                "peak",
                "difference",
                "seconds_per_iteration",
                "seconds_compiling",
                "reached",
                "seconds",
            ]
        )
        for r in results:
            seconds = r.seconds_per_iteration, r.seconds_compiling
            rows.writerow([r.setting, r.seed, r.peak, r.difference, *seconds, r.reached, r.seconds])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, setting in enumerate(settings):
        for index, result in enumerate(r for r in results if r.setting == setting):
            iterations = np.arange(1, len(result.averaged) + 1)
            seconds = result.seconds_compiling + iterations * result.seconds_per_iteration
            axes.plot(seconds, result.averaged, color=f"C{number}", lw=1, label=setting if index == 0 else None)
    top = max(result.peak for result in results)
    axes.set(xlabel="seconds", ylabel="PSNR of the averaged output (dB)", ylim=(top - 8, top + 0.3))
    axes.legend()
    figure.savefig(out / "curves.png", dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive, default=128, help="side of the picture, pixels")
    parser.add_argument("--iterations", type=positive, default=2000, help="of each fit")
    parser.add_argument("--seeds", type=naturals, default="0,1,2", help="a fit each, of every setting")
    parser.add_argument("--out", type=Path, default=Path("outputs/time-to-quality"))
    parser.add_argument(
        "--settings",
        nargs="+",
        default=["precision=fp32", "precision=bf16"],
        help="each one argument, the first the reference",
    )
    parser.add_argument("--overrides", default="model=unet", help="of all settings, as for dip, in one argument")
    options = parser.parse_args()
    configurations = {
        (seed, setting): configure(options, setting, seed) for seed in options.seeds for setting in options.settings
    }
    results: list[Result] = []
    for seed in options.seeds:
        best = None
        for setting in options.settings:
            name = "-".join([*shlex.split(options.overrides), *shlex.split(setting)]).replace("/", "_")
            folder = options.out / f"{options.size}-{name}-seed{seed}"
            results.append(judge(setting, seed, run_fit(folder, configurations[seed, setting]), best))
            best = results[-1].peak if best is None else best
            print(f"seed {seed}, {setting}: peak {results[-1].peak:.2f} dB", file=sys.stderr, flush=True)
    write(results, options.settings, options.out)
    print(table(results, options.settings))


if __name__ == "__main__":
    with mistakes_told():
        main()
