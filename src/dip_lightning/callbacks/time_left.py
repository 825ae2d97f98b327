"""How long a fit still takes: as likely, from when fits stop by themselves, and at most."""

import math
from dataclasses import dataclass

import pytorch_lightning as pl

from dip_lightning.callbacks.detection import Detection
from dip_lightning.config.cost import likely_share
from dip_lightning.data.noise_level import iterations_for
from dip_lightning.module import DeepImagePrior
from dip_lightning.system.duration import duration

__all__ = ["TimeLeft", "is_soap"]


# The iterations of a fit with SOAP for one of the default's: a third at 256×256, two thirds at 128×128 (measured, see
# docs/results/width.md).
_SHARE_OF_SOAP = 0.5


@dataclass(frozen=True)
class TimeLeft:
    """Iterations that a fit has.

    Attributes:
        likely: After how many it has probably stopped by itself.
        most: How many it has at most.
    """

    likely: int
    most: int

    @classmethod
    def of(cls, trainer: pl.Trainer, module: DeepImagePrior) -> "TimeLeft":
        """Tell what is to be expected of a fit: with stopping rules, that these end it.

        Args:
            trainer: Runs it.
            module: Whose problem's noise and size say when fits stop.
        """
        most = module.first_iteration + int(trainer.num_training_batches)
        stops = any(isinstance(callback, Detection) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        sigma = module.problem.sigma
        if not stops or sigma is None:
            return cls(most, most)
        pixels = math.prod(module.problem.shape[1:])
        sooner = _SHARE_OF_SOAP if is_soap(trainer) else 1.0
        return cls(min(most, round(sooner * likely_share(pixels) * iterations_for(sigma))), most)

    def describe(self, done: int, speed: float) -> str:
        """Say how much time is left: ``"likely 2 min, at most 9 min left"``.

        Args:
            done: Iterations.
            speed: Iterations a second.
        """
        most, likely = self.most - done, self.likely - done
        if not 0 < likely < most:
            return f"{duration(most / speed)} left"
        return f"likely {duration(likely / speed)}, at most {duration(most / speed)} left"


def is_soap(trainer: pl.Trainer) -> bool:
    """Whether the optimiser of a fit is SOAP, which needs fewer iterations."""
    return any(type(optimizer).__name__ == "SOAP" for optimizer in trainer.optimizers)
