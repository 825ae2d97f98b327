"""The picture of a fit and how many iterations it has, as the configuration tells."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dip_lightning.checks import check_integer
from dip_lightning.data.degradation import DefaultNoise, Degradation
from dip_lightning.data.loading import load_observation
from dip_lightning.data.noise_level import iterations_for
from dip_lightning.data.observation import Observation

if TYPE_CHECKING:
    from dip_lightning.problems.operators.operator import Operator

__all__ = ["ImageSource"]


class ImageSource:
    """Loads one observation, on first use, and knows how many iterations it calls for."""

    def __init__(
        self,
        path: str | Path | NDArray[np.generic],
        degradation: Degradation | DefaultNoise,
        *,
        iterations: int | Callable[[Observation], int] | None,
        clean: str | Path | NDArray[np.generic] | None = None,
        crop: int | Sequence[int] | None = None,
        size: int | Sequence[int] | None = None,
        sigma: float | None = None,
        range: Sequence[float] | None = None,
        page: int | str | None = None,
        bands: Sequence[int] | str | None = None,
        lost: str = "fill",
        operator: "Operator | None" = None,
        noise: str | None = None,
    ) -> None:
        """Keep the settings; nothing is read yet.

        Args:
            path: See :func:`~dip_lightning.data.loading.load_observation`, as for all that is not named here.
            degradation: What corrupts the picture.
            iterations: How many iterations the fit has, at most, or what says so of the observation; None for as many
                as the noise calls for, see :func:`~dip_lightning.data.noise_level.iterations_for`.
            clean: The clean image, for measuring.
            crop: Which part of the picture.
            size: What it is resized to.
            sigma: How strong the noise is, if you know.
            range: Which sample values are black and white for the fit, if you know.
            page: Which page of a file, from 0.
            bands: Which bands are fitted, from 0.
            lost: What becomes of samples that were lost.
            operator: How the observation arises from the image.
            noise: What the noise is like, if you know.

        Raises:
            UserError: The number of iterations is not positive, or beyond ten million.
        """
        if not (iterations is None or callable(iterations)):
            check_integer("iterations", iterations, 1, 10**7, example=2000)
        self._iterations = iterations
        self._path, self._degradation = path, degradation
        self._options = {
            "clean": clean,
            "crop": crop,
            "size": size,
            "sigma": sigma,
            "range": range,
            "page": page,
            "bands": bands,
            "lost": lost,
            "operator": operator,
            "noise": noise,
        }
        self._observation: Observation | None = None

    def take(self, observation: Observation) -> None:
        """Fit an observation that is there already, instead of one to be loaded."""
        self._observation = observation

    @property
    def iterations(self) -> int:
        """How many iterations the fit has, at most."""
        if self._iterations is None:
            return iterations_for(self.observation.sigma)
        return self._iterations(self.observation) if callable(self._iterations) else self._iterations

    @property
    def observation(self) -> Observation:
        """The observation, loaded on first use.

        Raises:
            UserError: A file cannot be read, or the settings do not fit it.
        """
        if self._observation is None:
            self._observation = load_observation(self._path, self._degradation, **self._options)  # type: ignore[arg-type]
        return self._observation
