"""What noise looks like where a picture is flat: the spectrum of 8×8 blocks, and how strong it is."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import uniform_filter
from scipy.stats import chi2

__all__ = ["BLOCK", "Spectrum", "read_spectrum", "smallest_side"]

# Side of a block, that of JPEG's: neighbours that share noise lie nearer than that.
BLOCK = 8

# Blocks are taken this many pixels apart, or more in a picture of more than so many blocks.
_STRIDE, _MOST_BLOCKS = 4, 40_000

# The flattest share of the blocks, and at least so many of them, in each of so many classes of brightness: noise
# differs with brightness, and flat is told by the neighbours alone. Fewer classes where there are fewer blocks.
_FLAT_SHARE, _FEWEST, _CLASSES, _FOR_A_CLASS = 0.12, 10, 2, 100

# Blocks with a channel as dark or as bright as this are cut off by the ends of the range, if others are there.
_DARK, _CUT, _CUT_SHARE, _OTHERS = 12 / 255, 1 / 255, 0.02, 0.25

# Sums u + v of the frequencies of a discrete cosine transform at which strength is measured: below lies picture, above
# next to nothing of a noise that neighbours share.
_MIDDLE = (3, 8)

# The quantile of the blocks' energies that is compared with its expectation: what of picture is in the others does
# not count. Of a class whose noise is so many times the least one's, the rest is picture.
_QUANTILE, _STRONGER = 0.15, 1.6

# The share of the least squares of a coefficient whose mean is taken, and what it is of the variance of a Gaussian.
_KEPT = 0.8
_OF_VARIANCE = float(chi2.cdf(chi2.ppf(_KEPT, 1), 3)) / _KEPT

# By how much the variance at a low frequency may exceed what the middle ones lead to expect; the mean may by more.
_EXCESS, _EXCESS_OF_MEAN = 1.15, 1.44

_SUMS = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
_ROUNDS = 4


@dataclass(frozen=True)
class Spectrum:
    """The noise of the flat parts of a picture.

    Attributes:
        variance: Of each coefficient of the orthonormal discrete cosine transform of a block, (C, 8, 8), as in the
            mean of the whole picture; in squares of the unit of the picture.
        colors: Correlation of the channels, (C, C), 1 on the diagonal.
        brightness: Mean brightness of each class of blocks, (K,).
        level: Variance of the noise in each class, mean of the channels, (K,).
        blocks: How many blocks it was read from.
    """

    variance: NDArray[np.float64]
    colors: NDArray[np.float64]
    brightness: NDArray[np.float64]
    level: NDArray[np.float64]
    blocks: int


def smallest_side() -> int:
    """Return the smallest side of a picture that a spectrum can be read from.

    Smaller ones have too few blocks for flat ones to be among them: clean pictures of 32 to 57 pixels were taken for
    noise of 22 to 56 of 255.
    """
    return 8 * BLOCK


def read_spectrum(image: NDArray[np.floating]) -> Spectrum:
    """Read the noise from the blocks whose neighbours are the flattest.

    A block is chosen by the variance of the eight blocks around it, not by its own, which would prefer blocks where the
    noise is small by chance. Of those chosen, a low quantile of the energy at middle frequencies is compared with that
    of a χ² distribution, so that a block with a detail in it does not count. What low frequencies have beyond the
    continuation of the middle ones is picture: the logarithm of the variance falls linearly with the frequency, and is
    constant for white noise.

    Args:
        image: (H, W, C) in [0, 1], each side at least :func:`smallest_side`.

    Returns:
        The spectrum; texture counts as noise where a picture is flat nowhere.
    """
    blocks, score, dark = _blocks(np.asarray(image, np.float64))
    classes = max(1, min(_CLASSES, len(blocks) // _FOR_A_CLASS))
    edges = np.quantile(dark, np.linspace(0, 1, classes + 1))
    of_class = np.clip(np.searchsorted(edges, dark, side="right") - 1, 0, classes - 1)
    chosen, share, brightness = [], [], []
    for index in range(classes):
        members = np.flatnonzero(of_class == index)
        if len(members) == 0:
            continue
        flattest = members[np.argsort(score[members], kind="stable")[: max(int(_FLAT_SHARE * len(members)), _FEWEST)]]
        chosen.append(dctn(blocks[flattest], axes=(2, 3), norm="ortho"))
        share.append(len(members))
        brightness.append(float(blocks[flattest].mean()))
    shape, levels, colors = _shape(chosen)
    least = np.quantile(levels, 0.25)
    mean_level = float(np.average(np.minimum(levels, _STRONGER * least), weights=share))
    shape = _without_picture(shape)
    return Spectrum(
        variance=shape * mean_level,
        colors=colors,
        brightness=np.array(brightness),
        level=levels * shape.mean(),
        blocks=sum(map(len, chosen)),
    )


def _blocks(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return blocks (N, C, 8, 8), how much their neighbours vary, and their darkest channel's mean, both (N,)."""
    height, width, channels = image.shape
    mean = np.stack([uniform_filter(image[..., c], BLOCK) for c in range(channels)], 2)
    square = np.stack([uniform_filter(image[..., c] ** 2, BLOCK) for c in range(channels)], 2)
    variance = (square - mean**2).mean(axis=2)
    stride = max(_STRIDE, round((height * width / _MOST_BLOCKS) ** 0.5))
    tops, lefts = (np.arange(BLOCK, side - 2 * BLOCK + 1, stride) for side in (height, width))
    top, left = (grid.ravel() for grid in np.meshgrid(tops, lefts, indexing="ij"))
    # The filter's value of a block stands at the block's centre.
    centre = BLOCK // 2
    steps = [(a, b) for a in (-BLOCK, 0, BLOCK) for b in (-BLOCK, 0, BLOCK) if (a, b) != (0, 0)]
    ring = np.stack([variance[top + a + centre, left + b + centre] for a, b in steps])
    score = ring.mean(axis=0) + ring.max(axis=0)
    blocks = sliding_window_view(image, (BLOCK, BLOCK), axis=(0, 1))[top, left]
    dark = blocks.mean(axis=(2, 3)).min(axis=1)
    whole = ((blocks <= _CUT) | (blocks >= 1 - _CUT)).mean(axis=(1, 2, 3)) < _CUT_SHARE
    light = whole & (dark >= _DARK)
    kept = light if light.mean() > _OTHERS else whole
    if kept.sum() < 3 * _FEWEST:
        kept = np.ones_like(whole)
    return blocks[kept], score[kept], dark[kept]


