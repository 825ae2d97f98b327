"""What a fit minimises of the difference between prediction and observation."""

from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from dip_lightning.checks import check_choice, check_flag
from dip_lightning.config.build import build
from dip_lightning.data import Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.defaults import Defaults
from dip_lightning.problems import Blur, TotalVariation
from dip_lightning.problems.backprojection import Backprojection
from dip_lightning.problems.data_terms import DATA_TERMS
from dip_lightning.problems.jpeg_intervals import JpegIntervals
from dip_lightning.problems.problem import DataTerm, Regularizer

__all__ = ["build_data_term", "build_terms"]

INTERVALS, BACKPROJECTION = "intervals", "backprojection"


def build_data_term(
    asked: str | None, observation: Observation, operator: Any, known: Tensor | None, suited: str | None
) -> DataTerm:
    """Return the data term of a name, or what suits the observation.

    Args:
        asked: A key of :data:`DATA_TERMS`, ``"intervals"`` of a compressed picture, or ``"backprojection"`` of a
            blurred one; None for what suits.
        observation: What is fitted.
        operator: What it was seen through.
        known: 1 where a sample was measured, (1, 1 or C, H, W); None for all.
        suited: The name of what suits the problem; None for what suits the noise.

    Raises:
        UserError: There is no such term, or not of this observation.
    """
    if asked is None and observation.data_term == "mse":
        asked = suited
    name = check_choice(
        "data_term", observation.data_term if asked is None else asked, (*DATA_TERMS, INTERVALS, BACKPROJECTION)
    )
    if name == BACKPROJECTION:
        if not isinstance(operator, Blur):
            raise UserError(f"data_term={BACKPROJECTION}", "a blurred picture", "try problem=deblur, or data_term=mse")
        height, width = observation.noisy.shape[-2:]
        return Backprojection(operator, height, width, known)
    if name != INTERVALS:
        return DATA_TERMS[name]
    if observation.jpeg is None:
        raise UserError(f"data_term={INTERVALS}", "a compressed picture", "try problem=dejpeg, or data_term=mse")
    values = observation.range.values
    return JpegIntervals(observation.jpeg, values.low, values.high)


def build_terms(cfg: DictConfig, suited: Defaults) -> dict[str, Regularizer]:
    """Build the terms beside the data term, by name.

    Args:
        cfg: The composed configuration.
        suited: What suits the problem, for ``regularizers=auto``.

    Raises:
        UserError: A setting does not allow it.
    """
    terms: dict[str, Regularizer] = {}
    if check_flag("regularizers.auto", cfg.regularizers.get("auto", False)) and suited.tv is not None:
        terms["tv"] = TotalVariation(suited.tv)
    own = {str(name): node for name, node in cfg.regularizers.items() if name != "auto" and node is not None}
    return terms | {name: build(node) for name, node in own.items()}
