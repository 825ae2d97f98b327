"""What a picture that is fitted tile by tile has reached: put together, measured, and summarised."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from dip_lightning.data import Observation
from dip_lightning.fitting.observed import summarise_noise, summarise_range
from dip_lightning.fitting.remarks import tell_beyond, tell_notes
from dip_lightning.fitting.removed import combine, is_doubtful
from dip_lightning.fitting.summary import interrupted_by, summarise_ending
from dip_lightning.runs.record import StoppingSummary, Summary
from dip_lightning.runs.status import fingerprint
from dip_lightning.workflows.tiles import Tile, Tiles

__all__ = ["TiledRun", "mean_curves", "panels_of", "summarise_tiles"]

# Rows of a picture that are measured at once: whole pictures of this size would be copied several times.
_ROWS = 256

# Tiles whose picks lie further apart than this factor do not call for one iteration; of two there is no third to tell.
_APART, _APART_OF_TWO = 2.0, 1.2


@dataclass
class TiledRun:
    """A picture while it is put together.

    Attributes:
        observation: The whole picture.
        tiles: How it is cut.
        cap: The most iterations of a fit.
        blended: The sum of the tiles so far, each times its weight, (H, W, C) float32.
        pilots: The summaries of the tiles that choose the iteration, by name.
        done: The summaries of the tiles that are in, by name.
        curves: Their curves.
        signal: The number of the signal that ended it early, or None.
    """

    observation: Observation
    tiles: Tiles
    cap: int
    blended: NDArray[np.float32] = field(init=False)
    pilots: dict[str, Summary] = field(default_factory=dict)
    done: dict[str, Summary] = field(default_factory=dict)
    curves: list[dict[str, NDArray[np.floating]]] = field(default_factory=list)
    signal: int | None = None

    def __post_init__(self) -> None:
        """Begin with an empty picture."""
        channels, height, width = self.observation.picture_shape
        self.blended = np.zeros((height, width, channels), np.float32)

    def add(
        self, tile: Tile, image: NDArray[np.floating], curves: dict[str, NDArray[np.floating]], summary: Summary
    ) -> None:
        """Put a tile in.

        Args:
            tile: Which.
            image: What it was restored to, (H, W, C) in [0, 1].
            curves: One array an iteration, by name.
            summary: Of its fit.
        """
        self.blended[tile.part] += self.tiles.weight(tile) * image.astype(np.float32)
        self.curves.append(curves)
        self.done[tile.name] = summary

    def fill(self) -> None:
        """Leave the tiles that are missing as they were."""
        for tile in self.tiles:
            if tile.name not in self.done:
                seen = _enlarged(self.observation)[tile.part]
                self.blended[tile.part] += self.tiles.weight(tile) * seen.astype(np.float32)


def summarise_tiles(cfg: DictConfig, run: TiledRun, part: Summary) -> Summary:
    """Compose ``summary.json`` of the whole, with the keys of any other; None where they have no meaning.

    Args:
        cfg: The composed configuration.
        run: What was reached.
        part: The summary of a fit of a tile, for what they all have in common.

    Returns:
        Plain values; ``seconds`` are those of all fits, ``peak_memory_mb`` the highest of them.
    """
    fits = [*run.pilots.values(), *run.done.values()]
    if part not in fits:  # the one that was interrupted
        fits.append(part)
    chosen = [summary["stopping"]["iteration"] for summary in run.done.values()]
    iterations = max((summary["iterations"] for summary in run.done.values()), default=0)
    iteration = max(chosen, default=0)
    seconds = sum(summary["seconds"] for summary in fits)
    quality, noisy = None, None
    if run.observation.clean is not None:
        clean = _whole(run.observation.clean)
        quality = _psnr(run.blended, clean, run.observation.picture.as_held)
        seen = _whole(run.observation.noisy)
        noisy = _psnr(seen, clean) if seen.shape == clean.shape else None
    picks = {f"tile {name}": summary["stopping"]["iteration"] for name, summary in run.pilots.items()}
    rules = [summary["stopping"]["rule"] for summary in run.pilots.values()]
    stopping: StoppingSummary = {
        "rule": rules[0] if rules else "none",
        "iteration": iteration,
        "reason": _reason(run),
        "unsure": _doubt(run),
        "psnr": quality,
        "gap_db": None,
        "picks": picks,
        "abstained": {},
        "cap": run.cap,
    }
    parts = [measured for summary in run.done.values() if (measured := summary.get("removed")) is not None]
    removed = combine(parts, run.observation.sigma_in_force, doubtful=is_doubtful(run.observation, part["data_term"]))
    whole: Summary = {
        **part,
        **summarise_ending(
            stopping,
            cfg.select,
            noisy,
            run.signal,
            _course(run),
            _averaging(run),
            removed,
            _nonlocal_means(run),
            run.observation.psnr_of_lost(run.blended),
            any(bool(summary.get("gave_up")) for summary in fits),
        ),
        "noise": summarise_noise(run.observation),
        "range": summarise_range(run.observation),
        "height": run.tiles.height,
        "width": run.tiles.width,
        "iterations": iterations,
        "seconds": round(seconds, 3),
        "seconds_per_iteration": seconds / max(sum(summary["iterations"] for summary in fits), 1),
        "peak_memory_mb": max(summary["peak_memory_mb"] for summary in fits),
        "one_pass": None,
        "averaged": None,
        "eval": None,
        "tiles": {
            "side": cfg.tile,
            "overlap": cfg.overlap,
            "rows": run.tiles.rows,
            "columns": run.tiles.columns,
            "done": len(run.done),
            "iterations": chosen,
        },
        "restores": [iteration for summary in run.done.values() for iteration in summary["restores"]],
        "remedies": [remedy for summary in run.done.values() for remedy in summary.get("remedies", ())],
        "gave_up": any(bool(summary.get("gave_up")) for summary in fits),
        "digest": run.observation.digest,
        "fingerprint": fingerprint(cfg),
    }
    return whole


def _nonlocal_means(run: TiledRun) -> float:
    shares = [summary["selected"].get("nonlocal_means", 0.0) for summary in run.done.values()]
    return sum(shares) / max(len(shares), 1)


def _reason(run: TiledRun) -> str:
    """Say in one sentence why the fits ended."""
    if run.signal is not None:
        return f"{interrupted_by(run.signal)}; {len(run.done)} of {len(run.tiles)} tiles are done."
    if not run.pilots:
        return "All iterations were done, of every tile."
    ended = sum(summary["iterations"] < run.cap for summary in run.pilots.values())
    if ended == 0:
        return f"All iterations were done, of every tile: none of the {len(run.pilots)} that choose stopped by itself."
    told = "" if ended == len(run.pilots) else f"; {len(run.pilots) - ended} of them did all iterations"
    return f"Every tile ended where the middle one of {len(run.pilots)} stopped by itself{told}."


def _doubt(run: TiledRun) -> str | None:
    """Say in one sentence why the iteration should not be trusted; None where nothing says so."""
    picks = {name: summary["stopping"]["iteration"] for name, summary in run.pilots.items()}
    apart = _APART_OF_TWO if len(picks) == 2 else _APART
    if picks and max(picks.values()) > apart * min(picks.values()):
        told = ", ".join(f"{name} {iteration}" for name, iteration in picks.items())
        return f"The tiles that choose the iteration disagree ({told})."
    doubts = [summary["stopping"]["unsure"] for summary in run.pilots.values() if summary["stopping"]["unsure"]]
    return f"Of {len(doubts)} of {len(picks)} tiles that choose the iteration: {doubts[0]}" if doubts else None


def _course(run: TiledRun) -> Iterator[str]:
    """What the user should know of the course of the fits."""
    yield from tell_notes(run.observation.picture)
    yield from tell_beyond(run.observation)
    ended = sum(summary["iterations"] < summary["stopping"]["cap"] for summary in run.done.values())
    if ended:
        yield f"{ended} of {len(run.tiles)} tiles ended early, since they diverged again and again."


def _averaging(run: TiledRun) -> list[str]:
    """What the user should know of how much the averaged outputs have averaged: what the tiles' records say of it."""
    return sorted(
        {remark for summary in run.done.values() for remark in summary["remarks"] if "averaged output" in remark}
    )


