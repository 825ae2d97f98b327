"""Which values a picture uses of those that its file could hold: 0 to 4095, or those of a sky without its stars."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dip_lightning.data.noise_level import estimate_noise
from dip_lightning.data.picture import Picture
from dip_lightning.data.value_range import ValueRange
from dip_lightning.errors import UserError

__all__ = ["WorkingRange", "choose_range", "find_range", "range_of_clean"]

# Percentiles of the darkest and the brightest samples that say how wide a picture is, and how many times that width a
# sample may lie beyond them to count as a part of it: hot pixels do not.
_TAIL, _FENCE = 1.0, 1.0
# The same for stars, which may be many; each is tried where noise would be lost under those before.
_STAR_TAILS, _STAR_FENCE = (2.0, 5.0, 10.0, 15.0), 2.0
# How many times narrower the range must become by leaving stars out: they stay as they are, which a lamp should not.
_FAR = 8.0
# On the scale 0 to 255: less noise than the one is lost, since a fit leaves about as much of a picture; as much as the
# other is seen well.
_LOST, _SEEN = 2.0, 12.0

# A range that covers more than this share of a natural one (0 to 2ⁿ − 1) stands for it.
_FILLED = 0.5

# Room beside the values of a picture that is of no natural range, as a share of their width.
_MARGIN = 0.05

# Steps of an integer type that a range has at least: of less, its rounding is what would be fitted.
_FEWEST_STEPS = 4

# The most samples that are looked at, evenly spread: sorting all of a large picture takes longer than an iteration.
_SAMPLES = 4_000_000


@dataclass(frozen=True)
class WorkingRange:
    """The values that a fit works between, and where they come from.

    Attributes:
        values: Black and white of the fit, in the units of the samples.
        source: ``"type"`` where they are all that the samples' type can say, ``"estimated"`` from the picture, or
            ``"given"`` by the user.
        limits: What the type can say; None for floats, which have no such limits.
    """

    values: ValueRange
    source: str
    limits: ValueRange | None

    def describe(self, beyond: int = 0) -> str:
        """Say it in a few words: ``"range: 0..4095 of 65535"``.

        Args:
            beyond: How many pixels lie beyond it.
        """
        told = f"range: {self.values.low:.6g}..{self.values.high:.6g}"
        if self.limits is not None:
            told += f" of {'' if self.limits.low == 0 else f'{self.limits.low:g}..'}{self.limits.high:g}"
        if beyond:
            told += f" ({beyond} {'pixel' if beyond == 1 else 'pixels'} beyond {'stays' if beyond == 1 else 'stay'})"
        return told


def choose_range(picture: Picture, given: object = None, *, of_type: bool = False) -> WorkingRange:
    """Choose the range that a picture is fitted in.

    Args:
        picture: As it is fitted, cropped and resized.
        given: What the user gives, ``[low, high]`` in the units of the samples; None to find it.
        of_type: Whether to leave it at what the type can say, unless one is given.

    Raises:
        UserError: What is given is no range, or most of the picture lies outside.
    """
    limits = picture.limits if _is_whole(picture) else None
    if given is not None:
        return WorkingRange(_check_range(given, picture), "given", limits)
    values = picture.limits if of_type else find_range(picture)
    return WorkingRange(values, "type" if values == picture.limits else "estimated", limits)


def find_range(picture: Picture) -> ValueRange:
    """Find the range of values that a picture uses, all channels together, so that hues stay.

    A picture that covers more than half of what its type can say keeps that; so does one that covers more than half of
    0 to 2ⁿ − 1, the range of a sensor of n bits. Any other gets the range of its values with a margin. A few values far
    beyond the others (hot pixels) do not count, nor do more of them (stars) where the noise of the others would else be
    too weak to be seen.

    Args:
        picture: As it is fitted, cropped and resized. Samples that were lost, or are no finite numbers, do not count.
    """
    samples = picture.filled().reshape(-1)
    samples = samples[:: -(-len(samples) // _SAMPLES)].astype(np.float64)
    samples = samples[np.isfinite(samples)]
    if not len(samples) or samples.min() == samples.max():
        return picture.limits
    inside = _without_stars(_inside(samples, _TAIL, _FENCE), samples, picture)
    return _rounded(float(inside.min()), float(inside.max()), picture)


def _without_stars(inside: NDArray[np.float64], samples: NDArray[np.float64], picture: Picture) -> NDArray[np.float64]:
    """Leave out what is far brighter or darker than most, where the noise of the others would be lost beside it."""
    choices = [_inside(samples, tail, _STAR_FENCE) for tail in _STAR_TAILS]
    choices = [few for few in choices if 0 < _FAR * np.ptp(few) <= np.ptp(inside)]
    if not choices:
        return inside
    noise = estimate_noise(np.nan_to_num(picture.filled().astype(np.float64)))  # of most of the picture, stars or not
    if noise >= _LOST * np.ptp(inside):
        return inside
    narrowest = min(choices, key=np.ptp)
    return next((few for few in choices if noise >= _SEEN * np.ptp(few)), narrowest)


def _inside(samples: NDArray[np.float64], tail: float, fence: float) -> NDArray[np.float64]:
    """Leave out what lies far beyond two percentiles; nothing, where these are one value."""
    low, high = np.percentile(samples, (tail, 100 - tail))
    room = fence * (high - low)
    if room == 0:
        return samples
    kept: NDArray[np.float64] = samples[(samples >= low - room) & (samples <= high + room)]
    return kept


def _rounded(low: float, high: float, picture: Picture) -> ValueRange:
    """Return the natural range that stands for some values, or else their own with a margin."""
    for natural in _natural_ranges(picture, high):
        if natural.low <= low and high <= natural.high and high - low > _FILLED * natural.span:
            return natural
    limits, whole = picture.limits, _is_whole(picture)
    margin = _MARGIN * (high - low)
    if whole:
        margin = max(margin, (_FEWEST_STEPS - (high - low)) / 2)
    # Counts stay counts: a margin below 0 would allow for less than nothing.
    least = limits.low if whole else -math.inf
    least = max(least, 0.0) if low >= 0 else least
    low, high = max(low - margin, least), high + margin
    if whole:
        low, high = math.floor(low), min(math.ceil(high), limits.high)
    return ValueRange(float(low), float(high))


def _natural_ranges(picture: Picture, high: float) -> Iterator[ValueRange]:
    """The range of the type, and the narrowest of a sensor's that holds a value."""
    yield picture.limits
    bits = max(math.ceil(math.log2(high + 1)), 1) if high > 0 else 1
    yield ValueRange(0.0, float(2**bits - 1))


