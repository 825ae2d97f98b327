"""What a fit minimises of the difference between prediction and observation."""

from dip_lightning.checks import check_choice
from dip_lightning.data import Observation
from dip_lightning.errors import UserError
from dip_lightning.problems.data_terms import DATA_TERMS
from dip_lightning.problems.jpeg_intervals import JpegIntervals
from dip_lightning.problems.problem import DataTerm

__all__ = ["build_data_term"]

INTERVALS = "intervals"


def build_data_term(asked: str | None, observation: Observation) -> DataTerm:
    """Return the data term of a name, or what suits the observation.

    Args:
        asked: A key of :data:`DATA_TERMS`, or ``"intervals"`` of a compressed picture; None for what suits.
        observation: What is fitted.

    Raises:
        UserError: There is no such term, or not of this observation.
    """
    name = check_choice("data_term", asked or observation.data_term, (*DATA_TERMS, INTERVALS))
    if name != INTERVALS:
        return DATA_TERMS[name]
    if observation.jpeg is None:
        raise UserError(f"data_term={INTERVALS}", "a compressed picture", "try problem=dejpeg, or data_term=mse")
    values = observation.range.values
    return JpegIntervals(observation.jpeg, values.low, values.high)
