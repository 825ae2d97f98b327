"""How noisy a picture is, told from the picture alone."""

import math
import warnings

import numpy as np
import pywt
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr
from skimage.restoration import estimate_sigma

__all__ = ["clipped_noise", "estimate_noise", "estimate_noise_of_known", "is_correlated", "iterations_for"]

# What the wavelet behind the estimate needs on each side to have coefficients away from the border.
_SMALLEST_SIDE = 8

# From so many lines of three known neighbours on, noise is estimated from them; the median of |N(0, 1)|.
_FEWEST_LINES, _MEDIAN_OF_NORMAL = 100, 0.6745

# How many times as strong noise at twice the scale is that counts as shared by neighbours. Measured on photographs with
# white noise of all kinds here: at most 1.8 in brightness (impulse noise), 1.6 in colour; after JPEG: 1.8 and more.
_SHARED_BRIGHTNESS, _SHARED_COLOUR = 2.0, 1.75

# Standard deviation, in pixels, of the blur that takes most of the noise away and leaves what is dark dark.
_SMOOTHING = 1.5


def estimate_noise(image: NDArray[np.floating]) -> float:
    """Estimate the standard deviation of white Gaussian noise from the finest wavelet coefficients.

    Donoho & Johnstone's (1994) robust estimate, scikit-image's ``estimate_sigma``, of each channel; of these the
    median, which one odd channel does not move. Texture counts as noise, saturated areas and compression lower it.

    Args:
        image: (H, W, C) in [0, 1].

    Returns:
        On the scale 0 to 255; 0 for a picture that is too small to tell.
    """
    if min(image.shape[:2]) < _SMALLEST_SIDE:
        return 0.0
    with warnings.catch_warnings():
        # A channel without any variation has no coefficient to take the median of: NaN, which means no noise.
        warnings.simplefilter("ignore", RuntimeWarning)
        per_channel = estimate_sigma(image, channel_axis=-1)  # type: ignore[no-untyped-call]
    sigma = float(np.median(np.nan_to_num(per_channel))) * 255
    return sigma if sigma > 1e-6 else 0.0  # rounding of the computation


def estimate_noise_of_known(image: NDArray[np.floating], known: NDArray[np.bool_]) -> float:
    """Estimate the standard deviation of white noise from the samples of a picture with holes that were not lost.

    Of a line through three neighbours that are known, x − 2y + z has six times the variance of the noise; the median
    of its absolute value is robust against edges. Texture counts as noise.

    Args:
        image: (H, W, C) in [0, 1].
        known: Likewise, False where a sample was lost.

    Returns:
        On the scale 0 to 255; 0 where there are too few such lines to tell.
    """
    found = []
    for values, there in ((image, known), (image.swapaxes(0, 1), known.swapaxes(0, 1))):
        second = values[:-2] - 2 * values[1:-1] + values[2:]
        found.append(second[there[:-2] & there[1:-1] & there[2:]])
    differences = np.abs(np.concatenate(found))
    if len(differences) < _FEWEST_LINES:
        return 0.0
    return 255 * float(np.median(differences)) / (_MEDIAN_OF_NORMAL * math.sqrt(6))


def is_correlated(image: NDArray[np.floating]) -> bool:
    """Tell whether neighbouring pixels share their noise, as after JPEG compression, demosaicing or scaling.

    White noise is as strong at the scale of two pixels as at that of one (orthonormal wavelets). Here it is about
    twice as strong or more, in brightness or in colour, which JPEG keeps at half the resolution. A picture with next
    to no noise looks like that, too.

    Args:
        image: (H, W, C) in [0, 1].
    """
    if min(image.shape[:2]) < 2 * _SMALLEST_SIDE:
        return False

    def is_shared(planes: NDArray[np.floating], factor: float) -> bool:
        coarse = pywt.dwt2(planes, "db2", axes=(0, 1))[0]
        return estimate_noise(coarse) > factor * estimate_noise(planes)

    if is_shared(image, _SHARED_BRIGHTNESS):
        return True
    return image.shape[2] == 3 and is_shared(image[:, :, [0, 2]] - image[:, :, [1]], _SHARED_COLOUR)


def clipped_noise(noisy: NDArray[np.floating], sigma: float) -> float:
    """Compute what is left of Gaussian noise after clipping to [0, 1]: less where the picture is dark or bright.

    A smoothed version of the picture stands for the clean one. Of a clean value s, with a = −s/σ, b = (1 − s)/σ and the
    standard normal density φ and distribution Φ, the expected square of what clipping leaves of the noise is
    s²·Φ(a) + (1 − s)²·Φ(−b) + σ²·(Φ(b) − Φ(a) − b·φ(b) + a·φ(a)).

    Args:
        noisy: (H, W, C) in [0, 1].
        sigma: Standard deviation before clipping, on the scale 0 to 255.

    Returns:
        The root mean square of the noise after clipping, on the scale 0 to 255.
    """
    if sigma == 0:
        return 0.0
    smooth = np.clip(gaussian_filter(noisy, (_SMOOTHING, _SMOOTHING, 0)), 0, 1)
    unit = sigma / 255
    a, b = -smooth / unit, (1 - smooth) / unit
    inside = ndtr(b) - ndtr(a) - (b * np.exp(-b * b / 2) - a * np.exp(-a * a / 2)) / math.sqrt(2 * math.pi)
    squares = smooth**2 * ndtr(a) + (1 - smooth) ** 2 * ndtr(-b) + unit**2 * inside
    return 255 * float(np.sqrt(squares.mean()))


# Noise that neighbours share looks like picture: what a fit learns after so many iterations is rather noise, and where
# the rules do not settle, that is long enough (docs/results/real-photographs.md).
_MOST_OF_SHARED = 2500


def iterations_for(sigma: float, *, shared: bool = False) -> int:
    """Choose the cap of a fit by its noise: 5000 iterations at σ = 25, as in the paper, and more for less noise.

    The less noise there is, the later it is fitted, in inverse proportion; see ``docs/results/stopping.md``.

    Args:
        sigma: Standard deviation of the noise on the scale 0 to 255.
        shared: Whether neighbours share it.

    Returns:
        A number from 3000 to 10,000, or 2500 of noise that neighbours share.
    """
    most = 100 * round(min(max(1250 / max(sigma, 1.0), 30), 100))
    return min(most, _MOST_OF_SHARED) if shared else most
