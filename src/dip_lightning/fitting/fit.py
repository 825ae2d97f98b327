"""One fit of one picture, start to end: builds it from a configuration, runs the trainer, writes the outputs."""

import gc
import logging
import shlex
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Timer

from dip_lightning.callbacks import Checkpoint, Detection, DivergenceGuard, FitProgress, Interrupt
from dip_lightning.callbacks.fit_state import capture
from dip_lightning.compilation import compilation_error
from dip_lightning.config.build import build
from dip_lightning.data import Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Fit, Sources, build_fit
from dip_lightning.fitting.isolation import isolated
from dip_lightning.fitting.memory import check_memory, is_out_of_memory
from dip_lightning.fitting.nonlocal_means import with_nonlocal_means
from dip_lightning.fitting.outcome import FitOutcome, to_image
from dip_lightning.fitting.own import Own
from dip_lightning.fitting.removed import with_brightness
from dip_lightning.fitting.result import FitResult
from dip_lightning.fitting.resume_check import check_same_fit, describe_fit
from dip_lightning.fitting.selection import select
from dip_lightning.fitting.summary import summarise
from dip_lightning.fitting.tensorboard import log_figures, log_settings
from dip_lightning.names import counted, printable
from dip_lightning.precision import Precision
from dip_lightning.problems import Operator
from dip_lightning.runs.checkpoint_file import (
    CheckpointContent,
    FitDescription,
    find_checkpoint,
    read_checkpoint,
    remove_checkpoints,
)
from dip_lightning.runs.record import RECORD
from dip_lightning.runs.run_folder import check_room
from dip_lightning.runs.trial import try_to_write
from dip_lightning.runs.written import adopt
from dip_lightning.system import environment
from dip_lightning.system.loggers import close_loggers, kept_open

__all__ = ["FitResult", "clear_run_folder", "fit_picture"]

log = logging.getLogger(__name__)


def fit_picture(
    cfg: DictConfig,
    run_folder: Path | None = None,
    *,
    image: str | Path | NDArray[np.generic] | Observation | None = None,
    clean: str | Path | NDArray[np.generic] | None = None,
    resume: Path | None = None,
    observation: Observation | None = None,
    own: Own | None = None,
) -> FitResult:
    """Fit one picture as a whole, however large it is.

    Args:
        cfg: The composed configuration; ``tile`` is not looked at.
        run_folder: Where to write; None writes nothing.
        image: A file name, samples or an observation, instead of ``cfg.image.path``.
        clean: A file name or samples, instead of ``cfg.image.clean``.
        resume: A checkpoint of this fit to go on from, see :func:`~dip_lightning.fitting.resume_check.resumable`; None
            begins it, and removes what an earlier fit has left in ``run_folder``.
        observation: What has been read of the picture already, if it has.
        own: Objects to take instead of building them from ``cfg``.

    Returns:
        The restored picture and everything that was measured.

    Raises:
        UserError: A setting, a file or the machine does not allow what was asked.
        KeyboardInterrupt: Ctrl-C came before the first iteration. A later one ends the fit with what was reached.
    """
    own = Own() if own is None else own
    pictures: Sources = {"clean": clean} if clean is not None else {}
    if isinstance(image, Observation):
        observation = image
    elif image is not None:
        pictures["path"] = image
    sources = {"image": image, "clean": clean}
    state = None if resume is None else read_checkpoint(resume)
    precision = _precision_of(cfg, state)
    previous: tuple[Fit, float] | None = None
    with isolated(deterministic=bool(cfg.trainer.get("deterministic"))):
        while True:
            with precision.in_force():
                first = 0 if state is None else state["global_step"]
                fit = build_fit(cfg, run_folder, precision, pictures, first, observation, own)
                about = describe_fit(fit, own.describe(), **sources)
                if state is not None and resume is not None:
                    check_same_fit(state, about, resume)
                try:
                    _prepare(fit, run_folder, about, state)
                    with kept_open(fit.trainer):
                        if run_folder is not None:
                            log_settings(fit, run_folder)
                        seconds, exhausted = _run(fit, state)
                except UserError as refused:
                    if previous is None:
                        raise
                    log.warning("the fit ends here, since it cannot go on in %s: %s", precision.name, refused)
                    return _hand_back(*previous, run_folder)
                if exhausted is not None or not _goes_on(fit):
                    return _hand_back(fit, seconds, run_folder, exhausted)
                close_loggers(fit.trainer)
                higher = precision.higher(fit.trainer.strategy.root_device)
                assert higher is not None  # else the guard would not have ended the fit for it
                state = {**about, **capture(fit.trainer, fit.module), "seconds": seconds, "precision_in_force": higher}
                precision, previous = _precision_of(cfg, state), (fit, seconds)


