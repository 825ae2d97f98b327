"""What a run reached, as the plain values of ``summary.json`` and of TensorBoard's HParams tab."""

from collections.abc import Iterator
from signal import Signals
from typing import Any

from torch import Tensor

from dip_lightning.callbacks import Detection, DivergenceGuard, Interrupt, OutputEMA, PeakPSNR
from dip_lightning.config.build import build
from dip_lightning.data import Observation
from dip_lightning.fitting.build import Parts
from dip_lightning.metrics import psnr
from dip_lightning.runs.status import fingerprint
from dip_lightning.system import environment

__all__ = ["final_figures", "hyperparameters", "summarise"]


def summarise(parts: Parts, selected: Tensor, iteration: int, seconds: float) -> dict[str, Any]:
    """Compose ``summary.json``; what needs a clean image is None without one.

    Args:
        parts: The parts of a finished fit.
        selected: The image that is handed back, (1, C, H, W).
        iteration: The iteration that it is the output of.
        seconds: How long the fit took.

    Returns:
        Plain values. PSNRs are in dB, iterations count from 0, memory is in MB (10⁶ bytes).
    """
    cfg, module, observation = parts.cfg, parts.module, parts.data.observation
    device = parts.trainer.strategy.root_device
    iterations = module.curves.recorded
    measured = parts.find(PeakPSNR)
    peaks = {} if measured is None else {name: peak.as_summary() for name, peak in measured.peaks.items()}
    averaged = peaks.get("averaged")
    clean, quality, noisy = module.clean, None, None
    if clean is not None:
        quality, noisy = float(psnr(selected.to(clean), clean)), float(psnr(module.observation, clean))
    interrupt = parts.find(Interrupt)
    guard, detection = parts.find(DivergenceGuard), parts.find(Detection)
    doubt = None if detection is None else _doubt(detection, observation)
    return {
        "model": cfg.model._target_.rsplit(".", 1)[-1].lower(),
        "num_parameters": sum(parameter.numel() for parameter in module.network.parameters()),
        "residual": bool(cfg.residual),
        "dropout": float(cfg.dropout),
        "precision": build(cfg.precision).name,
        "precision_in_force": parts.precision.describe(next(module.network.parameters()).dtype),
        "seed": cfg.seed,
        "device": environment.describe_device(device),
        "image": observation.source,
        "height": observation.picture.height,
        "width": observation.picture.width,
        "channels": observation.noisy.shape[1],
        "sigma": observation.sigma,
        "sigma_source": observation.sigma_source,
        "sigma_estimated": observation.sigma_estimated,
        "sigma_in_force": observation.sigma_in_force,
        "objective": cfg.objective or observation.objective,
        "input_noise_std": module.input_noise_std,
        "iterations": iterations,
        "seconds": round(seconds, 3),
        "seconds_per_iteration": (seconds - module.seconds_compiling) / max(iterations, 1),
        "seconds_compiling": round(module.seconds_compiling, 3),
        "peak_memory_mb": round(environment.peak_memory_mb(device), 1),
        "memory_estimate_mb": module.memory_estimate_mb,
        "psnr_observation": noisy,
        "one_pass": peaks.get("one_pass"),
        "averaged": averaged,
        "eval": peaks.get("eval"),
        "stopping": {
            "rule": "none" if detection is None else detection.name,
            "iteration": iteration,
            "reason": _reason(parts, iterations),
            "unsure": doubt,
            "psnr": quality,
            "gap_db": None if averaged is None or quality is None else averaged["peak_psnr"] - quality,
            "picks": {} if detection is None else detection.picks(),
            "abstained": {} if detection is None else detection.abstained,
            "cap": parts.data.iterations,
        },
        "selected": {"output": cfg.select, "iteration": iteration, "psnr": quality},
        "remarks": _remarks(parts, iteration, doubt, quality, noisy),
        "signal": interrupt.signal if interrupt is not None and interrupt.cut_short else None,
        "restores": [] if guard is None else guard.restored_at,
        "remedies": [] if guard is None else guard.remedies,
        "gave_up": _gave_up(guard),
        "versions": environment.versions(),
        "git_commit": parts.git_commit,
        "fingerprint": fingerprint(cfg),
    }


def _gave_up(guard: DivergenceGuard | None) -> bool:
    """Whether a fit ended since it diverged: nothing helped, or the precision that it wanted could not be had."""
    return guard is not None and (guard.gave_up or guard.wants_precision is not None)


