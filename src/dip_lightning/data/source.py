"""The picture of a fit and how many iterations it has, as the configuration tells."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
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
        beside: Sequence[str | None] = (),
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
            beside: Files that belong to it, such as that of a kernel; what is no file, as the name of a formula, is
                passed over.

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
        self._beside = [name for name in beside if name is not None]
        self._observation: Observation | None = None

    def take(self, observation: Observation) -> None:
        """Fit an observation that is there already, instead of one to be loaded."""
        self._observation = observation

    @property
    def iterations(self) -> int:
        """How many iterations the fit has, at most."""
        if self._iterations is None:
            return iterations_for(self.observation.sigma, shared=self.observation.correlated)
        return self._iterations(self.observation) if callable(self._iterations) else self._iterations

    @property
    def observation(self) -> Observation:
        """The observation, loaded on first use.

        Raises:
            UserError: A file cannot be read, or the settings do not fit it.
        """
        if self._observation is None:
            read = load_observation(self._path, self._degradation, **self._options)  # type: ignore[arg-type]
            self._observation = replace(read, beside=b"".join(map(_digest_of, self._beside)))
        return self._observation


def _digest_of(file: str) -> bytes:
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest()
    except OSError:  # a name of something else, or what is told where it is read
        return b""
