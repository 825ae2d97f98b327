"""The two figures of a run: its pictures side by side, and its curves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.transform import downscale_local_mean

from dip_lightning.data.picture import shown_bands
from dip_lightning.runs.record import Summary

__all__ = ["draw_comparison", "draw_curves"]

# Okabe and Ito's colours, which people who see colours differently can tell apart.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#777777"

# Longest side of a panel in pixels: small images are magnified to about the one, large ones reduced below the other.
_SMALLEST, _LARGEST = 360, 1024


def draw_comparison(path: Path, panels: Mapping[str, NDArray[np.floating]]) -> None:
    """Write images side by side, each pixel as a square.

    Args:
        path: The PNG file.
        panels: (H, W, C) in [0, 1] by title, of equal proportions.
    """
    panels = {name: _reduced(image) for name, image in panels.items()}
    # An observation may be smaller than the image: it is drawn as large.
    height, width = max(panel.shape[:2] for panel in panels.values())
    # Whole multiples of the pixels, so that small crops are magnified without interpolation.
    magnified = max(1, round(_SMALLEST / max(height, width)))
    dpi = 100
    columns, rows = width * magnified / dpi, height * magnified / dpi
    gap, title = 0.12, 0.55
    figure = Figure(figsize=(len(panels) * (columns + gap) + gap, rows + title + gap), dpi=dpi)
    full_width, full_height = figure.get_size_inches()
    for index, (name, image) in enumerate(panels.items()):
        left = (gap + index * (columns + gap)) / full_width
        axes = figure.add_axes((left, gap / full_height, columns / full_width, rows / full_height))
        shown = np.clip(shown_bands(image), 0, 1)
        if shown.shape[2] == 1:
            axes.imshow(shown[:, :, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        else:
            axes.imshow(shown, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(name, fontsize=11, pad=5)
    figure.savefig(path)


def _reduced(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Take means of blocks where an image is larger than a figure should be."""
    block = -(-max(image.shape[:2]) // _LARGEST)
    if block == 1:
        return image
    reduced: NDArray[np.floating] = downscale_local_mean(image, (block, block, 1))  # type: ignore[no-untyped-call]
    return reduced


def draw_curves(path: Path, curves: dict[str, NDArray[np.floating]], summary: Summary) -> None:
    """Draw PSNR over iterations, with the peak and the plateau of the averaged output.

    Args:
        path: The PNG file.
        curves: One array an iteration, by the names of ``curves.csv``.
        summary: The content of ``summary.json``.
    """
    rules = [name for name in curves if name.startswith("stopping_") and np.isfinite(curves[name]).any()]
    figure = Figure(figsize=(8.6, 6.4 if rules else 5.2), dpi=130, layout="constrained")
    axes, *below = figure.subplots(
        2 if rules else 1, sharex=True, squeeze=False, height_ratios=[3, 1] if rules else None
    )[:, 0]
    iterations = np.arange(len(curves["loss"]))
    if "psnr_one_pass" in curves:
        axes.plot(iterations, curves["psnr_one_pass"], color=_BLUE, alpha=0.35, linewidth=0.7, label="one-pass output")
    if "psnr_eval" in curves:
        measured = np.isfinite(curves["psnr_eval"])
        values = curves["psnr_eval"][measured]
        axes.plot(iterations[measured], values, ".", color=_GREEN, markersize=4, label="evaluation mode")
    if "psnr_averaged" in curves:
        axes.plot(iterations, curves["psnr_averaged"], color=_BLUE, linewidth=2, label="averaged output")
    fidelity = curves["psnr_observation"]
    axes.plot(iterations, fidelity, color=_GREY, linewidth=1, linestyle="--", label="to the observation")
    if summary["psnr_observation"] is not None:
        axes.axhline(summary["psnr_observation"], color=_GREY, linewidth=1, linestyle=":", label="noisy image")
    averaged = summary["averaged"]
    if averaged is not None:
        best, at = averaged["peak_psnr"], averaged["peak_iteration"]
        near = np.nan_to_num(curves["psnr_averaged"], nan=-np.inf) >= best - 0.1
        axes.fill_between(
            iterations, 0, 1, where=near, transform=axes.get_xaxis_transform(), color=_ORANGE, alpha=0.18, linewidth=0
        )
        label = f"peak {best:.2f} dB at {at}; shaded: within 0.1 dB"
        axes.plot([at], [best], "o", color=_ORANGE, markersize=7, label=label)
    stopping = summary["stopping"]
    if stopping["rule"] != "none":
        axes.axvline(stopping["iteration"], color=_GREEN, linewidth=1.2, label=f"restored: {stopping['iteration']}")
    # The first iterations start far below everything of interest.
    finite = np.concatenate(
        [values[np.isfinite(values)] for name, values in curves.items() if name.startswith("psnr_")]
    )
    if finite.size:
        low, high = np.percentile(finite, 3), finite.max()
        axes.set_ylim(min(low, high - 6) - 0.5, high + 0.8)
    axes.set_xlim(0, max(len(iterations) - 1, 1))
    for panel in below:
        _draw_rules(panel, {name: curves[name] for name in rules}, stopping["picks"])
    figure.axes[-1].set_xlabel("iteration")
    axes.set_ylabel("PSNR (dB)")
    precision, count = summary["precision"], summary["num_parameters"]
    axes.set_title(f"{summary['model']}, {count:,} parameters, dropout {summary['dropout']}, {precision}", fontsize=11)
    axes.grid(alpha=0.25)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)
    figure.savefig(path)


def _draw_rules(axes: Axes, statistics: Mapping[str, NDArray[np.floating]], picks: Mapping[str, int]) -> None:
    """Draw the statistics of the stopping rules, each from its least value (0) to its median (1), and their picks."""
    for index, (name, values) in enumerate(statistics.items()):
        rule = name.removeprefix("stopping_")
        if not np.isfinite(values).any():  # a fit that ended before the rule could judge
            continue
        least, median = np.nanmin(values), np.nanmedian(values)
        shown = (values - least) / max(median - least, 1e-12)
        colour = (_BLUE, _ORANGE, _GREEN, _GREY)[index % 4]
        pick = picks.get(rule)
        axes.plot(shown, color=colour, linewidth=1, label=rule if pick is None else f"{rule}: {pick}")
        if pick is not None:
            axes.plot([pick], [0], "^", color=colour, markersize=7, clip_on=False)
    axes.set_ylim(0, 1.5)
    axes.set_ylabel("stopping rules")
    axes.set_yticks([])
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", ncols=4, fontsize=8)
