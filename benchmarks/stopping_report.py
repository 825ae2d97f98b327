"""How well the stopping rules find the best picture, without having seen the clean one.

For every network, noise and image of a size one fit is made that all rules watch and none ends early (`stopping=all`).
Then each rule is replayed on the curves of that same fit: where it would have stopped, which iteration it would have
handed back, and how far that picture lies below the peak of the averaged output (the gap). `wmv, plain` is ES-WMV as
published: the output of the minimum itself. A second set of fits measures what holding out pixels and perturbing the
target costs: the same fit without them.

    python benchmarks/stopping_report.py [--size tiny|small|full] [--out FOLDER] [--minutes M] [--part I/N]
        [--table-only]

Finished fits are passed over, so that the same command goes on where it was. Writes `cases.csv`, `rules.csv`,
`cost.csv`, `table.md` and `gaps.png` into the folder.
"""

import argparse
import csv
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dip_lightning.stopping.replay import ReplayedFit, replay
from dip_lightning.stopping.rule import disagree, lag_of

NOISES = {
    "gaussian15": ["degradation=gaussian", "degradation.sigma=15"],
    "gaussian25": ["degradation=gaussian", "degradation.sigma=25"],
    "gaussian50": ["degradation=gaussian", "degradation.sigma=50"],
    "impulse": ["degradation=impulse"],
    "shot": ["degradation=shot"],
    "speckle": ["degradation=speckle"],
}
NETWORKS = {
    "unet": ["model=unet"],
    "resunet": ["model=resunet", "dropout=0.1"],
    "resunet-p0": ["model=resunet", "dropout=0"],
    "resnet": ["model=resnet"],
}
# Which statistics a rule needs, and how many of them must have settled. `wmv, plain` has no lag.
RULES: dict[str, tuple[tuple[str, ...], int]] = {
    "vote": (("wmv", "holdout", "sure"), 2),
    "wmv": (("wmv",), 1),
    "wmv, plain": (("wmv",), 1),
    "emv": (("emv",), 1),
    "holdout": (("holdout",), 1),
    "sure": (("sure",), 1),
}
FOLLOWS_OUTPUT = ("holdout", "sure")
ALPHA, MIN_ITERATIONS, PATIENCE = 0.99, 100, None


@dataclass(frozen=True)
class Case:
    """One fit."""

    network: str
    noise: str
    image: str
    crop: str
    settings: tuple[str, ...]
    stopping: str

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.network}-{self.noise}-{self.image}" + ("" if self.stopping == "all" else f"-{self.stopping}")


# Which part of which picture, by size.
CROPS = {
    "full": dict.fromkeys(("astronaut", "chelsea", "coffee", "camera", "rocket"), "null"),
    "small": {
        "astronaut": "[0,150,96,96]",
        "coffee": "[120,250,96,96]",
        "camera": "[50,180,96,96]",
        "chelsea": "[60,120,96,96]",
    },
    "tiny": {"astronaut": "[40,190,32,32]"},
}
# What all fits of a size have in common.
SETTINGS = {
    "full": ("precision=bf16", "iterations=10000"),
    "small": ("precision=bf16", "iterations=4000", "trainer=cpu"),
    "tiny": (
        "trainer=cpu",
        "iterations=170",
        "model.channels=8",
        "model.input_channels=4",
        "model.levels=2",
        "stopping.patience=40",
    ),
}


def cases_of(size: str) -> list[Case]:
    """List the fits of a size, the most telling first."""
    crops, settings = CROPS[size], SETTINGS[size]

    def case(network: str, noise: str, image: str, stopping: str = "all") -> Case:
        # Without an hourglass a fit takes several times as long: on the CPU it gets a smaller picture.
        crop = crops[image].replace("96,96]", "64,64]") if network == "resnet" else crops[image]
        return Case(network, noise, image, crop, settings, stopping)

    images = list(crops)
    if size == "tiny":
        (image,) = images
        return [
            case("unet", "gaussian25", image),
            case("resunet", "impulse", image),
            case("unet", "gaussian25", image, "wmv"),
        ]
    found = [case(network, "gaussian25", image) for network in ("unet", "resunet") for image in images]
    others = [noise for noise in NOISES if noise != "gaussian25"]
    if size == "full":
        found += [
            case(network, noise, image) for noise in others for image in images for network in ("unet", "resunet")
        ]
    # On the CPU two images for each noise and the U-net, another pair for each noise; one for resunet.
    first = {noise: images[place % len(images)] for place, noise in enumerate(others)}
    if size == "small":
        found += [case("unet", noise, image) for noise, image in first.items()]
    found += [case("resnet", noise, images[0]) for noise in ("gaussian25", "impulse", "gaussian50")]
    found += [case("unet", "gaussian25", image, "wmv") for image in images[:3]]
    if size == "small":
        found += [case("resunet", noise, first[noise]) for noise in reversed(others)]
        found += [case("unet", noise, images[(place + 1) % len(images)]) for place, noise in enumerate(others)]
    found.append(case("resunet-p0", "gaussian25", images[0]))
    return found