def _shape(
    chosen: list[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the variances (C, 8, 8), 1 in the mean of the middle, the level of each class, and the colours."""
    channels = chosen[0].shape[1]
    middle = (_MIDDLE[0] <= _SUMS) & (_MIDDLE[1] >= _SUMS)
    shape, colors = np.ones((channels, BLOCK, BLOCK)), np.eye(channels)
    levels = np.zeros(len(chosen))
    for _ in range(_ROUNDS):
        # Degrees of freedom of the mean square of coefficients that the channels share in part.
        freedom = max(middle.sum() * channels**2 / (colors**2).sum(), 2.0)
        energies = [(block**2 / shape)[:, :, middle].mean(axis=(1, 2)) for block in chosen]
        expected, far = (chi2.ppf(quantile, freedom) / freedom for quantile in (_QUANTILE, 0.9))
        # A picture without any noise, or of one value: what is divided by is never 0.
        levels = np.array([max(np.quantile(energy, _QUANTILE) / expected, 1e-12) for energy in energies])
        counted = levels <= _STRONGER * np.quantile(levels, 0.25)
        near = np.concatenate(
            [
                block[energy <= level * far] / np.sqrt(level)
                for block, energy, level, counts in zip(chosen, energies, levels, counted, strict=True)
                if counts
            ]
        )
        squares = np.sort(near**2, axis=0)[: max(int(np.ceil(_KEPT * len(near))), 1)]
        shape = np.maximum(squares.mean(axis=0) / _OF_VARIANCE, 1e-9)
        shape /= shape[:, middle].mean()
        whitened = (near / np.sqrt(shape))[:, :, middle]
        shared = np.einsum("nik,njk->ij", whitened, whitened)
        spread = np.sqrt(np.maximum(np.diag(shared), 1e-12))
        colors = shared / np.outer(spread, spread)
        np.fill_diagonal(colors, 1)  # of a channel without any noise, too
    return shape, levels, colors


def _without_picture(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower the variances of low frequencies to what the middle ones lead to expect."""
    mean = shape.mean(axis=0)
    logarithms = np.array([np.log(mean[total == _SUMS].mean()) for total in range(BLOCK)])
    middle = np.arange(2, 6)
    line = np.polyfit(middle, logarithms[middle], 1)
    lowered = shape.copy()
    reference = mean[_MIDDLE[0] == _SUMS].mean()
    for channel in range(len(shape)):
        # Channels differ in strength; each is continued from its own.
        own = shape[channel][_MIDDLE[0] == _SUMS].mean() / reference
        for total in range(3):
            most = float(np.exp(np.polyval(line, total))) * own
            at = total == _SUMS
            if total == 0:
                lowered[channel][at] = most * _EXCESS_OF_MEAN  # the mean of a block is picture: it says nothing
            else:
                lowered[channel][at] = np.minimum(shape[channel][at], most * _EXCESS)
    return lowered
