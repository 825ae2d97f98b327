"""A fit that does whatever a test wants it to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dip_lightning.data.noise_model import NoiseModel
from dip_lightning.module import Iterate
from dip_lightning.problems import Problem
from dip_lightning.problems.data_terms import mse
from dip_lightning.stopping import StoppingRule


class FakeFit:
    """What a rule sees of a fit, without a network."""

    def __init__(
        self,
        observation: Any,
        sigma: float | None = None,
        data_term: Callable[[Tensor, Tensor], Tensor] = mse,
        noise: NoiseModel | None = None,
    ) -> None:
        self.observation = torch.as_tensor(np.asarray(observation)).float()
        self.problem = Problem(self.observation, sigma=sigma, data_term=data_term, noise=noise)
        self.iterate = Iterate(-1, self.observation)

    def prepare(self, rule: StoppingRule) -> Problem:
        """Let a rule make what it will of the problem."""
        self.problem = rule.prepare(self.problem)
        return self.problem

    def step(self, output: Any, diverged: bool | None = None) -> Tensor:
        """Have the next iteration give this output, which is also the one that is handed back."""
        one_pass = torch.as_tensor(np.asarray(output)).float()
        flag = None if diverged is None else torch.tensor(diverged)
        self.iterate = Iterate(self.iterate.iteration + 1, one_pass, diverged=flag)
        return one_pass

    def judge(self, rule: StoppingRule, output: Any, diverged: bool | None = None) -> Tensor | None:
        """Return what a rule says of the next iteration."""
        one_pass = self.step(output, diverged)
        return rule.statistic(self.iterate, one_pass)