def _check_range(given: object, picture: Picture) -> ValueRange:
    """Check a range that the user gives: two numbers, in the units of the samples."""
    finite = picture.filled()
    low, high = float(finite.min()), float(finite.max())
    remedy = f"try 'image.range=[{low:.6g},{high:.6g}]', or leave it out"
    ends = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    told = f"image.range={given}".replace(" ", "")
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or not ends[0] < ends[1]:
        raise UserError(told, "[low,high], two sample values of which the first is the lower", remedy)
    chosen = ValueRange(float(ends[0]), float(ends[1]))
    outside = np.count_nonzero((finite < chosen.low) | (finite > chosen.high))
    if 2 * outside > finite.size:
        share = f"{outside / finite.size:.0%} of the samples outside"
        raise UserError(f"{told} with {share}", f"a range of values from {low:g} to {high:g}", remedy)
    return chosen


def range_of_clean(noisy: Picture, clean: Picture) -> ValueRange:
    """Return the range of a clean image: that of the noisy one, or where its type has other limits, the same part.

    Args:
        noisy: The noisy picture, with the range that it is fitted in.
        clean: The clean one.
    """
    if noisy.limits == clean.limits or not (_is_whole(noisy) and _is_whole(clean)):
        return noisy.scale  # floats are in the units of the other
    low, high = clean.limits.to_samples(noisy.limits.to_unit(np.array([noisy.scale.low, noisy.scale.high])))
    outside = np.count_nonzero((clean.samples < low) | (clean.samples > high))
    # A sensor of 12 bits beside a clean image of 8, which has the whole of its type.
    return clean.limits if 2 * outside > clean.samples.size else ValueRange(float(low), float(high))


def _is_whole(picture: Picture) -> bool:
    return np.issubdtype(picture.samples.dtype, np.integer)
