"""A large picture, fitted tile by tile: each is a fit of its own, and all have the same number of iterations."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console

from dip_lightning.data import ImageSource, Observation, read_image
from dip_lightning.fitting.fit import FitResult, fit_picture
from dip_lightning.fitting.own import Own
from dip_lightning.fitting.resume_check import resumable
from dip_lightning.runs.curves_csv import read_curves
from dip_lightning.runs.record import TILE_FOLDERS, Summary, read_summary
from dip_lightning.runs.run_folder import write_run, write_summary
from dip_lightning.runs.status import is_finished
from dip_lightning.runs.trial import try_to_write
from dip_lightning.system.output import tolerant
from dip_lightning.system.signals import install_handlers, restore_handlers
from dip_lightning.workflows.tiled_summary import TiledRun, mean_curves, panels_of, summarise_tiles
from dip_lightning.workflows.tiles import Tile, Tiles

__all__ = ["choose_pilots", "fit_tiles"]

_TILES, _PILOTS = TILE_FOLDERS

# How many tiles choose the iteration; the middle one's is taken.
_NUM_PILOTS = 3


def fit_tiles(
    cfg: DictConfig, run_folder: Path | None, data: ImageSource, tiles: Tiles, scale: int = 1, own: Own | None = None
) -> FitResult:
    """Fit every tile of a picture, and put them together.

    The stopping rules choose the iteration on a few tiles, and every tile is handed back at that iteration, of a fit
    without the rules: one tile that they misjudge cannot stand out, and no pixels are held out. A tile that is finished
    in ``run_folder``, with the same settings and pixels, is not fitted again; one that was begun goes on.

    Args:
        cfg: The composed configuration.
        run_folder: Where to write; each tile gets a run folder of its own there. None writes nothing.
        data: The whole picture, and the most iterations of a fit.
        tiles: How it is cut.
        scale: Pixels of the picture for one of the observation, along each side.
        own: Objects to take instead of building them.

    Returns:
        The restored picture, the means of the tiles' curves, and the summary of the whole. Where a signal came, the
        tiles that are missing are as they were, and of the whole only the summary is written.

    Raises:
        UserError: A setting, a file or the machine does not allow what was asked.
        KeyboardInterrupt: Ctrl-C came before the first iteration of all.
    """
    if run_folder is not None:
        try_to_write(run_folder, data.observation.picture)
    run = TiledRun(data.observation, tiles, cap=data.iterations)
    fits = _Fits(data.observation, run_folder, scale, own)
    console = Console(file=tolerant(sys.stderr), stderr=True, emoji=False, quiet=not cfg.callbacks.get("fit_progress"))
    try:
        with _stoppable():
            _fit_all(cfg, fits, run, console)
    except _Stopped as stopped:
        if fits.last is None:
            raise (KeyboardInterrupt if stopped.number == signal.SIGINT else SystemExit(128 + stopped.number)) from None
        run.signal = stopped.number
    assert fits.last is not None
    run.fill()
    run.blended = run.observation.completed(run.blended)
    summary, curves = summarise_tiles(cfg, run, fits.last), mean_curves(run.curves)
    picture = run.observation.picture.with_unit(run.blended)
    if run_folder is not None and run.signal is not None:
        write_summary(run_folder, summary)
    elif run_folder is not None:
        observation, *_ = panels = panels_of(run, summary)
        noisy = panels[observation]
        write_run(run_folder, restored=picture, observation=noisy, summary=summary, curves=curves, panels=panels)
    return FitResult(picture, run.blended, curves, summary, run_folder, run.signal)


def _fit_all(cfg: DictConfig, fits: "_Fits", run: TiledRun, console: Console) -> None:
    """Let the stopping rules judge a few tiles, then fit every tile as long as the middle one of these needs."""
    settings = _settings_of_tile(cfg, run.observation, run.cap)
    if cfg.callbacks.get("detection"):
        pilots = choose_pilots(run.observation, run.tiles, fits.scale)
        for number, tile in enumerate(pilots, 1):
            title = f"choosing the iteration, tile {number}/{len(pilots)} {_place(tile)}"
            part = fits.fit(settings, _PILOTS, tile, title)
            run.pilots[tile.name] = part.summary
        chosen = sorted(summary["stopping"]["iteration"] for summary in run.pilots.values())
        settings.iterations = chosen[len(chosen) // 2] + 1
        shares = sorted(summary["selected"].get("nonlocal_means", 0.0) for summary in run.pilots.values())
        settings.nonlocal_means = shares[len(shares) // 2]
        console.print(f"every tile is handed back at iteration {settings.iterations - 1}", highlight=False)
    settings.stopping, settings.logger = {}, {}
    for number, tile in enumerate(run.tiles, 1):
        title = f"tile {number}/{len(run.tiles)} {_place(tile)}"
        part = fits.fit(settings, _TILES, tile, title)
        run.add(tile, part.image, part.curves, part.summary)
        quality = part.summary["selected"]["psnr"]
        told = "finished before" if part.found else f"{part.summary['seconds']:.0f} s"
        told += "" if quality is None else f", {quality:.2f} dB"
        console.print(f"{title}: {told}{_time_left(run)}", highlight=False)


def _place(tile: Tile) -> str:
    return f"at row {tile.top}, column {tile.left}"


def _time_left(run: TiledRun) -> str:
    """Say how long the tiles that are missing will take if they take as long as those that are done, on average."""
    missing = len(run.tiles) - len(run.done)
    seconds = sum(summary["seconds"] for summary in run.done.values()) / len(run.done) * missing
    if missing == 0:
        return ""
    return (
        f"; about {seconds:.0f} s left for {missing} more"
        if seconds < 120
        else (f"; about {seconds / 60:.0f} min left for {missing} more")
    )


def choose_pilots(observation: Observation, tiles: Tiles, scale: int = 1) -> list[Tile]:
    """Choose the tiles that choose the iteration: of little, of middling and of much detail, or all if there are few.

    A tile of nothing but sky says little of when to stop, and one of nothing but leaves is fitted later than most.

    Args:
        observation: The whole picture.
        tiles: How it is cut.
        scale: Pixels of the picture for one of the observation, along each side.
    """

    def detail(tile: Tile) -> float:
        part = observation.cropped(tile.top, tile.left, tile.height, tile.width, scale).noisy
        # Differences of means over 4×4 pixels, in which there is little noise left.
        means = F.avg_pool2d(part, 4)
        return float(means.diff(dim=2).square().mean() + means.diff(dim=3).square().mean())

    order = sorted(tiles, key=detail)
    count = min(_NUM_PILOTS, len(order))
    return [order[(2 * index + 1) * len(order) // (2 * count)] for index in range(count)]


def _settings_of_tile(cfg: DictConfig, observation: Observation, iterations: int) -> DictConfig:
    """The configuration of a tile. Where the picture is does not belong to it: the tile is told by its pixels."""
    settings = deepcopy(cfg)
    for key in ("path", "clean", "crop", "size"):
        settings.image[key] = None
    settings.image.sigma = observation.sigma
    settings.iterations, settings.save_checkpoint = iterations, False
    return settings


@dataclass(frozen=True)
class _Part:
    """The fit of a tile: its image, (H, W, C) in [0, 1], and whether it was found finished."""

    image: NDArray[np.float64]
    curves: dict[str, NDArray[np.floating]]
    summary: Summary
    found: bool


class _Fits:
    """Fits tiles, unless they are there already; ``last`` is the summary of the last, None before the first."""

    def __init__(self, observation: Observation, run_folder: Path | None, scale: int, own: Own | None) -> None:
        self._observation, self._run_folder, self.scale, self._own = observation, run_folder, scale, own
        self.last: Summary | None = None

    def fit(self, cfg: DictConfig, kind: str, tile: Tile, title: str) -> _Part:
        """Fit a tile, or read what is there of it."""
        observation = self._observation.cropped(tile.top, tile.left, tile.height, tile.width, self.scale)
        folder = None if self._run_folder is None else self._run_folder / kind / tile.name
        if folder is not None and is_finished(folder, cfg, observation.digest):
            return self._read(folder, found=True)
        one = deepcopy(cfg)
        if one.callbacks.get("fit_progress"):
            outer = one.callbacks.fit_progress.title
            one.callbacks.fit_progress.title = title if outer is None else f"{outer}, {title}"
        begun = None if folder is None else resumable(folder, one, image=observation)
        result = fit_picture(one, folder, image=observation, resume=begun, own=self._own)
        self.last = result.summary
        if result.signal is not None:
            raise _Stopped(result.signal)
        if folder is not None:
            # What is on the disk is taken in either case, so that a run that was interrupted ends up the same.
            return self._read(folder, found=False)
        return _Part(result.picture.to_unit(), result.curves, result.summary, found=False)

    def _read(self, folder: Path, *, found: bool) -> _Part:
        self.last = summary = read_summary(folder)
        (restored,) = folder.glob("restored.*")
        return _Part(read_image(restored).to_unit(), read_curves(folder / "curves.csv"), summary, found)


class _Stopped(BaseException):
    """A signal came. Not an exception, so that nothing on its way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn signals that come between two fits into an end as clean as those during one.

    Raises:
        _Stopped: One came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int) -> NoReturn:
        raise _Stopped(number)

    before = install_handlers(stop)
    try:
        yield
    finally:
        restore_handlers(before)
