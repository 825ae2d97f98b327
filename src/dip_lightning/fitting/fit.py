"""One fit, start to end: builds the parts from a configuration, runs the trainer, writes the outputs."""

import gc
import logging
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from dip_lightning.callbacks import Checkpoint, Detection, DivergenceGuard, Interrupt
from dip_lightning.callbacks.fit_state import capture
from dip_lightning.config.build import build
from dip_lightning.config.messages import of_compilation
from dip_lightning.data import Observation, Picture
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Parts, Pictures, build_data, build_parts
from dip_lightning.fitting.isolation import isolated
from dip_lightning.fitting.memory import check_memory, is_out_of_memory
from dip_lightning.fitting.resume_check import check_same_fit, describe_fit
from dip_lightning.fitting.selection import Outcome, log_final_figures, select, to_image
from dip_lightning.fitting.summary import summarise
from dip_lightning.precision import Precision
from dip_lightning.runs.checkpoint_file import find_checkpoint, read_checkpoint, remove_checkpoints
from dip_lightning.runs.run_folder import check_room
from dip_lightning.system import environment
from dip_lightning.workflows.tiles import Tiles

__all__ = ["FitResult", "fit"]

log = logging.getLogger(__name__)


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
        resume: A checkpoint of this fit to go on from, see :func:`~dip_lightning.fitting.resume_check.resumable`; None
            begins it, and removes what an earlier fit has left in ``run_folder``. Of tiles, those that are finished
            are kept.

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
            from dip_lightning.workflows.tiled_fit import fit_tiles  # here: it calls back for each tile

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
    state = None if resume is None else read_checkpoint(resume)
    precision = _precision_of(cfg, state)
    previous: tuple[Parts, float] | None = None
    with isolated():
        while True:
            with precision.in_force():
                first = 0 if state is None else state["global_step"]
                parts = build_parts(cfg, run_folder, precision, pictures, first, observation)
                about = describe_fit(cfg, parts.data.observation, parts.data.iterations, **sources)
                if state is not None and resume is not None:
                    check_same_fit(state, about, resume)
                try:
                    _prepare(parts, run_folder, about, state)
                    seconds, exhausted = _run(parts, state)
                except UserError as refused:
                    if previous is None:
                        raise
                    log.warning("the fit ends here, since it cannot go on in %s: %s", precision.name, refused)
                    return _hand_back(*previous, run_folder)
                if exhausted is not None or not _goes_on(parts):
                    return _hand_back(parts, seconds, run_folder, exhausted)
                state = {**about, **capture(parts.trainer, parts.module), "seconds": seconds}
                state["precision_in_force"] = precision.higher(parts.trainer.strategy.root_device)
                precision, previous = _precision_of(cfg, state), (parts, seconds)


def _precision_of(cfg: DictConfig, state: Mapping[str, Any] | None) -> Precision:
    """The precision that was asked for; or the higher one that a fit with the same wish had come to."""
    asked: Precision = build(cfg.precision)
    if state is None or build(OmegaConf.create(state["config"]).precision).name != asked.name:
        return asked
    return Precision.named(state["precision_in_force"])


def _goes_on(parts: Parts) -> bool:
    """Whether the fit has ended only to go on in a higher precision."""
    guard, detection, interrupt = parts.find(DivergenceGuard), parts.find(Detection), parts.find(Interrupt)
    if guard is None or guard.wants_precision is None:
        return False
    if interrupt is not None and interrupt.signal is not None:  # it came in the very iteration that ended the fit
        interrupt.cut_short = True
        return False
    ended = detection is not None and detection.ended_fit
    return not ended and parts.module.iterate.iteration + 1 < parts.data.iterations


def _hand_back(parts: Parts, seconds: float, run_folder: Path | None, exhausted: UserError | None = None) -> FitResult:
    """Select the result, and write it.

    Raises:
        UserError: The memory was used up; what had been reached is written.
    """
    iteration, selected = select(parts)
    if not torch.isfinite(selected).all():
        raise UserError("the output is not finite: the fit diverged", "a smaller step", f"try lr={parts.cfg.lr / 10:g}")
    summary = summarise(parts, selected, iteration, seconds) | {"digest": parts.data.observation.digest}
    summary["out_of_memory"] = exhausted is not None
    curves = parts.module.curves.block()
    picture = parts.data.observation.picture.with_unit(to_image(selected))
    if run_folder is not None:
        log_final_figures(parts, summary)
        Outcome(parts, iteration, selected, picture, curves, summary).write(run_folder)
        if exhausted is None:
            _keep_checkpoint(parts, run_folder)
    if exhausted is not None:
        remedy, place = exhausted.remedy, "nothing was to be written"
        if run_folder is not None:
            place = f"what it reached is in {run_folder}"
            if parts.precision.name != "bf16" and find_checkpoint(run_folder) is not None:
                remedy = f"try dip resume={shlex.quote(str(run_folder))} precision=bf16"
        raise UserError(exhausted.problem, exhausted.expected, f"{remedy}; {place}")
    interrupt = parts.find(Interrupt)
    return FitResult(picture, curves, summary, run_folder, None if interrupt is None else interrupt.signal)


