"""What a run reached, as the plain values of ``summary.json``."""

from collections.abc import Iterable
from signal import Signals
from typing import NotRequired, TypedDict, cast

import torch
from torch import Tensor

from dip_lightning.callbacks import Detection, DivergenceGuard, Interrupt, PeakPSNR
from dip_lightning.data import Observation
from dip_lightning.fitting.build import Fit
from dip_lightning.fitting.given_problem import PROBLEM
from dip_lightning.fitting.observed import summarise_noise, summarise_range
from dip_lightning.fitting.outcome import to_image
from dip_lightning.fitting.remarks import tell_averaging, tell_course
from dip_lightning.fitting.removed import Removed, is_doubtful, measure_removed
from dip_lightning.fitting.selection import Selection
from dip_lightning.metrics import psnr
from dip_lightning.problems.data_terms import l1
from dip_lightning.problems.problem import DataTerm
from dip_lightning.runs.record import (
    Remedy,
    RemovedSummary,
    SelectedSummary,
    StoppingSummary,
    Summary,
    TilesSummary,
)
from dip_lightning.system import environment

__all__ = ["interrupted_by", "summarise", "summarise_ending"]


class _Ending(TypedDict):
    """What the records of a whole picture and of one in tiles tell alike, by the keys of :class:`Summary`."""

    psnr_observation: float | None
    stopping: StoppingSummary
    selected: SelectedSummary
    removed: RemovedSummary | None
    worse_than_observation: bool
    tiles: NotRequired[TilesSummary]  # which a record in tiles adds
    remarks: list[str]
    signal: int | None


def summarise_ending(
    stopping: StoppingSummary,
    output: str,
    noisy: float | None,
    signal: int | None,
    course: Iterable[str],
    averaging: Iterable[str],
    removed: Removed | None,
    nonlocal_means: float,
    psnr_lost: float | None,
    gave_up: bool,
) -> _Ending:
    """Compose what the records of a whole picture and of one in tiles tell alike.

    Args:
        stopping: Why the fits ended, and with what.
        output: Which output is handed back.
        noisy: PSNR of the observation in dB; None without a clean image.
        signal: The number of the signal that ended the fits early, or None.
        course: What the user should know of the course of the fits.
        averaging: What the user should know of how much the averaged output has averaged.
        removed: What was removed; None where nothing was done.
        nonlocal_means: Their share in what is handed back.
        psnr_lost: PSNR of what is handed back in dB where samples were lost; None without a clean image, or lost ones.
        gave_up: Whether a fit ended since it diverged again and again.
    """
    quality = stopping["psnr"]
    worse = quality is not None and noisy is not None and quality < noisy
    if quality is None and removed is not None:
        worse = removed.is_worse
        # Of the two, what was done says more than how sure the rules were of when to do it.
        stopping["unsure"] = removed.doubt(gave_up=gave_up) or stopping["unsure"]
    remarks = [] if stopping["unsure"] is None else [f"Unsure. {stopping['unsure']} Look at the picture."]
    remarks += course
    if quality is not None and worse:
        remarks.append("The restored picture is worse than the noisy one.")
    return {
        "psnr_observation": noisy,
        "stopping": stopping,
        "selected": {
            "output": output,
            "iteration": stopping["iteration"],
            "psnr": quality,
            "nonlocal_means": nonlocal_means,
            "psnr_lost": psnr_lost,
        },
        "removed": None if removed is None else removed.as_summary(),
        "worse_than_observation": worse,
        "remarks": [*remarks, *averaging],
        "signal": signal,
    }


def interrupted_by(signal: int) -> str:
    """Say what ended a fit early, without a full stop: ``It was interrupted (SIGINT)``."""
    return f"It was interrupted ({Signals(signal).name})"


