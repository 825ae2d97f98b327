"""Stopping rules: each says, without a clean image, how good an iteration's output is, one file a kind."""

from dip_lightning.stopping.clean_error import CleanError
from dip_lightning.stopping.holdout import HeldOut
from dip_lightning.stopping.rule import ALONE, StoppingRule, choose, disagree, lag_of, patience_after
from dip_lightning.stopping.sure import Sure
from dip_lightning.stopping.variance import MovingVariance, WindowedVariance

__all__ = [
    "ALONE",
    "CleanError",
    "HeldOut",
    "MovingVariance",
    "StoppingRule",
    "Sure",
    "WindowedVariance",
    "choose",
    "disagree",
    "lag_of",
    "patience_after",
]
