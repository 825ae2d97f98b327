"""The error itself, for studies: it needs the clean image, which nobody has in practice."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from dip_lightning.errors import UserError
from dip_lightning.problems.problem import Problem
from dip_lightning.stateful import Stateful

if TYPE_CHECKING:
    from dip_lightning.module import Iterate

__all__ = ["CleanError"]


class CleanError(Stateful):
    """The mean squared error of the output against the clean image."""

    follows_output = True

    def prepare(self, problem: Problem) -> Problem:
        """Keep the clean image.

        Raises:
            UserError: There is none.
        """
        if problem.clean is None:
            expected = "a clean picture to measure against, since it is a rule for studies"
            raise UserError("stopping=past_peak without image.clean", expected, "try stopping=vote")
        self._clean = problem.clean
        return problem

    def statistic(self, iterate: "Iterate", output: Tensor) -> Tensor:
        """Return the error of ``output``."""
        return F.mse_loss(output, self._clean)