def mean_curves(curves: Sequence[dict[str, NDArray[np.floating]]]) -> dict[str, NDArray[np.floating]]:
    """Average the curves of several tiles of equal size.

    Args:
        curves: Of each tile one array an iteration, by name.

    Returns:
        Means of the loss; of a PSNR the mean squared errors are averaged, so that it is that of all tiles together.
        What only some of them have is left out.
    """
    if not curves:
        return {}
    length = max(len(each["loss"]) for each in curves)
    means = {}
    for name in curves[0]:
        if name == "loss" or name.startswith("psnr_"):
            if not all(name in each for each in curves):
                continue
            rows = np.full((len(curves), length), np.nan)  # a tile that ended early has no more
            for row, each in zip(rows, curves, strict=True):
                row[: len(each[name])] = each[name]
            means[name] = rows.mean(axis=0) if name == "loss" else -10 * np.log10((10 ** (-rows / 10)).mean(axis=0))
    return means


def panels_of(run: TiledRun, summary: Summary) -> dict[str, NDArray[np.floating]]:
    """Return the images of ``comparison.png`` by their titles, the observation first, without copying them.

    Args:
        run: What was reached.
        summary: Of the whole.
    """
    noisy, restored = summary["psnr_observation"], summary["selected"]["psnr"]
    images: dict[str, NDArray[np.floating]] = {
        "observation" + _decibels(noisy): _enlarged(run.observation),
        f"restored, iteration {summary['selected']['iteration']}" + _decibels(restored): run.blended,
    }
    if run.observation.clean is not None:
        images["clean image"] = _whole(run.observation.clean)
    return images


def _decibels(psnr: float | None) -> str:
    return "" if psnr is None else f", {psnr:.2f} dB"


def _whole(tensor: Tensor) -> NDArray[np.float64]:
    """(1, C, H, W) → (H, W, C), the same memory."""
    image: NDArray[np.float64] = tensor[0].permute(1, 2, 0).numpy()
    return image


def _enlarged(observation: Observation) -> NDArray[np.float64]:
    """The observation as large as the image, each of its pixels repeated."""
    seen, height = _whole(observation.shown), observation.picture.height
    times = height // seen.shape[0]
    return seen if times == 1 else seen.repeat(times, axis=0).repeat(times, axis=1)


def _psnr(
    image: NDArray[np.floating],
    clean: NDArray[np.float64],
    hold: Callable[[NDArray[np.floating]], NDArray[np.floating]] = np.asarray,
) -> float:
    """PSNR in dB of two images (H, W, C), a few rows at a time: of what ``hold`` leaves of the first."""
    rows = [slice(at, at + _ROWS) for at in range(0, len(image), _ROWS)]
    total = sum(float(np.square(hold(image[part]) - clean[part]).sum()) for part in rows)
    return math.inf if total == 0 else -10 * math.log10(total / clean.size)
