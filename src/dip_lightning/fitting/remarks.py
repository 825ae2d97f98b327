"""What a user should know of a fit, as sentences: the remarks of its record."""

from collections.abc import Iterator
from typing import Any

from dip_lightning.callbacks import DivergenceGuard, OutputEMA
from dip_lightning.data import Observation, Picture
from dip_lightning.fitting.build import Fit

__all__ = ["tell_averaging", "tell_beyond", "tell_course", "tell_notes"]


def tell_course(fit: Fit) -> Iterator[str]:
    """What the user should know of the course of the fit.

    Args:
        fit: A finished fit.
    """
    yield from tell_notes(fit.data.observation.picture)
    yield from tell_beyond(fit.data.observation)
    guard = fit.find(DivergenceGuard)
    if guard is not None and guard.remedies:
        taken = ", ".join(f"{name}={value:g}" if name == "lr" else f"{name}={value}" for name, value in _changes(guard))
        raised = any("precision" in remedy for remedy in guard.remedies)
        lr = f"; a precision begins with lr={fit.settings.lr:g}" if raised else ""
        yield f"It diverged repeatedly and went on with {taken}{lr}."


def tell_averaging(fit: Fit, iteration: int) -> Iterator[str]:
    """What the user should know of how much the averaged output whose PSNR is recorded has averaged.

    Args:
        fit: A finished fit.
        iteration: Which iteration's output is handed back.
    """
    ema = fit.find(OutputEMA)
    if fit.module.problem.clean is None or fit.settings.select != "averaged" or ema is None or ema.alpha is None:
        return
    left = ema.alpha**iteration
    if left > 0.05:
        yield (
            f"{left:.0%} of the averaged output that the curves are of is still the first, meaningless one "
            f"(alpha={ema.alpha:g}); what is handed back averages without it."
        )


def tell_beyond(observation: Observation) -> Iterator[str]:
    """What the user should know of pixels beyond a range that was given: no more than noise may have put them there.

    Args:
        observation: What was fitted.
    """
    if observation.range.source == "given" and observation.beyond:
        count = observation.beyond
        told = "1 pixel lies" if count == 1 else f"{count} pixels lie"
        handed = "is handed back as it was" if count == 1 else "are handed back as they were"
        yield f"{told} beyond image.range and {handed}, noise and all; image.range=null finds one that holds them."


def tell_notes(picture: Picture) -> Iterator[str]:
    """What the user should know of how the file was read, as sentences.

    Args:
        picture: What was read.
    """
    for note in picture.notes:
        yield f"{note[0].upper()}{note[1:]}."


def _changes(guard: DivergenceGuard) -> Iterator[tuple[str, Any]]:
    """What the guard's remedies changed, in their order."""
    for remedy in guard.remedies:
        yield from ((name, value) for name, value in remedy.items() if name != "iteration")