def _prepare(parts: Parts, run_folder: Path | None, about: Mapping[str, Any], state: Mapping[str, Any] | None) -> None:
    """Check that there is memory and room, and only then clear the run folder, and tell who writes checkpoints."""
    checkpoint, guard = parts.find(Checkpoint), parts.find(DivergenceGuard)
    writes = checkpoint is not None
    if checkpoint is None and state is not None:
        checkpoint = Checkpoint()  # without a folder: it puts the state back, and writes nothing
        parts.trainer.callbacks.append(checkpoint)  # type: ignore[attr-defined]
    parts.module.memory_estimate_mb = round(check_memory(parts).total_mb, 1)
    if run_folder is not None:
        _check_room(parts, run_folder)
        if state is None:
            _clear(run_folder)
    if checkpoint is not None:
        checkpoint.run_folder, checkpoint.resumed = run_folder if writes else None, state
        checkpoint.about = {**about, "precision_in_force": parts.precision.name}
    if guard is not None:
        guard.next_precision = parts.precision.higher(parts.trainer.strategy.root_device)


def _clear(run_folder: Path) -> None:
    """Remove what would be taken for a part of the fit that begins: TensorBoard would draw the curves of both."""
    remove_checkpoints(run_folder)
    for name in ("summary.json", "events.out.tfevents*"):
        for path in run_folder.glob(name):
            path.unlink()


def _keep_checkpoint(parts: Parts, run_folder: Path) -> None:
    """Of a finished fit keep one checkpoint, or none. After all else: until the record is written, it is unfinished."""
    checkpoint, interrupt = parts.find(Checkpoint), parts.find(Interrupt)
    if checkpoint is None or checkpoint.run_folder is None or (interrupt is not None and interrupt.cut_short):
        return
    if parts.cfg.save_checkpoint:
        checkpoint.write(parts.trainer, parts.module)
    remove_checkpoints(run_folder, keep_newest=parts.cfg.save_checkpoint)


def _run(parts: Parts, state: Mapping[str, Any] | None) -> tuple[float, UserError | None]:
    """Run the fit.

    Returns:
        How many seconds the fit has taken so far, and what to tell of a fit that ran out of memory after it had
        reached something.

    Raises:
        UserError: The memory was used up before the first iteration was done.
        KeyboardInterrupt: Ctrl-C came before the first iteration: there is nothing to hand back.
    """
    # The parts of an earlier fit in this process refer to each other in circles; they must not count as this one's.
    gc.collect()
    environment.reset_peak_memory(parts.trainer.strategy.root_device)
    started, told = time.perf_counter(), None
    try:
        parts.trainer.fit(parts.module, datamodule=parts.data)
    except Exception as error:
        if not is_out_of_memory(error):
            told = of_compilation(error)
            if told is None:
                raise
            raise told from None
        done = parts.trainer.global_step
        expected = f"about {parts.module.memory_estimate_mb:.0f} MB"
        remedy = "try image.crop=128, a smaller model.channels, or precision=bf16"
        told = UserError(f"out of memory after {done} iterations", expected, remedy)
        if done == 0:
            raise told from None
        for callback in parts.trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_train_end(parts.trainer, parts.module)
    if parts.trainer.global_step == 0:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - started + (0.0 if state is None else state["seconds"])
    return seconds, told


def _check_room(parts: Parts, run_folder: Path) -> None:
    """Refuse a disk that is full before the fit rather than after it."""
    state = parts.module.state_dict().values()
    # Adam keeps two moments of each weight.
    weights = 3 * sum(tensor.nbytes for tensor in state) if parts.cfg.save_checkpoint else 0
    check_room(run_folder, parts.data.observation.picture.samples.nbytes, weights)
