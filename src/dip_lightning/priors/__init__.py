"""What answers: a network as a prior, how its input is drawn, and what the input is in each iteration."""

from dip_lightning.priors.estimate import Estimate
from dip_lightning.priors.input import DRAWS, InputPolicy, MeshGrid, Perturbed, PictureInput, UniformInput
from dip_lightning.priors.prior import Prior

__all__ = ["DRAWS", "Estimate", "InputPolicy", "MeshGrid", "Perturbed", "PictureInput", "Prior", "UniformInput"]
