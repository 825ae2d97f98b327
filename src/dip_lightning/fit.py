"""One fit, start to end: builds the parts from a configuration, runs the trainer, writes the outputs."""

import gc
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from dip_lightning import environment
from dip_lightning.callbacks import Checkpoint, Detection, DivergenceGuard, Interrupt, OutputEMA
from dip_lightning.checkpoint_file import read_checkpoint, remove_checkpoints
from dip_lightning.config import build
from dip_lightning.data import Observation, Picture
from dip_lightning.errors import UserError
from dip_lightning.logging_guard import quiet_writers, spared_loggers
from dip_lightning.memory import check_memory, is_out_of_memory
from dip_lightning.metrics import psnr
from dip_lightning.parts import Parts, Pictures, build_data, build_parts
from dip_lightning.precision import Precision
from dip_lightning.run_folder import check_room, write_run
from dip_lightning.same_fit import check_same_fit, describe_fit
from dip_lightning.summary import final_figures, hyperparameters, summarise
from dip_lightning.tiles import Tiles

__all__ = ["FitResult", "fit", "isolated"]


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
        iteration, selected = _select(parts)
        if not torch.isfinite(selected).all():
            raise UserError("the output is not finite: the fit diverged", "a smaller step", f"try lr={cfg.lr / 10:g}")
        summary = summarise(parts, selected, iteration, seconds) | {"digest": about["digest"]}
        summary["out_of_memory"] = exhausted is not None
        curves = parts.module.curves.block()
        picture = parts.data.observation.picture.with_unit(_to_image(selected))
        result = _Result(parts, iteration, selected, picture, curves, summary)
        if run_folder is not None:
            _log_final_figures(parts, summary)
            _write(result, run_folder)
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


@dataclass(frozen=True)
class _Result:
    """What a finished fit writes."""

    parts: Parts
    iteration: int
    selected: Tensor
    picture: Picture
    curves: dict[str, NDArray[np.floating]]
    summary: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the files of the run folder."""
        write_run(
            folder,
            restored=self.picture,
            observation=_to_image(self.parts.data.observation.noisy),
            summary=self.summary,
            curves=self.curves,
            panels=_panels(self.parts, self.iteration, self.selected),
        )


def _check_room(parts: Parts, run_folder: Path) -> None:
    """Refuse a disk that is full before the fit rather than after it."""
    state = parts.module.state_dict().values()
    # Adam keeps two moments of each weight.
    weights = 3 * sum(tensor.nbytes for tensor in state) if parts.cfg.save_checkpoint else 0
    check_room(run_folder, parts.data.observation.picture.samples.nbytes, weights)


def _write(result: _Result, run_folder: Path) -> None:
    """Write a result; where the disk does not take it, into the folder for temporary files: a fit is not lost.

    Raises:
        UserError: It is not in the run folder, but elsewhere.
        OSError: It is nowhere.
    """
    try:
        result.write(run_folder)
    except OSError as error:
        refuge = Path(tempfile.mkdtemp(prefix="dip-"))
        try:
            result.write(refuge)
        except OSError:
            raise error from None
        raise UserError(
            f"{run_folder} cannot be written ({error.strerror or error})",
            "a folder with room that you may write to",
            f"the results are in {refuge}",
        ) from None


def _select(parts: Parts) -> tuple[int, Tensor]:
    """The iteration and the image that are handed back: the stopping rules' pick, or else the last output."""
    detection = parts.find(Detection)
    chosen = None if detection is None else detection.chosen()
    return (parts.module.iterate.iteration, _outputs(parts)[parts.cfg.select]) if chosen is None else chosen


def _outputs(parts: Parts) -> dict[str, Tensor]:
    """The last outputs by the words of ``select``, each (1, C, H, W)."""
    iterate, guard = parts.module.iterate, parts.find(DivergenceGuard)
    one_pass = iterate.one_pass
    if guard is not None and iterate.diverged is not None and bool(iterate.diverged):
        # The fit ended off its course; what is handed back is from before.
        one_pass = one_pass if guard.last_good_output is None else guard.last_good_output
    outputs = {"one_pass": one_pass}
    ema = parts.find(OutputEMA)
    if ema is not None and ema.average is not None:
        outputs["averaged"] = ema.average
    return outputs


def _log_final_figures(parts: Parts, summary: dict[str, Any]) -> None:
    detected = parts.module.curves.block().get("detected")
    with spared_loggers(parts.trainer) as loggers:
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):
                if detected is not None and summary["signal"] is None:  # an interrupted fit may detect another
                    logger.log_metrics({"stopping/detected": 1.0}, step=int(np.nanargmax(detected)))
                logger.log_hyperparams(hyperparameters(parts, summary), final_figures(summary))
                logger.finalize("success")


def _panels(parts: Parts, iteration: int, selected: Tensor) -> dict[str, NDArray[np.float64]]:
    """The images of ``comparison.png`` by their titles."""
    observation = parts.data.observation
    images = {"observation": observation.noisy}
    outputs = _outputs(parts)
    if iteration == parts.module.iterate.iteration:
        images |= {f"{name.replace('_', '-')} output": image for name, image in outputs.items()}
    else:
        images |= {"last one-pass output": outputs["one_pass"], f"restored, iteration {iteration}": selected}
    panels = {}
    for name, image in images.items():
        title = name
        if observation.clean is not None:
            title += f", {float(psnr(image.double().cpu(), observation.clean)):.2f} dB"
        panels[title] = _to_image(image)
    if observation.clean is not None:
        panels["clean image"] = _to_image(observation.clean)
    return panels


def _to_image(tensor: Tensor) -> NDArray[np.float64]:
    """(1, C, H, W) → (H, W, C) float64 on the host."""
    return tensor[0].permute(1, 2, 0).double().cpu().numpy()


# Remarks of Lightning that do not concern one image.
_REMARKS = (
    "does not have many workers",  # a batch is a number
    "GPU available but not used",
    "is smaller than the logging interval",  # CurveLogger logs what is left at the end
    "AMP with fp16 is not supported on CPU",  # refused by Precision.check_device; Lightning would do something else
    "isinstance.treespec, LeafSpec",  # Lightning 2.6 on torch 2.13
)


@contextmanager
def isolated() -> Iterator[None]:
    """Keep Lightning's remarks out of the output, and settings and random states from outliving the fit."""
    logger = logging.getLogger("pytorch_lightning")
    level, deterministic = logger.level, torch.are_deterministic_algorithms_enabled()
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for remark in _REMARKS:
                warnings.filterwarnings("ignore", message=f".*{remark}")
            # Named, since fork_rng otherwise wakes every GPU of the machine.
            used = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
            with torch.random.fork_rng(devices=used), quiet_writers():
                yield
    finally:
        logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic)
