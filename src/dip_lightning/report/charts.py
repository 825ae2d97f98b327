"""The figures of a report: curves as in Fig. 3 of the paper, and one figure for each factor of an ablation."""

from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dip_lightning.report.runs import Group

__all__ = ["COLOURS", "draw_curves_of_groups", "draw_factors"]

# Okabe and Ito's colours, which people who see colours differently can tell apart; line styles tell them in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_MOST = 12  # groups in one figure; more cannot be told apart


def draw_curves_of_groups(folder: Path, groups: list[Group]) -> list[Path]:
    """Draw averaged PSNR over iterations for each group (mean over seeds), one-pass faint behind it.

    The plateau within 0.1 dB of the peak is drawn as a bar along the bottom.

    Args:
        folder: Where ``curves.png`` and ``curves.svg`` are written.
        groups: Runs that belong together; the first twelve that have a clean image are drawn.

    Returns:
        The files; none where no run has a clean image.
    """
    measured = [group for group in groups if _mean_curve(group, "psnr_averaged").size]
    drawn = measured[:_MOST]
    if not drawn:
        return []
    figure = Figure(figsize=(9.2, 5.4), layout="constrained")
    axes = figure.add_subplot()
    tops, highest, lowest = [], -np.inf, np.inf
    for index, group in enumerate(drawn):
        averaged, one_pass = _mean_curve(group, "psnr_averaged"), _mean_curve(group, "psnr_one_pass")
        colour, style = COLOURS[index % len(COLOURS)], _STYLES[index % len(_STYLES)]
        axes.plot(one_pass, color=colour, alpha=0.18, linewidth=0.5, rasterized=True)
        peak = int(np.nanargmax(averaged))
        axes.plot(
            averaged,
            color=colour,
            linestyle=style,
            linewidth=1.8,
            label=f"{_plain(group.label)}: {averaged[peak]:.2f} dB",
        )
        axes.plot([peak], [averaged[peak]], "o", color=colour, markersize=5)
        near = np.flatnonzero(averaged >= averaged[peak] - 0.1)
        axes.plot(
            [near[0], near[-1]],
            [0.02 + 0.018 * index] * 2,
            color=colour,
            linewidth=4,
            transform=axes.get_xaxis_transform(),
            solid_capstyle="butt",
        )
        tops.append(float(averaged[peak]))
        highest = max(highest, tops[-1], np.nanmax(one_pass, initial=-np.inf))
        # From the first third on; before, it rises from next to nothing.
        lowest = min(lowest, np.nanmin(one_pass[len(one_pass) // 3 :], initial=np.inf))
    axes.set_ylim(min(min(tops) - 7, lowest), highest + 0.6)
    axes.set_xlabel("iteration")
    axes.set_ylabel("PSNR (dB)")
    title = "Averaged output (lines) and one-pass output (faint); bars: within 0.1 dB of the peak"
    part = f"\nthe first {len(drawn)} of {len(measured)} settings; all are in the page" if drawn != measured else ""
    axes.set_title(title + part, fontsize=10)
    axes.grid(alpha=0.25)
    _legend(figure)
    return _save(figure, folder, "curves")


def _mean_curve(group: Group, name: str) -> NDArray[np.floating]:
    """The mean of a curve over the runs of a group, as long as the shortest."""
    curves = [run.curves[name] for run in group.runs if name in run.curves and np.isfinite(run.curves[name]).any()]
    if not curves:
        return np.empty(0)
    length = min(map(len, curves))
    mean: NDArray[np.floating] = np.mean([curve[:length] for curve in curves], axis=0)
    return mean


def draw_factors(folder: Path, groups: list[Group]) -> list[Path]:
    """Draw the peak of the averaged output over the values of each setting that differs, one figure a setting.

    Groups that agree in all other settings are joined by a line.

    Args:
        folder: Where ``factor-<setting>.png`` and ``.svg`` are written.
        groups: Runs that belong together.

    Returns:
        The files.
    """
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    written = []
    for key in keys:
        lines = [(label, members) for label, members in _lines(groups, key) if len(members) > 1]
        if not lines or len(keys) < 2:
            continue
        values = sorted({str(group.settings.get(key)) for _, members in lines for group in members}, key=_natural)
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for index, (label, members) in enumerate(lines[:_MOST]):
            _draw_line(axes, index, label, key, values, members)
        axes.set_xticks(range(len(values)), values, rotation=0 if len(values) < 7 else 30)
        axes.set_xlabel(key)
        axes.set_ylabel("peak of the averaged output (dB)")
        axes.grid(alpha=0.25)
        _legend(figure)
        written += _save(figure, folder, "factor-" + "".join(char if char.isalnum() else "-" for char in key))
    return written


def _lines(groups: list[Group], key: str) -> list[tuple[str, list[Group]]]:
    """The groups that differ in nothing but one setting, by what they share and is not usual for their model."""
    lines: dict[tuple[str, ...], list[Group]] = defaultdict(list)
    for group in groups:
        if _peaks(group):
            lines[tuple(f"{name} {value}" for name, value in group.settings.items() if name != key)].append(group)
    labelled = []
    for members in lines.values():
        first = members[0]
        told = [
            f"{name.removeprefix('model.')} {value}"
            for name, value in first.settings.items()
            if name not in (key, "model", *first.usual) and value is not None
        ]
        model = [] if key == "model" else [str(first.runs[0].summary["model"])]
        labelled.append((", ".join([*model, *told]) or "each as usual", members))
    return labelled


def _draw_line(axes: Axes, index: int, label: str, key: str, values: list[str], members: list[Group]) -> None:
    members = sorted(members, key=lambda group: values.index(str(group.settings.get(key))))
    x = [values.index(str(group.settings.get(key))) for group in members]
    y = [fmean(_peaks(group)) for group in members]
    spread = [stdev(_peaks(group)) if len(_peaks(group)) > 1 else 0.0 for group in members]
    colour, style = COLOURS[index % len(COLOURS)], _STYLES[index % len(_STYLES)]
    axes.errorbar(x, y, spread, color=colour, linestyle=style, marker="o", capsize=3, label=_plain(label) or None)


def _peaks(group: Group) -> list[float]:
    return group.figures("averaged", "peak_psnr")


def _natural(value: str) -> tuple[int, float, str]:
    """Numbers in their order, before words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def _legend(figure: Figure) -> None:
    """Below the axes, where it covers nothing."""
    labels = figure.axes[0].get_legend_handles_labels()[1]
    columns = max(1, min(4, len(labels), int(figure.get_figwidth() * 14 / max(map(len, labels), default=1))))
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * rows)
    figure.legend(loc="outside lower center", fontsize=8.5, ncols=columns)


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dip"}):
        figure.savefig(paths[0], dpi=150)
        figure.savefig(paths[1], dpi=150, metadata={"Date": None})
    return paths


def _plain(text: str) -> str:
    """Keep matplotlib from reading a dollar sign as the beginning of a formula."""
    return text.replace("$", r"\$")
