"""What a fit has removed from the observation, held against the noise: the check that needs no clean image."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dip_lightning.data import Observation
from dip_lightning.data.whiteness import measure_whiteness
from dip_lightning.problems.data_terms import mse
from dip_lightning.problems.operators.operator import Identity
from dip_lightning.problems.problem import Problem
from dip_lightning.runs.record import RemovedSummary

__all__ = ["Removed", "combine", "is_doubtful", "measure_removed", "with_brightness"]

# Measured on crops of 64x64 of six photographs, with white noise of 10 to 50 of 255 and shot noise, a U-net of 16
# channels. A fit that gained more than 3 dB removed at most 1.25 times the noise, with a correlation of neighbours of
# 0.20; one that lost some removed 1.35 times the noise and more, with 0.23 and more. Where as much error is left as
# there was noise, 1.41 times the noise are removed.
_MUCH, _ALIKE = 1.3, 0.2
# What is removed beyond so many times the noise is picture, whatever the noise was estimated from.
_FAR_TOO_MUCH = 3.0
# A fit that removes less than this share of the noise has fitted the rest.
_LITTLE = 0.5
# A change of brightness, as a share of the noise; a fit that has converged changes less than a hundredth of it.
_SHIFTED = 0.2
# In grey levels of 255: less noise than that is none, and nobody sees what is removed for it.
_NONE = 1.0


@dataclass(frozen=True)
class Removed:
    """What was removed, y − A(x), over the samples that were measured and fitted.

    Attributes:
        rms: Its root mean square, on the scale 0 to 255.
        shift: The mean of the channel whose mean has changed most, on the same scale.
        neighbours: How alike horizontal and vertical neighbours are in it, a correlation in [-1, 1].
        sigma: The noise that it is held against, on the same scale.
        doubtful: Whether σ is no measure: noise that neighbours share is not seen by the estimate, and impulses are no
            Gaussian noise.
    """

    rms: float
    shift: float
    neighbours: float
    sigma: float
    doubtful: bool

    @property
    def times_sigma(self) -> float:
        """How many times the noise it is."""
        return self.rms / max(self.sigma, _NONE)

    @property
    def is_picture(self) -> bool:
        """Whether it is more than the noise, and neighbours are alike in it, as in a picture."""
        return not self.doubtful and self.times_sigma > _MUCH and self.neighbours > _ALIKE

    @property
    def is_worse(self) -> bool:
        """Whether the result is worse than what was observed: several times the noise was removed, and is picture."""
        return self.is_picture and self.times_sigma >= _FAR_TOO_MUCH

    def doubt(self, *, gave_up: bool = False) -> str | None:
        """Say in one sentence why the result should not be trusted; None where nothing says so.

        Args:
            gave_up: Whether the fit ended since it diverged again and again.
        """
        size = f"{self.times_sigma:.1f} times the noise"
        if self.sigma < _NONE:
            size = f"{self.rms:.1f} of 255, where there is next to no noise"
        if self.is_picture and gave_up:
            return f"What was removed is {size}, and looks like picture: the fit had left its course."
        if self.is_worse:
            told = "the fit was too short, or the result is worse than what was given"
            return f"What was removed is {size}, and looks like picture: {told}."
        if self.is_picture:
            return f"What was removed is {size}, and looks like picture: the fit may have been too short."
        if self.doubtful:
            return None
        if self.times_sigma >= _FAR_TOO_MUCH:
            return f"What was removed is {size}."
        if abs(self.shift) > _SHIFTED * max(self.sigma, _NONE):
            return f"The brightness has changed by {-self.shift:+.1f} of 255."
        if self.times_sigma < _LITTLE and self.sigma >= 2 * _NONE:
            return f"What was removed is only {self.times_sigma:.0%} of the noise: the fit may have been too long."
        return None

    def as_summary(self) -> RemovedSummary:
        """Return the plain values."""
        return {
            "rms": self.rms,
            "shift": self.shift,
            "neighbours": self.neighbours,
            "times_sigma": self.times_sigma,
        }


@torch.no_grad()
def measure_removed(problem: Problem, image: Tensor, sigma: float, *, doubtful: bool) -> Removed:
    """Measure what was removed.

    Args:
        problem: What was asked.
        image: What is handed back, (1, C, H, W), on the device of the problem.
        sigma: Standard deviation of the noise on the scale 0 to 255.
        doubtful: Whether that is no measure of it, see :class:`Removed`.
    """
    observation = problem.observation
    residual = (observation - problem.operator(image.to(observation)))[0].permute(1, 2, 0).double().cpu().numpy()
    counts = np.ones_like(residual, dtype=bool)
    if problem.known is not None:
        known = problem.known.expand_as(observation)[0].permute(1, 2, 0).cpu().numpy()
        counts &= known > 0
    of_channels = residual.sum(axis=(0, 1), where=counts) / np.maximum(counts.sum(axis=(0, 1)), 1)
    return Removed(
        rms=255 * float(np.sqrt(np.square(residual).mean(where=counts))),
        shift=255 * float(max(of_channels, key=abs)),
        neighbours=measure_whiteness(residual, counts).neighbours,
        sigma=sigma,
        doubtful=doubtful,
    )


@torch.no_grad()
def with_brightness(problem: Problem, image: Tensor, sigma: float) -> Tensor:
    """Return an image whose channels have the means of the observation, where they had almost.

    A fit comes to them last: half a grey level is missing when it is best. Only of plain denoising by the squared
    error, where the mean of the observation is the best guess. A larger change is left, so that it can be told.

    Args:
        problem: What was asked.
        image: What is handed back, (1, C, H, W), on the device of the problem.
        sigma: Standard deviation of the noise on the scale 0 to 255.
    """
    if not isinstance(problem.operator, Identity) or problem.data_term is not mse:
        return image
    missing = problem.observation - image.to(problem.observation)
    if problem.known_weight is not None:
        missing = missing * problem.known_weight
    shift = missing.mean(dim=(2, 3), keepdim=True)
    if float(shift.abs().max()) * 255 > _SHIFTED * max(sigma, _NONE):
        return image
    return problem.complete(image.to(shift) + shift)


def is_doubtful(observation: Observation, data_term: str) -> bool:
    """Tell whether the noise of an observation is no measure of what may be removed, see :class:`Removed`.

    Args:
        observation: The picture.
        data_term: What is minimised, by its name.
    """
    return observation.correlated or data_term in ("l1", "huber")


def combine(parts: Iterable[RemovedSummary], sigma: float, *, doubtful: bool) -> Removed | None:
    """Put together what was removed from parts of one picture, of equal size; None for no parts."""
    parts = list(parts)
    if not parts:
        return None
    return Removed(
        rms=math.sqrt(sum(part["rms"] ** 2 for part in parts) / len(parts)),
        shift=sum(part["shift"] for part in parts) / len(parts),
        neighbours=sum(part["neighbours"] for part in parts) / len(parts),
        sigma=sigma,
        doubtful=doubtful,
    )