def _precision_of(cfg: DictConfig, state: CheckpointContent | None) -> Precision:
    """The precision that was asked for; or the higher one that a fit with the same wish had come to."""
    asked: Precision = build(cfg.precision)
    if state is None or build(OmegaConf.create(state["config"]).precision).name != asked.name:
        return asked
    return Precision.named(state["precision_in_force"])


def _goes_on(fit: Fit) -> bool:
    """Whether the fit has ended only to go on in a higher precision."""
    guard, detection, interrupt = fit.find(DivergenceGuard), fit.find(Detection), fit.find(Interrupt)
    if guard is None or guard.wants_precision is None:
        return False
    if interrupt is not None and interrupt.signal is not None:  # it came in the very iteration that ended the fit
        interrupt.cut_short = True
        return False
    ended = detection is not None and detection.ended_fit
    return not ended and fit.module.iterate.iteration + 1 < fit.data.iterations


def _hand_back(fit: Fit, seconds: float, run_folder: Path | None, exhausted: UserError | None = None) -> FitResult:
    """Select the result, and write it.

    Raises:
        UserError: The memory was used up; what had been reached is written.
    """
    selection = select(fit.module)
    if not torch.isfinite(selection.image).all():
        raise UserError(
            "the output is not finite: the fit diverged", "a smaller step", f"try lr={fit.settings.lr / 10:g}"
        )
    selection = with_nonlocal_means(fit, selection)
    observation = fit.data.observation
    if observation.range.source != "type":  # what fills its type comes out as it did before there were ranges
        image = with_brightness(fit.module.problem, selection.image, observation.sigma_in_force)
        selection = replace(selection, image=image)
    summary = summarise(fit, selection, seconds, out_of_memory=exhausted is not None)
    curves = fit.module.curves.block()
    output = observation.completed(to_image(selection.image))
    picture = observation.picture.with_unit(output)
    if run_folder is not None:
        log_figures(fit, summary)
        FitOutcome(fit, selection, picture, curves, summary).write(run_folder)
        if exhausted is None:
            _keep_checkpoint(fit, run_folder)
    if exhausted is not None:
        remedy, place = exhausted.remedy, "nothing was to be written"
        if run_folder is not None:
            place = f"what it reached is in {run_folder}"
            if fit.precision.name != "bf16" and find_checkpoint(run_folder) is not None:
                remedy = f"try dip resume={shlex.quote(str(run_folder))} precision=bf16"
        raise UserError(exhausted.problem, exhausted.expected, f"{remedy}; {place}")
    interrupt = fit.find(Interrupt)
    return FitResult(picture, output, curves, summary, run_folder, None if interrupt is None else interrupt.signal)