def summarise(fit: Fit, selection: Selection, seconds: float, *, out_of_memory: bool = False) -> Summary:
    """Compose ``summary.json``; what needs a clean image is None without one.

    Args:
        fit: A finished fit.
        selection: What is handed back.
        seconds: How long the fit took.
        out_of_memory: Whether it ended for want of memory.
    """
    settings, module, observation = fit.settings, fit.module, fit.data.observation
    device = fit.trainer.strategy.root_device
    iterations = module.curves.recorded
    measured = fit.find(PeakPSNR)
    peaks = {} if measured is None else {name: peak.as_summary() for name, peak in measured.peaks.items()}
    averaged = peaks.get("averaged")
    clean, quality, gap, noisy = module.problem.clean, None, None, None
    if clean is not None:
        quality, seen = _quality(observation, selection.image), module.problem.observation
        noisy = float(psnr(seen, clean)) if seen.shape == clean.shape else None
    if clean is not None and averaged is not None:  # of outputs, as the curve that the peak is of
        fitted = selection.image if selection.fitted is None else selection.fitted
        gap = averaged["peak_psnr"] - float(psnr(fitted.to(clean), clean))
    interrupt, data_term = fit.find(Interrupt), module.problem.data_term
    term = getattr(data_term, "__name__", type(data_term).__name__)
    removed = measure_removed(
        module.problem, selection.image, observation.sigma_in_force, doubtful=is_doubtful(observation, term)
    )
    guard = fit.find(DivergenceGuard)
    signal = interrupt.signal if interrupt is not None and interrupt.cut_short else None
    course, averaging = tell_course(fit), tell_averaging(fit, selection.iteration)
    operator = module.problem.operator
    lost = observation.psnr_of_lost(to_image(selection.image))
    return {
        "model": type(module.prior.network).__name__.lower(),
        "operator": getattr(operator, "name", type(operator).__name__).lower(),
        "num_parameters": sum(parameter.numel() for parameter in module.prior.network.parameters()),
        "residual": settings.residual,
        "dropout": settings.dropout,
        "precision": settings.precision,
        "precision_in_force": fit.precision.describe(next(module.prior.network.parameters()).dtype),
        "seed": settings.seed,
        "device": environment.describe_device(device),
        "image": observation.source,
        "height": observation.picture.height,
        "width": observation.picture.width,
        "channels": observation.picture_shape[0],
        "sigma": observation.sigma,
        "sigma_source": observation.sigma_source,
        "sigma_estimated": observation.sigma_estimated,
        "sigma_in_force": observation.sigma_in_force,
        "noise": summarise_noise(observation),
        "range": summarise_range(observation),
        "data_term": term,
        "input_noise_std": module.prior.policy.std,
        "betas": _betas(fit),
        "iterations": iterations,
        "seconds": round(seconds, 3),
        "seconds_per_iteration": (seconds - module.seconds_compiling) / max(iterations, 1),
        "seconds_compiling": round(module.seconds_compiling, 3),
        "peak_memory_mb": round(environment.peak_memory_mb(device), 1),
        "memory_estimate_mb": module.memory_estimate_mb,
        "one_pass": peaks.get("one_pass"),
        "averaged": averaged,
        "eval": peaks.get("eval"),
        **summarise_ending(
            _stopping(fit, selection, quality, gap),
            settings.select,
            noisy,
            signal,
            course,
            averaging,
            removed,
            selection.nonlocal_means,
            lost,
            _gave_up(guard),
        ),
        "restores": [] if guard is None else guard.restored_at,
        "remedies": [] if guard is None else cast(list[Remedy], guard.remedies),
        "gave_up": _gave_up(guard),
        "out_of_memory": out_of_memory,
        "versions": environment.versions(),
        "git_commit": fit.git_commit,
        "digest": observation.digest,
        "fingerprint": settings.fingerprint,
    }


def _betas(fit: Fit) -> list[float] | None:
    """Adam's weights of the past; None of what has none."""
    optimizers = fit.trainer.optimizers
    betas = optimizers[0].param_groups[0].get("betas") if optimizers else None
    return None if betas is None else [float(beta) for beta in betas]


def _stopping(fit: Fit, selection: Selection, quality: float | None, gap: float | None) -> StoppingSummary:
    """Tell why a fit ended, and with what: the PSNR of that, and how far below the peak it lies, in dB."""
    detection = fit.find(Detection)
    return {
        "rule": "none" if detection is None else detection.name,
        "iteration": selection.iteration,
        "reason": _reason(fit, fit.module.curves.recorded),
        "unsure": None if detection is None else _doubt(detection, fit.data.observation, fit.module.problem.data_term),
        "psnr": quality,
        "gap_db": gap,
        "picks": {} if detection is None else detection.picks(),
        "abstained": {} if detection is None else detection.abstained,
        "cap": fit.data.iterations,
    }


def _quality(observation: Observation, image: Tensor) -> float | None:
    """The PSNR in dB of the picture that is handed back, clipped and rounded; of a whole problem, of its output."""
    if observation.clean is None:
        return None
    output = observation.completed(to_image(image))
    if observation.source != PROBLEM:
        output = observation.picture.as_held(output)
    # What lies beyond the range is handed through, and not judged.
    return float(psnr(torch.from_numpy(output), torch.from_numpy(observation.completed(to_image(observation.clean)))))


def _gave_up(guard: DivergenceGuard | None) -> bool:
    """Whether a fit ended since it diverged: nothing helped, or the precision that it wanted could not be had."""
    return guard is not None and (guard.gave_up or guard.wants_precision is not None)


def _reason(fit: Fit, iterations: int) -> str:
    """Say in one sentence why the fit ended."""
    interrupt, guard = fit.find(Interrupt), fit.find(DivergenceGuard)
    if interrupt is not None and interrupt.cut_short and interrupt.signal is not None:
        return f"{interrupted_by(interrupt.signal)}."
    if guard is not None and _gave_up(guard):
        tried = "nothing helped" if guard.escalate else "try a smaller lr or precision=fp64"
        return f"It diverged again and again; {tried}."
    detection = fit.find(Detection)
    if detection is not None and detection.ended_fit:
        rules = " and ".join(detection.settled)
        return f"It stopped by itself: nothing better in the last iterations, by {rules}."
    return "All iterations were done." if iterations == fit.data.iterations else "It ended early."


def _doubt(detection: Detection, observation: Observation, data_term: DataTerm) -> str | None:
    """Say in one sentence why what the stopping rules chose should not be trusted; None where nothing says so."""
    doubt = detection.doubt()
    # Pixels that are lost here and there look like shared noise to the wavelets, which find hardly any on the finest
    # scale; who fits the absolute error expects them.
    if doubt is None and observation.correlated and data_term is not l1 and detection.is_deceived_by_shared_noise:
        return (
            "Neighbouring pixels seem to share their noise (JPEG, demosaicing, scaling), or there is hardly any: "
            "this stopping rule cannot tell such noise from picture; try stopping=vote."
        )
    return doubt