def _reason(parts: Parts, iterations: int) -> str:
    """Say in one sentence why the fit ended."""
    interrupt, guard = parts.find(Interrupt), parts.find(DivergenceGuard)
    if interrupt is not None and interrupt.cut_short and interrupt.signal is not None:
        return f"It was interrupted ({Signals(interrupt.signal).name})."
    if guard is not None and _gave_up(guard):
        tried = "nothing helped" if guard.escalate else "try a smaller lr or precision=fp64"
        return f"It diverged again and again; {tried}."
    detection = parts.find(Detection)
    if detection is not None and detection.ended_fit:
        rules = " and ".join(detection.settled)
        return f"It stopped by itself: nothing better in the last iterations, by {rules}."
    return "All iterations were done." if iterations == parts.data.iterations else "It ended early."


def _doubt(detection: Detection, observation: Observation) -> str | None:
    """Say in one sentence why what the stopping rules chose should not be trusted; None where nothing says so."""
    doubt = detection.doubt()
    if doubt is None and observation.correlated:
        return (
            "Neighbouring pixels seem to share their noise (JPEG, demosaicing, scaling), or there is hardly any: "
            "no stopping rule can tell such noise from picture."
        )
    return doubt


def _remarks(parts: Parts, iteration: int, doubt: str | None, quality: float | None, noisy: float | None) -> list[str]:
    """What the user should know of the picture that is handed back."""
    remarks = []
    if doubt is not None:
        remarks.append(f"Unsure. {doubt} Look at the picture.")
    guard = parts.find(DivergenceGuard)
    if guard is not None and guard.remedies:
        taken = ", ".join(f"{name}={value:g}" if name == "lr" else f"{name}={value}" for name, value in _changes(guard))
        raised = any("precision" in remedy for remedy in guard.remedies)
        lr = f"; a precision begins with lr={parts.cfg.lr:g}" if raised else ""
        remarks.append(f"It diverged repeatedly and went on with {taken}{lr}.")
    if quality is not None and noisy is not None and quality < noisy:
        remarks.append("The restored picture is worse than the noisy one.")
    ema = parts.find(OutputEMA)
    if parts.cfg.select == "averaged" and ema is not None and ema.alpha**iteration > 0.05:
        share = f"{ema.alpha**iteration:.0%}"
        remedy = "a smaller alpha, or select=one_pass"
        if iteration + 1 == parts.data.iterations:
            remedy = f"more iterations, {remedy}"
        remarks.append(f"{share} of the averaged output is still the first, meaningless one: use {remedy}.")
    return remarks


def _changes(guard: DivergenceGuard) -> Iterator[tuple[str, Any]]:
    """What the guard's remedies changed, in their order."""
    for remedy in guard.remedies:
        yield from ((name, value) for name, value in remedy.items() if name != "iteration")


def hyperparameters(parts: Parts, summary: dict[str, Any]) -> dict[str, Any]:
    """The settings that TensorBoard's HParams tab compares runs by.

    Args:
        parts: The parts of the fit.
        summary: The content of ``summary.json``.
    """
    cfg = parts.cfg
    names = ("model", "residual", "dropout", "precision", "seed", "image", "sigma", "objective", "num_parameters")
    chosen = {name: summary[name] for name in names} | {"stopping": summary["stopping"]["rule"]}
    chosen["iterations"] = summary["stopping"]["cap"]
    structure = {f"model.{key}": value for key, value in cfg.model.items() if key not in ("_target_", *names)}
    values = chosen | structure | {"lr": cfg.lr, "alpha": cfg.alpha, "input_noise_std": summary["input_noise_std"]}
    return {name: "none" if value is None else value for name, value in values.items()}


def final_figures(summary: dict[str, Any]) -> dict[str, float]:
    """The figures that TensorBoard's HParams tab shows beside the settings.

    Args:
        summary: The content of ``summary.json``.
    """
    figures = {"hparam/seconds": float(summary["seconds"])}
    for curve in ("one_pass", "averaged"):
        if summary[curve] is not None:
            figures |= {f"hparam/{curve}/{name}": float(value) for name, value in summary[curve].items()}
    stopping = summary["stopping"]
    if stopping["rule"] != "none":
        figures["hparam/detected_iteration"] = float(stopping["iteration"])
        figures["hparam/iterations_done"] = float(summary["iterations"])
        if stopping["gap_db"] is not None:
            figures["hparam/detection_gap_db"] = stopping["gap_db"]
    if summary["selected"]["psnr"] is not None:
        figures["hparam/selected_psnr"] = summary["selected"]["psnr"]
    return figures