def _prepare(fit: Fit, run_folder: Path | None, about: FitDescription, state: CheckpointContent | None) -> None:
    """Check that there is memory and room, and only then clear the run folder, and tell who writes checkpoints."""
    checkpoint, guard = fit.find(Checkpoint), fit.find(DivergenceGuard)
    writes = checkpoint is not None
    if checkpoint is None and state is not None:
        checkpoint = Checkpoint()  # without a folder: it puts the state back, and writes nothing
        fit.trainer.callbacks.append(checkpoint)  # type: ignore[attr-defined]
    fit.module.memory_estimate_mb = round(check_memory(fit).total_mb, 1)
    if run_folder is not None:
        _check_room(fit, run_folder)
        try_to_write(run_folder, fit.data.observation.picture)
        if state is None:
            clear_run_folder(run_folder)
    if checkpoint is not None:
        checkpoint.run_folder, checkpoint.resumed = run_folder if writes else None, state
        checkpoint.about = {**about, "precision_in_force": fit.precision.name}
    progress = fit.find(FitProgress)
    if progress is not None:
        operator = fit.module.problem.operator
        told = operator.told if isinstance(operator, Operator) else ""
        name, kind = printable(fit.data.observation.name), fit.data.observation.describe()
        named = "" if name in progress.title else f"{name}: "  # of a folder the title names it
        progress.about = named + printable(kind + (f"; {told}" if told else ""))
    if guard is not None:
        guard.next_precision = fit.precision.higher(fit.trainer.strategy.root_device)


def clear_run_folder(run_folder: Path) -> None:
    """Remove what would be taken for a part of the fit that begins: TensorBoard would draw the curves of both."""
    adopt(run_folder)
    remove_checkpoints(run_folder)
    for name in (RECORD, "events.out.tfevents*", "hparams.yaml"):
        for path in run_folder.glob(name):
            path.unlink()


def _keep_checkpoint(fit: Fit, run_folder: Path) -> None:
    """Of a finished fit keep one checkpoint, or none. After all else: until the record is written, it is unfinished."""
    checkpoint, interrupt = fit.find(Checkpoint), fit.find(Interrupt)
    if checkpoint is None or checkpoint.run_folder is None or (interrupt is not None and interrupt.cut_short):
        return
    if fit.settings.save_checkpoint:
        checkpoint.write(fit.trainer, fit.module)
    remove_checkpoints(run_folder, keep_newest=fit.settings.save_checkpoint)


def _run(fit: Fit, state: CheckpointContent | None) -> tuple[float, UserError | None]:
    """Run the fit.

    Returns:
        How many seconds the fit has taken so far, and what to tell of a fit that ran out of memory after it had
        reached something.

    Raises:
        UserError: The memory was used up before an iteration was done.
        KeyboardInterrupt: Ctrl-C came before the first iteration: there is nothing to hand back.
    """
    # The parts of an earlier fit in this process refer to each other in circles; they must not count as this one's.
    gc.collect()
    environment.reset_peak_memory(fit.trainer.strategy.root_device)
    started, told = time.perf_counter(), None
    ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        fit.trainer.fit(fit.module)
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        # Lightning makes this of a Ctrl-C that came before or after the iterations, and leaves it ignored for good.
        signal.signal(signal.SIGINT, ctrl_c)
        raise KeyboardInterrupt from None
    except Exception as error:
        if not is_out_of_memory(error):
            told = compilation_error(error)
            if told is None:
                raise
            raise told from None
        done = fit.module.first_iteration + fit.trainer.global_step
        expected = f"about {fit.module.memory_estimate_mb:.0f} MB"
        remedy = "try image.crop=128, a smaller model.channels, or precision=bf16"
        told = UserError(f"out of memory after {counted(done, 'iteration')}", expected, remedy)
        if fit.trainer.global_step == 0:
            raise told from None
        for callback in fit.trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_train_end(fit.trainer, fit.module)
    if fit.trainer.global_step == 0:
        timer = fit.find(Timer)
        if timer is not None and (timer.time_remaining() or 0) <= 0:
            raise UserError(
                f"trainer.max_time of {timer.time_elapsed():.0f} s", "time for an iteration", "give it more"
            )
        raise KeyboardInterrupt
    seconds = time.perf_counter() - started + (0.0 if state is None else state["seconds"])
    return seconds, told


def _check_room(fit: Fit, run_folder: Path) -> None:
    """Refuse a disk that is full before the fit rather than after it."""
    state = fit.module.state_dict().values()
    # Adam keeps two moments of each weight.
    weights = 3 * sum(tensor.nbytes for tensor in state) if fit.settings.save_checkpoint else 0
    check_room(run_folder, fit.data.observation.picture.samples.nbytes, weights)
