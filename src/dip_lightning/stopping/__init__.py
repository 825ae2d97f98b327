"""Stopping rules: each says, without a clean image, how good an iteration's output is, one file a kind."""

from dip_lightning.stopping.holdout import HeldOut
from dip_lightning.stopping.rule import ALONE, SHORTEST_PATIENCE, StoppingRule, choose, lag_of
from dip_lightning.stopping.sure import Sure
from dip_lightning.stopping.variance import MovingVariance, WindowedVariance

__all__ = [
    "ALONE",
    "SHORTEST_PATIENCE",
    "HeldOut",
    "MovingVariance",
    "StoppingRule",
    "Sure",
    "WindowedVariance",
    "choose",
    "lag_of",
]
