"""What a fit with the default network takes, said without computing anything."""

from dataclasses import dataclass

from dip_lightning.system.processor import has_native_bf16

__all__ = ["LIKELY_SHARE", "Cost", "default_cost"]

# The share of the iterations that the noise calls for after which fits have probably stopped by themselves. At σ = 25,
# with the default network, it was 0.15 of nine pictures of 128×128 (0.10 to 0.19) and 0.5 of one of 256×256, see
# docs/results/width.md: between them. Of other noise a guess.
LIKELY_SHARE = 0.27

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


def default_cost(pixels: int, iterations: int, likely: float = LIKELY_SHARE) -> Cost:
    """Estimate what a fit with the default settings takes on a CPU.

    Args:
        pixels: Of the picture.
        iterations: The most that the fit has.
        likely: The share of them after which it has probably stopped by itself.
    """
    precision = "bf16" if has_native_bf16() else "fp32"
    seconds = iterations * pixels * _SECONDS_PER_PIXEL[precision]
    memory = _BYTES_OF_PROCESS + pixels * (_BYTES_PER_PIXEL[precision] + _BYTES_OF_IMAGES)
    return Cost(precision, memory, likely * seconds, seconds)
