"""One fit, start to end: builds the parts from a configuration, runs the trainer, writes the outputs."""

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from dip_lightning import environment
from dip_lightning.callbacks import Checkpoint, Interrupt
from dip_lightning.checkpoint_file import read_checkpoint, remove_checkpoints
from dip_lightning.config import build
from dip_lightning.data import Observation, Picture
from dip_lightning.errors import UserError
from dip_lightning.isolation import isolated
from dip_lightning.memory import check_memory, is_out_of_memory
from dip_lightning.outcome import Outcome, log_final_figures, select, to_image
from dip_lightning.parts import Parts, Pictures, build_data, build_parts
from dip_lightning.precision import Precision
from dip_lightning.run_folder import check_room
from dip_lightning.same_fit import check_same_fit, describe_fit
from dip_lightning.summary import summarise
from dip_lightning.tiles import Tiles

__all__ = ["FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """What a fit hands back.

    Attributes:
        picture: The restored picture, like the one that was given.
        curves: One array an iteration, by the names of ``curves.csv``; NaN where nothing was measured.
        summary: The content of ``summary.json``.
        run_folder: Where the files are, or None where none were written.
        signal: The number of the signal that ended the fit early, or None.
    """

    picture: Picture
    curves: dict[str, NDArray[np.floating]]
    summary: dict[str, Any]
    run_folder: Path | None
    signal: int | None = None

    @property
    def image(self) -> NDArray[np.unsignedinteger]:
        """The restored image: (H, W) grey or (H, W, 3) RGB, of the type that was given, without alpha."""
        samples = self.picture.samples
        return samples[:, :, 0] if samples.shape[2] == 1 else samples


def fit(
    cfg: DictConfig,
    run_folder: Path | None = None,
    *,
    image: str | Path | NDArray[np.generic] | Observation | None = None,
    clean: str | Path | NDArray[np.generic] | None = None,
    resume: Path | None = None,
) -> FitResult:
    """Fit one image, or where ``cfg.tile`` is set and it is larger, its tiles one after another.

    Args:
        cfg: The composed configuration; see ``conf/config.yaml``.
        run_folder: Where to write; None writes nothing.
        image: A file name or samples, instead of ``cfg.image.path``; or an observation, which is fitted whole.
        clean: A file name or samples, instead of ``cfg.image.clean``.
        resume: A checkpoint of this fit to go on from, see :func:`~dip_lightning.same_fit.resumable`; None begins it,
            and removes what an earlier fit has left in ``run_folder``. Of tiles, those that are finished are kept.

    Returns:
        The restored picture and everything that was measured.

    Raises:
        UserError: A setting, a file or the machine does not allow what was asked.
        KeyboardInterrupt: Ctrl-C came before the first iteration. A later one ends the fit with what was reached.
    """
    if run_folder is not None and run_folder.exists() and not run_folder.is_dir():
        raise UserError(f"run folder {run_folder}", "a folder, or a name that is free", "name another")
    pictures: Pictures = {"clean": clean} if clean is not None else {}
    if image is not None and not isinstance(image, Observation):
        pictures["path"] = image
    observation = image if isinstance(image, Observation) else None
    if cfg.tile is not None and observation is None:
        data = build_data(cfg, pictures)
        height, width = data.observation.noisy.shape[-2:]
        tiles = Tiles(height, width, cfg.tile, cfg.overlap)
        if len(tiles) > 1:
            from dip_lightning.tiled_fit import fit_tiles  # here: it calls back for each tile

            if run_folder is not None:
                _clear(run_folder)
            return fit_tiles(cfg, run_folder, data, tiles)
        observation = data.observation  # no larger than a tile: a fit like any other
    sources = {"image": image, "clean": clean}
    return _fit_whole(cfg, run_folder, pictures, observation, sources, resume)


def _fit_whole(
    cfg: DictConfig,
    run_folder: Path | None,
    pictures: Pictures,
    observation: Observation | None,
    sources: Mapping[str, Any],
    resume: Path | None,
) -> FitResult:
    """Fit one image; ``observation`` instead of reading it."""
    precision: Precision = build(cfg.precision)
    state = None if resume is None else read_checkpoint(resume)
    with precision.in_force(), isolated():
        first = 0 if state is None else state["global_step"]
        parts = build_parts(cfg, run_folder, precision, pictures, first, observation)
        about = describe_fit(cfg, parts.data.observation, parts.data.iterations, **sources)
        if state is not None and resume is not None:
            check_same_fit(state, about, resume)
        _prepare(parts, run_folder, about, state)
        # The parts of an earlier fit in this process refer to each other in circles; they must not count as this one's.
        gc.collect()
        environment.reset_peak_memory(parts.trainer.strategy.root_device)
        started = time.perf_counter()
        exhausted = _run(parts)
        seconds = time.perf_counter() - started + (0.0 if state is None else state["seconds"])
        if parts.trainer.global_step == 0:  # Ctrl-C came before the first iteration: there is nothing to hand back
            raise KeyboardInterrupt
        iteration, selected = select(parts)
        if not torch.isfinite(selected).all():
            raise UserError("the output is not finite: the fit diverged", "a smaller step", f"try lr={cfg.lr / 10:g}")
        summary = summarise(parts, selected, iteration, seconds) | {"digest": about["digest"]}
        summary["out_of_memory"] = exhausted is not None
        curves = parts.module.curves.block()
        picture = parts.data.observation.picture.with_unit(to_image(selected))
        if run_folder is not None:
            log_final_figures(parts, summary)
            Outcome(parts, iteration, selected, picture, curves, summary).write(run_folder)
            if exhausted is None:
                _keep_checkpoint(parts, run_folder)
        if exhausted is not None:
            place = "nothing was to be written" if run_folder is None else f"what it reached is in {run_folder}"
            raise UserError(exhausted.problem, exhausted.expected, f"{exhausted.remedy}; {place}")
    interrupt = parts.find(Interrupt)
    return FitResult(picture, curves, summary, run_folder, None if interrupt is None else interrupt.signal)


def _prepare(parts: Parts, run_folder: Path | None, about: Mapping[str, Any], state: Mapping[str, Any] | None) -> None:
    """Check that there is memory and room, and only then clear the run folder, and tell who writes checkpoints."""
    checkpoint = parts.find(Checkpoint)
    if state is not None and checkpoint is None:
        raise UserError("going on without callbacks.checkpoint", "the callback that does so", "leave it in")
    parts.module.memory_estimate_mb = round(check_memory(parts).total_mb, 1)
    if run_folder is not None:
        _check_room(parts, run_folder)
        if state is None:
            _clear(run_folder)
    if checkpoint is not None:
        checkpoint.run_folder, checkpoint.about, checkpoint.resumed = run_folder, about, state


def _clear(run_folder: Path) -> None:
    """Remove what would be taken for a part of the fit that begins: TensorBoard would draw the curves of both."""
    remove_checkpoints(run_folder)
    for name in ("summary.json", "events.out.tfevents*"):
        for path in run_folder.glob(name):
            path.unlink()


def _keep_checkpoint(parts: Parts, run_folder: Path) -> None:
    """Of a finished fit keep one checkpoint, or none. After all else: until the record is written, it is unfinished."""
    checkpoint, interrupt = parts.find(Checkpoint), parts.find(Interrupt)
    if checkpoint is None or (interrupt is not None and interrupt.cut_short):
        return
    if parts.cfg.save_checkpoint:
        checkpoint.write(parts.trainer, parts.module)
    remove_checkpoints(run_folder, keep_newest=parts.cfg.save_checkpoint)


def _run(parts: Parts) -> UserError | None:
    """Run the fit; returns what to tell of a fit that ran out of memory after it had reached something.

    Raises:
        UserError: The memory was used up before the first iteration was done.
    """
    try:
        parts.trainer.fit(parts.module, datamodule=parts.data)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        done = parts.trainer.global_step
        problem = f"out of memory after {done} iterations"
        remedy = "try image.crop=128, a smaller model.channels, or precision=bf16"
        told = UserError(problem, f"about {parts.module.memory_estimate_mb:.0f} MB", remedy)
        if done == 0:
            raise told from None
        for callback in parts.trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_train_end(parts.trainer, parts.module)
        return told
    return None


def _check_room(parts: Parts, run_folder: Path) -> None:
    """Refuse a disk that is full before the fit rather than after it."""
    state = parts.module.state_dict().values()
    # Adam keeps two moments of each weight.
    weights = 3 * sum(tensor.nbytes for tensor in state) if parts.cfg.save_checkpoint else 0
    check_room(run_folder, parts.data.observation.picture.samples.nbytes, weights)
