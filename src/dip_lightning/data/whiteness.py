"""Whether what is left of a picture, or was removed from it, is white: noise that differs from pixel to pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["REACH", "Whiteness", "measure_whiteness"]

# How far apart, in pixels, two samples of a residual may be for their correlation to count.
REACH = 3
# A correlation of neighbours below this is taken for none, even where more pixels would tell it from chance.
_NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Whiteness:
    """How much the samples of a residual tell about their neighbours; those of white noise tell nothing.

    Attributes:
        neighbours: Mean correlation of horizontal and vertical neighbours, in [-1, 1].
        rms: Root mean square of the correlations at all distances up to three pixels in both directions.
        empty: Whether there is no residual at all.
        chance: The standard deviation that the correlation of white noise has, 1/√(number of samples).
    """

    neighbours: float
    rms: float
    chance: float
    empty: bool = False

    @property
    def verdict(self) -> str:
        """What the figures say, in words."""
        if self.empty:
            return "nothing"
        limit = max(_NEGLIGIBLE, 3 * self.chance)
        if self.rms <= limit and abs(self.neighbours) <= limit:
            if abs(self.neighbours) > 3 * self.chance:
                return "nearly white: neighbours share more than by chance, though next to nothing"
            return "white, as noise from pixel to pixel is"
        if self.neighbours > 0:
            return "not white, neighbours are alike: picture, or noise that neighbours share"
        return "not white, neighbours differ more than by chance"


def measure_whiteness(residual: NDArray[np.floating], known: NDArray[np.bool_] | None = None) -> Whiteness:
    """Measure the autocorrelation of a residual, each channel apart, its mean removed.

    Args:
        residual: (H, W, C), of any range.
        known: Which samples count, (H, W, C); None for all.

    Returns:
        The correlations, means over the channels; all 0 for a residual without variation.
    """
    height, width, _ = residual.shape
    counts = np.ones_like(residual, dtype=bool) if known is None else known
    means = residual.sum(axis=(0, 1), where=counts) / np.maximum(counts.sum(axis=(0, 1)), 1)
    centred = np.where(counts, residual - means, 0.0)
    variance = float(np.square(centred).mean(where=counts))
    chance = float(1 / np.sqrt(np.count_nonzero(counts)))
    if variance < 1e-20:
        return Whiteness(0.0, 0.0, chance, empty=True)
    correlations = {}
    for down in range(min(REACH, height - 1) + 1):
        for right in range(-min(REACH, width - 1), min(REACH, width - 1) + 1):
            if (down, right) <= (0, 0):  # half of the plane: the other half is its mirror image
                continue
            upper = np.s_[: height - down, max(0, -right) : width - max(0, right)]
            lower = np.s_[down:, max(0, right) : width - max(0, -right)]
            both = counts[upper] & counts[lower]
            if both.any():
                correlations[down, right] = float((centred[upper] * centred[lower]).mean(where=both)) / variance
    nearest = [correlations[lag] for lag in ((0, 1), (1, 0)) if lag in correlations]
    return Whiteness(
        float(np.mean(nearest)) if nearest else 0.0,
        float(np.sqrt(np.mean(np.square(list(correlations.values()))))) if correlations else 0.0,
        chance,
    )
