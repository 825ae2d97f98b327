"""What happens around an iteration, one callback a file. They run in the order of ``conf/callbacks/default.yaml``."""

from dip_lightning.callbacks.checkpoint import Checkpoint
from dip_lightning.callbacks.curve_logger import CurveLogger
from dip_lightning.callbacks.detection import Detection
from dip_lightning.callbacks.divergence_guard import DivergenceGuard
from dip_lightning.callbacks.fit_progress import FitProgress
from dip_lightning.callbacks.interrupt import Interrupt
from dip_lightning.callbacks.output_ema import OutputEMA
from dip_lightning.callbacks.past_peak import PastPeak
from dip_lightning.callbacks.peak_psnr import PeakPSNR
from dip_lightning.callbacks.pictures import Pictures

__all__ = [
    "Checkpoint",
    "CurveLogger",
    "Detection",
    "DivergenceGuard",
    "FitProgress",
    "Interrupt",
    "OutputEMA",
    "PastPeak",
    "PeakPSNR",
    "Pictures",
]
