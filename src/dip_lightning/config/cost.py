"""What a fit with the default network takes, said without computing anything."""

import math
from dataclasses import dataclass

from dip_lightning.system.processor import has_native_bf16

__all__ = ["Cost", "default_cost", "likely_share"]

# The share of the iterations that the noise calls for after which fits have probably stopped by themselves. At σ = 25
# it was 0.15 of nine pictures of 128×128 (0.10 to 0.19), 0.5 of one of 256×256 and 0.75 of one of 512×512, see
# docs/results/width.md: so much at a side of 128, more for each doubling, within bounds. Of other noise a guess.
_SHARE, _SHARE_OF_DOUBLING, _SHARES = 0.15, 0.32, (0.1, 0.9)

# Bytes that an iteration of the default network (U-net of 32 channels, five levels) keeps for each pixel, as
# `fitting.memory` meters it; what the process has without a picture.
_BYTES_PER_PIXEL = {"bf16": 1386, "fp32": 2570}
_BYTES_OF_IMAGES, _BYTES_OF_PROCESS = 160, 600e6

# Seconds of an iteration for each pixel, of 256x256 pixels: one core with native bf16 (AMX), two without in float32.
# Other machines differ by a factor of two and more.
_SECONDS_PER_PIXEL = {"bf16": 1.8e-6, "fp32": 2.8e-6}


@dataclass(frozen=True)
class Cost:
    """What a fit takes.

    Attributes:
        precision: The arithmetic that ``precision=auto`` takes on this processor.
        bytes: The peak memory.
        likely: Seconds until it has probably stopped.
        at_most: Seconds if it does all iterations.
    """

    precision: str
    bytes: float
    likely: float
    at_most: float


def likely_share(pixels: int) -> float:
    """Say after what share of the iterations that the noise calls for a fit has probably stopped by itself, in (0, 1).

    Args:
        pixels: Of the picture; large ones take more iterations.
    """
    doublings = math.log2(max(pixels, 1)) / 2 - math.log2(128)
    return min(max(_SHARE + _SHARE_OF_DOUBLING * doublings, _SHARES[0]), _SHARES[1])


def default_cost(pixels: int, iterations: int, *, stops: bool = True) -> Cost:
    """Estimate what a fit with the default settings takes on a CPU.

    Args:
        pixels: Of the picture.
        iterations: The most that the fit has.
        stops: Whether it probably stops by itself before that.
    """
    likely = likely_share(pixels) if stops else 1.0
    precision = "bf16" if has_native_bf16() else "fp32"
    seconds = iterations * pixels * _SECONDS_PER_PIXEL[precision]
    memory = _BYTES_OF_PROCESS + pixels * (_BYTES_PER_PIXEL[precision] + _BYTES_OF_IMAGES)
    return Cost(precision, memory, likely * seconds, seconds)
