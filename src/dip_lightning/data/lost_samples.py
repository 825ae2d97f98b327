"""Samples that were lost: what stands in their place until the fit has put something there."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_lost"]


def fill_lost(samples: NDArray[np.generic], known: NDArray[np.bool_] | None) -> NDArray[np.generic]:
    """Put the nearest known sample of its band in the place of each that was lost.

    Noise is estimated and ranges are chosen from all samples, so that none may be NaN or far off.

    Args:
        samples: (H, W, C).
        known: The same shape, False where a sample was lost; None where none was. In each band some are known.

    Returns:
        A copy, or ``samples`` itself where none was lost.
    """
    if known is None or known.all():
        return samples
    # Here, not above: whoever only opens a picture need not wait for scipy.
    from scipy.ndimage import distance_transform_edt

    filled = samples.copy()
    for band in range(samples.shape[2]):
        lost = ~known[:, :, band]
        if lost.any():
            rows, columns = distance_transform_edt(lost, return_distances=False, return_indices=True)
            filled[:, :, band] = samples[rows, columns, band]
    return filled
