"""What a record says of the observation: the range that it was fitted in, and its noise."""

from dip_lightning.data import Observation
from dip_lightning.runs.record import NoiseSummary, RangeSummary

__all__ = ["summarise_noise", "summarise_range"]


def summarise_range(observation: Observation) -> RangeSummary:
    """Compose what a record says of the range that a picture was fitted in.

    Args:
        observation: The picture.
    """
    values = observation.range.values
    return {
        "low": values.low,
        "high": values.high,
        "source": observation.range.source,
        "beyond": observation.beyond,
    }


def summarise_noise(observation: Observation) -> NoiseSummary:
    """Compose what a record says of the noise.

    Args:
        observation: The picture.
    """
    noise = observation.noise
    return {
        "level": noise.level,
        "sigma": list(noise.sigma),
        "intercept": noise.intercept,
        "slope": noise.slope,
        "across": noise.across,
        "down": noise.down,
        "reach": noise.reach,
        "colors": noise.colors.tolist(),
        "white": noise.is_white,
        "source": noise.source,
    }
