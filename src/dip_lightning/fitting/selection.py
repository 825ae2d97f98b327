"""Which output of which iteration is handed back."""

from dataclasses import dataclass
from typing import Any, TypeVar

import pytorch_lightning as pl
from torch import Tensor

from dip_lightning.callbacks import Detection, DivergenceGuard, OutputEMA
from dip_lightning.errors import UserError
from dip_lightning.module import DeepImagePrior

__all__ = ["Selection", "find_callback", "last_outputs", "select"]

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Selection:
    """What is handed back of a fit.

    Attributes:
        output: ``"averaged"`` or ``"one_pass"``.
        iteration: Which iteration it is the output of, from 0.
        image: The output, (1, C, H, W).
        detected: Whether stopping rules picked the iteration; if not, it is the last.
        doubt: Why the pick should not be trusted, in one sentence; None where nothing speaks against it.
        nonlocal_means: Share of non-local means in the image, in [0, 1].
        fitted: The output of the fit alone; None for the image.
    """

    output: str
    iteration: int
    image: Tensor
    detected: bool = False
    doubt: str | None = None
    nonlocal_means: float = 0.0
    fitted: Tensor | None = None


def find_callback(trainer: pl.Trainer, kind: type[Kind]) -> Kind | None:
    """Return the callback of a kind, or None where there is none."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def select(module: DeepImagePrior) -> Selection:
    """Select what is handed back after ``trainer.fit``: the stopping rules' pick, or else the last output.

    Args:
        module: The fit, after its last iteration.

    Raises:
        UserError: There was no iteration.
    """
    if not hasattr(module, "iterate"):
        raise UserError("a fit without an iteration", "one that was run", "call trainer.fit first")
    detection = find_callback(module.trainer, Detection)
    last = last_outputs(module)
    output = module.select if module.select in last else "one_pass"
    chosen = None if detection is None else detection.chosen()
    doubt = None if detection is None else detection.doubt()
    if chosen is None:
        return Selection(output, module.iterate.iteration, last[output], doubt=doubt)
    return Selection(output, *chosen, detected=True, doubt=doubt)


def last_outputs(module: DeepImagePrior) -> dict[str, Tensor]:
    """Return the last outputs by the words of ``select``, each (1, C, H, W)."""
    iterate, guard = module.iterate, find_callback(module.trainer, DivergenceGuard)
    one_pass = iterate.one_pass
    if guard is not None and iterate.diverged is not None and bool(iterate.diverged):
        # The fit ended off its course; what is handed back is from before.
        one_pass = one_pass if guard.last_good_output is None else guard.last_good_output
    last = {"one_pass": one_pass}
    ema = find_callback(module.trainer, OutputEMA)
    if ema is not None and ema.warm_average is not None:
        last["averaged"] = ema.warm_average
    return last
