"""Pixels beyond the range that a picture is fitted in, such as stars: they are handed through, not fitted."""

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.degradation import Degradation

__all__ = ["degrade", "fixed_pixels"]


def degrade(
    exact: NDArray[np.float64], degradation: Degradation, beyond: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corrupt an image within the range.

    Args:
        exact: (H, W, C), in [0, 1] but for the pixels beyond.
        degradation: What corrupts it.
        beyond: Which pixels these are, (H, W).

    Returns:
        Two images (H, W, C): the corrupted one, and the same with the pixels beyond clipped to the range.
    """
    if not beyond.any():
        noisy = degradation(exact)
        return noisy, noisy
    inside = np.clip(exact, 0, 1)
    noisy = degradation(inside)
    return noisy + (exact - inside), np.where(beyond[:, :, None], np.clip(noisy, 0, 1), noisy)


def fixed_pixels(
    noisy: NDArray[np.float64], beyond: NDArray[np.bool_], shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Return what an observation shows, beyond the range, of an image.

    Args:
        noisy: The observation, (H_y, W_y, C_y).
        beyond: Which pixels of it lie beyond the range, (H_y, W_y).
        shape: (H, W, C) of the image. Where it is larger, each pixel stands for the block that it covers.

    Returns:
        (H, W, C), NaN where the observation lies in the range.
    """
    channels = shape[2]
    if noisy.shape[2] != channels:
        noisy = noisy.mean(axis=2, keepdims=True).repeat(channels, axis=2)
    pixels: NDArray[np.float64] = np.where(beyond[:, :, None], noisy, np.nan)
    rows, columns = (np.arange(large) * small // large for large, small in zip(shape, beyond.shape, strict=False))
    return pixels[np.ix_(rows, columns)]
