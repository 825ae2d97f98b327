"""The last estimate plus falling noise as the input: self-diffusion."""

from itertools import accumulate
from operator import mul

import torch
from torch import Tensor

from dip_lightning.checks import check_integer, check_number
from dip_lightning.errors import UserError
from dip_lightning.priors.input import InputPolicy

__all__ = ["Estimate"]


class Estimate(InputPolicy):
    """Self-diffusion (Luo & Huang, NeurIPS 2025): z_t = x̂_t + σ_t·ε_t, with ε_t ~ N(0, 1) drawn once a step.

    There are T steps, t = T … 1, of K iterations each, and the weights carry on. x̂_t is the output at the end of the
    step before, 0 at the beginning, and σ_t = √(1 − Π_{s ≤ t} (1 − β_s)), with β rising evenly from s = 1 to s = T.
    After the last step its input stays. z has the channels of the image; what was drawn as z is not used.
    """

    current: Tensor

    def __init__(self, steps: int = 40, inner: int = 150, beta_min: float = 1e-4, beta_max: float = 1e-2) -> None:
        """Set the schedule.

        Args:
            steps: T.
            inner: K, iterations of a step.
            beta_min: β of the last step.
            beta_max: β of the first step.

        Raises:
            UserError: A value is not allowed.
        """
        super().__init__()
        self.steps = check_integer("input.steps", steps, 1, example=40)
        self.inner = check_integer("input.inner", inner, 1, example=150)
        low = check_number("input.beta_min", beta_min, 0, 1, high_open=True, example=1e-4)
        high = check_number("input.beta_max", beta_max, low, 1, high_open=True, example=1e-2)
        kept = accumulate((1 - low - (high - low) * s / max(steps - 1, 1) for s in range(steps)), mul)
        self._sigmas = [(1 - product) ** 0.5 for product in kept][::-1]

    def input_channels(self, image_channels: int) -> int | None:
        """Return the channels of the image."""
        return image_channels

    def changes_at(self, iteration: int) -> bool:
        """Whether a step begins."""
        return iteration % self.inner == 0 and iteration // self.inner < self.steps

    def start(self, z: Tensor, image_shape: tuple[int, int, int]) -> None:
        """Make room for the input.

        Raises:
            UserError: z is not as large as the image.
        """
        if tuple(z.shape[1:]) != image_shape:
            raise UserError(
                f"input=estimate with an input of {tuple(z.shape[1:])} for an image of {image_shape}",
                "a network whose input is as large as its image",
                "try model=unet",
            )
        self.register_buffer("current", torch.zeros_like(z))
        self._drawn_in = -1

    def forward(self, z: Tensor, iteration: int, estimate: Tensor | None) -> Tensor:
        """Return z_t of this iteration's step."""
        # Some optimisers, such as L-BFGS, do an iteration several times.
        if self.changes_at(iteration) and iteration != self._drawn_in:
            self._drawn_in = iteration
            base = torch.zeros_like(z) if estimate is None else estimate
            # Of a fit that has left its course, what was there stays.
            base = torch.where(torch.isfinite(base), base, self.current)
            self.current = base + self._sigmas[iteration // self.inner] * self.normal(base)
        return self.current

    def unperturbed(self, z: Tensor) -> Tensor:
        """Return the input of the present step."""
        return self.current
