"""What is asked: the observation, the operator that it was seen through, and the terms that a fit minimises."""

from dip_lightning.problems.data_terms import DATA_TERMS
from dip_lightning.problems.operators.blur import Blur
from dip_lightning.problems.operators.downsample import Downsample
from dip_lightning.problems.operators.flash import Flash
from dip_lightning.problems.operators.inpaint import Inpaint
from dip_lightning.problems.operators.jpeg import Jpeg
from dip_lightning.problems.operators.mosaic import Mosaic
from dip_lightning.problems.operators.operator import Identity, Operator
from dip_lightning.problems.operators.super_resolution import SuperResolution
from dip_lightning.problems.problem import Problem
from dip_lightning.problems.total_variation import TotalVariation

__all__ = [
    "DATA_TERMS",
    "Blur",
    "Downsample",
    "Flash",
    "Identity",
    "Inpaint",
    "Jpeg",
    "Mosaic",
    "Operator",
    "Problem",
    "SuperResolution",
    "TotalVariation",
]
