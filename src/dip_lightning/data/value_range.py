"""The values that a picture is fitted between: which sample is black for the fit, and which is white."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["ValueRange"]


@dataclass(frozen=True)
class ValueRange:
    """An interval of sample values, which is [0, 1] for the fit.

    Attributes:
        low: The sample value that is black, 0 for the fit.
        high: The sample value that is white, 1 for the fit; above ``low``.
    """

    low: float
    high: float

    @classmethod
    def of_type(cls, dtype: DTypeLike) -> "ValueRange":
        """Return all that integers of a type can say; 0 to 1 for floats, which leaves them as they are."""
        if not np.issubdtype(dtype, np.integer):
            return cls(0.0, 1.0)
        limits = np.iinfo(np.dtype(dtype))
        return cls(float(limits.min), float(limits.max))

    @property
    def span(self) -> float:
        """The distance from black to white, in sample values."""
        return self.high - self.low

    def to_unit(self, samples: NDArray[np.generic]) -> NDArray[np.float64]:
        """Map samples of any shape and type, ``low`` to 0 and ``high`` to 1; those beyond land beyond."""
        unit: NDArray[np.float64] = (samples.astype(np.float64) - self.low) / self.span
        return unit

    def to_samples(self, unit: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map back what :meth:`to_unit` returns, or any other image of that scale; nothing is rounded or clipped."""
        # The product in the type that is given: in float64, a sample that lies between two steps would be rounded
        # otherwise than in float32. The sum not: float32 would lose small values beside a large offset.
        return (unit * self.span).astype(np.float64) + self.low
