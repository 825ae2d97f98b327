"""The peak of a PSNR curve and how flat it is (paper, section 3.1). NumPy only: reports use it without torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dip_lightning.runs.record import CurveSummary

__all__ = ["CurvePeak", "find_peak"]


@dataclass(frozen=True)
class CurvePeak:
    """The best value of a PSNR curve and its surroundings.

    Attributes:
        psnr: The highest PSNR, in dB.
        iteration: The iteration where it was reached first, from 0.
        final_psnr: The last finite PSNR of the curve, in dB.
        plateau_01db: How many iterations lie within 0.1 dB of the peak.
        plateau_05db: How many iterations lie within 0.5 dB of the peak.
    """

    psnr: float
    iteration: int
    final_psnr: float
    plateau_01db: int
    plateau_05db: int

    def as_summary(self) -> CurveSummary:
        """The keys that ``summary.json`` uses for a curve."""
        return {
            "peak_psnr": self.psnr,
            "peak_iteration": self.iteration,
            "final_psnr": self.final_psnr,
            "plateau_0.1db": self.plateau_01db,
            "plateau_0.5db": self.plateau_05db,
        }


def find_peak(curve: NDArray[np.floating]) -> CurvePeak | None:
    """Find the peak of a curve.

    Args:
        curve: PSNR in dB, one value an iteration; values that are not finite (not measured, or diverged) are
            passed over.

    Returns:
        The peak, or None for a curve without a finite value.
    """
    finite = np.isfinite(curve)
    if not finite.any():
        return None
    values = np.where(finite, curve, -np.inf)
    iteration = int(np.argmax(values))
    best = float(values[iteration])
    return CurvePeak(
        psnr=best,
        iteration=iteration,
        final_psnr=float(curve[finite][-1]),
        plateau_01db=int(np.count_nonzero(values >= best - 0.1)),
        plateau_05db=int(np.count_nonzero(values >= best - 0.5)),
    )
