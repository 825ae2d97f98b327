"""A fit that does whatever a test wants it to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dip_lightning.module import Iterate
from dip_lightning.problems.data_terms import mse


class FakeFit:
    """What a rule sees of a module, without a network."""

    def __init__(self, observation: Any, sigma: float | None = None) -> None:
        self.observation = torch.as_tensor(np.asarray(observation)).float()
        self.sigma = sigma
        self.operator = nn.Identity()
        self.objective: Callable[[Tensor, Tensor], Tensor] = mse
        self.target: Tensor | None = None
        self.weight: Tensor | None = None
        self.iterate = Iterate(-1, self.observation)

    def step(self, output: Any) -> Tensor:
        """Have the next iteration give this output, which is also the one that is handed back."""
        one_pass = torch.as_tensor(np.asarray(output)).float()
        self.iterate = Iterate(self.iterate.iteration + 1, one_pass)
        return one_pass