def run(case: Case, folder: Path) -> None:
    """Make one fit, unless it is there; what is kept of it are its curves and its record."""
    if (folder / "summary.json").exists():
        return
    from dip_lightning.config.compose import compose_config  # here: the table alone needs no torch
    from dip_lightning.workflows.restore import fit

    overrides = [
        f"image.path=skimage:{case.image}",
        f"image.crop={case.crop}",
        f"stopping={case.stopping}",
        f"alpha={ALPHA}",
        "callbacks.peak_psnr.eval_every=0",
        "logger=none",
        "save_checkpoint=false",
        f"callbacks.fit_progress.title={case.name}",
        "callbacks.fit_progress.line_every=60",
    ]
    result = fit(compose_config([*overrides, *NETWORKS[case.network], *NOISES[case.noise], *case.settings]), folder)
    if result.signal is not None:
        (folder / "summary.json").unlink()  # not finished: the next start makes it anew
        sys.exit(128 + result.signal)


def read_curves(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read `curves.csv`."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    columns = zip(*rows[1:], strict=True)
    return {
        name: np.array([float(value) if value else np.nan for value in column])
        for name, column in zip(rows[0], columns, strict=True)
    }


def outcome_of(
    rule: str, curves: dict[str, NDArray[np.float64]], patience: int | None, data_term: str = "mse"
) -> ReplayedFit | None:
    """Replay one rule on the curves of a fit."""
    names, agree = RULES[rule]
    present = [name for name in names if f"stopping_{name}" in curves and (name != "sure" or data_term == "mse")]
    if not present:
        return None  # the rule abstains
    lags = {name: 0 if name in FOLLOWS_OUTPUT or rule == "wmv, plain" else lag_of(ALPHA) for name in present}
    statistics = {name: (curves[f"stopping_{name}"], lags[name]) for name in present}
    return replay(statistics, rules=len(names), agree=agree, min_iterations=MIN_ITERATIONS, patience=patience)


def judge(case: Case, folder: Path, patience: int | None) -> list[dict[str, Any]]:
    """Replay every rule on one fit."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    curves = read_curves(folder / "curves.csv")
    psnr = curves["psnr_averaged"]
    peak = int(np.nanargmax(psnr))
    rows = []
    for rule in RULES:
        outcome = outcome_of(rule, curves, patience, summary["data_term"])
        if outcome is None:
            continue
        chosen = len(psnr) - 1 if outcome.chosen is None else outcome.chosen
        unsure = not outcome.settled or not outcome.picks or disagree(outcome.picks.values())
        rows.append(
            {
                "network": case.network,
                "noise": case.noise,
                "image": case.image,
                "rule": rule,
                "psnr_noisy": round(summary["psnr_observation"], 3),
                "peak": round(float(psnr[peak]), 3),
                "peak_iteration": peak,
                "detected": chosen,
                "gap": round(float(psnr[peak] - psnr[chosen]), 3),
                "iterations": outcome.iterations,
                "saved": max(0, cap_of(summary) - outcome.iterations),
                "unsure": unsure,
                "picks": " ".join(f"{name}:{iteration}" for name, iteration in outcome.picks.items()),
            }
        )
    return rows


def cap_of(summary: dict[str, Any]) -> int:
    """The cap that a user's fit of this noise would have."""
    from dip_lightning.data.source import iterations_for

    return iterations_for(summary["sigma"])


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows with equal keys."""
    if rows:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and worst gap of each rule: on the target (U-net and resunet at σ = 25), by noise, and over all."""
    groups = {"target": [row for row in rows if row["noise"] == "gaussian25" and row["network"] in ("unet", "resunet")]}
    groups |= {noise: [row for row in rows if row["noise"] == noise] for noise in NOISES}
    groups["all"] = rows
    found = []
    for group, members in groups.items():
        for rule in RULES:
            mine = [row for row in members if row["rule"] == rule]
            if mine:
                gaps = [row["gap"] for row in mine]
                found.append(
                    {
                        "group": group,
                        "rule": rule,
                        "fits": len(mine),
                        "mean_gap": round(float(np.mean(gaps)), 3),
                        "worst_gap": max(gaps),
                        "above_1db_and_sure": sum(row["gap"] > 1 and not row["unsure"] for row in mine),
                        "unsure": sum(row["unsure"] for row in mine),
                        "mean_saved": round(float(np.mean([row["saved"] for row in mine]))),
                    }
                )
    return found


def costs(done: dict[str, Path], cases: list[Case]) -> list[dict[str, Any]]:
    """The peak with and without what the default rules do to the fit."""
    rows = []
    for case in cases:
        plain = f"{case.network}-{case.noise}-{case.image}"
        if case.stopping != "all" and case.name in done and plain in done:
            peaks = [
                json.loads((done[n] / "summary.json").read_text())["averaged"]["peak_psnr"] for n in (case.name, plain)
            ]
            rows.append(
                {
                    "network": case.network,
                    "noise": case.noise,
                    "image": case.image,
                    "peak_untouched": round(peaks[0], 3),
                    "peak_with_rules": round(peaks[1], 3),
                    "cost": round(peaks[0] - peaks[1], 3),
                }
            )
    return rows


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw every gap, by rule and noise."""
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
    markers = ("o", "s", "^", "D", "v", "P")
    figure = Figure(figsize=(10, 4.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    noises = [noise for noise in NOISES if any(row["noise"] == noise for row in rows)]
    for index, rule in enumerate(RULES):
        points = [
            (noises.index(row["noise"]) + (index - 2.5) * 0.13, max(row["gap"], 0.003))
            for row in rows
            if row["rule"] == rule
        ]
        x, y = zip(*points, strict=True)
        axes.plot(x, y, markers[index], color=colours[index], markersize=5, alpha=0.75, label=rule)
    axes.axhline(0.2, color="#777777", linewidth=0.8, linestyle=":")
    axes.axhline(1.0, color="#777777", linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set_xticks(range(len(noises)), noises)
    axes.set_ylabel("gap to the peak of the averaged output (dB)")
    axes.set_title("One mark a fit. Dotted: 0.2 dB, dashed: 1 dB", fontsize=11)
    axes.grid(alpha=0.25, axis="y")
    axes.legend(ncols=6, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    figure.savefig(path)


def write_table(path: Path, summary: list[dict[str, Any]], cost: list[dict[str, Any]]) -> None:
    """Write the tables of the documentation."""
    lines = ["| group | rule | fits | mean gap (dB) | worst (dB) | above 1 dB and sure | unsure | iterations saved |"]
    lines.append("| --- " * 8 + "|")
    lines += [
        f"| {row['group']} | {row['rule']} | {row['fits']} | {row['mean_gap']:.2f} | {row['worst_gap']:.2f} | "
        f"{row['above_1db_and_sure']} | {row['unsure']} | {row['mean_saved']} |"
        for row in summary
    ]
    if cost:
        lines += [
            "",
            "| network | noise | image | peak untouched | peak with the rules | cost (dB) |",
            "| --- " * 6 + "|",
        ]
        for row in cost:
            lines.append(
                f"| {row['network']} | {row['noise']} | {row['image']} | {row['peak_untouched']:.2f} | "
                f"{row['peak_with_rules']:.2f} | {row['cost']:+.2f} |"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Fit what is missing, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "small", "full"), default="small")
    parser.add_argument("--out", type=Path, default=Path("outputs/stopping-report"))
    parser.add_argument("--minutes", type=float, help="begin no fit after so many; the same command goes on later")
    parser.add_argument("--part", default="1/1", help="make only these fits: 1/2 and 2/2, in two processes")
    parser.add_argument("--table-only", action="store_true", help="fit nothing")
    options = parser.parse_args()
    began = time.monotonic()
    part, parts = (int(number) for number in options.part.split("/"))
    cases, done = cases_of(options.size), {}
    for number, case in enumerate(cases, 1):
        folder = options.out / options.size / case.name
        late = options.minutes is not None and time.monotonic() - began > 60 * options.minutes
        if not (options.table_only or late) and number % parts == part % parts:
            print(f"{number}/{len(cases)} {case.name}", flush=True)
            run(case, folder)
            for file in folder.iterdir():  # what the report does not read
                if file.name not in ("summary.json", "curves.csv", "comparison.png"):
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
        if (folder / "summary.json").exists():
            done[case.name] = folder
    patience = 40 if options.size == "tiny" else PATIENCE
    watched = [case for case in cases if case.stopping == "all" and case.name in done]
    rows = [row for case in watched for row in judge(case, done[case.name], patience)]
    if not rows:
        print("nothing is fitted yet")
        return
    summary, cost = summarise(rows), costs(done, cases)
    write_csv(options.out / options.size / "cases.csv", rows)
    write_csv(options.out / options.size / "rules.csv", summary)
    write_csv(options.out / options.size / "cost.csv", cost)
    write_table(options.out / options.size / "table.md", summary, cost)
    draw(options.out / options.size / "gaps.png", rows)
    print((options.out / options.size / "table.md").read_text(encoding="utf-8"))
    print(f"{len(watched)} of {sum(case.stopping == 'all' for case in cases)} fits; {options.out / options.size}")


if __name__ == "__main__":
    main()
