"""Corruptions that are added to a clean image, so that the restoration can be measured. Each is seeded."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dip_lightning.checks import check_flag, check_integer, check_number

__all__ = ["DefaultNoise", "Degradation", "GaussianNoise", "NoDegradation"]


class Degradation(Protocol):
    """Makes an observation from a clean image.

    Attributes:
        sigma: Standard deviation of the noise on the scale 0 to 255, or None where it is not known.
    """

    sigma: float | None

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (H, W, C) in [0, 1] to an array of the same shape in [0, 1]."""
        ...


class GaussianNoise:
    """Additive white Gaussian noise."""

    def __init__(self, sigma: float = 25, seed: int = 0, clip: bool = True) -> None:
        """Set the noise.

        Args:
            sigma: Standard deviation on the scale 0 to 255.
            seed: Which noise; the same seed gives the same noise on every machine.
            clip: Whether the result is clipped to [0, 1], as the DIP code does.

        Raises:
            UserError: A value is not allowed.
        """
        self.sigma: float | None = check_number("degradation.sigma", sigma, 0, low_open=True, example=25)
        self.seed = check_integer("degradation.seed", seed, 0, example=0)
        self.clip = check_flag("degradation.clip", clip)

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the noise to (H, W, C) in [0, 1]."""
        assert self.sigma is not None
        noise = np.random.default_rng(self.seed).normal(0, self.sigma / 255, clean.shape)
        return np.clip(clean + noise, 0, 1) if self.clip else clean + noise


class NoDegradation:
    """Leaves the picture as it is: it is corrupted already."""

    sigma: float | None = None

    def __call__(self, clean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the picture."""
        return clean


class DefaultNoise:
    """Chooses: Gaussian noise on a sample picture, nothing on somebody's own, unless a strength is given.

    Adding noise to somebody's photo unasked would hand back a worse picture than they gave.
    """

    def __init__(self, sigma: float | None = None, seed: int = 0, clip: bool = True) -> None:
        """Set the noise.

        Args:
            sigma: Standard deviation on the scale 0 to 255; None for 25 on a sample and nothing else.
            seed: See :class:`GaussianNoise`.
            clip: See :class:`GaussianNoise`.

        Raises:
            UserError: A value is not allowed.
        """
        self._sigma = sigma
        self._noise = GaussianNoise(25 if sigma is None else sigma, seed, clip)

    def choose(self, *, is_sample: bool) -> Degradation:
        """Return what is to be done to a picture, by where it comes from."""
        return self._noise if is_sample or self._sigma is not None else NoDegradation()
