"""Stein's unbiased risk estimate, for Gaussian noise of known or estimated strength."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dip_lightning.checks import check_integer, check_number
from dip_lightning.errors import UserError
from dip_lightning.problems.data_terms import mse
from dip_lightning.problems.problem import Problem
from dip_lightning.stateful import Stateful
from dip_lightning.system.randomness import derived_seed

if TYPE_CHECKING:
    from dip_lightning.module import Iterate

__all__ = ["Sure"]


# Less noise than this, on the scale 0 to 255, is none: rounding to 8 bits alone gives 0.3.
_LEAST_SIGMA = 1.0

# The perturbation of a picture of 128×128 RGB pixels, and of every smaller one; see :class:`Sure`.
_STRONGEST, _SAMPLES = 0.2, 3 * 128 * 128

# What is left between the output and the observation is noise, so that its standard deviation is near σ. Where less is
# left, σ was taken for too strong. Between what was seen on one photograph whose σ is right to a tenth (less than 0.8)
# and on two textured pictures of which it was 1.6 and 2.2 times the noise (0.7): a narrow gap, and of these pictures.
_LEAST_LEFT = 0.74

# Of the share of one image in a mixture of two: how much it varies from picture to picture, and how many draws tell how
# far an estimate of it lies off.
_PRIOR_VARIANCE, _DRAWS = 0.25**2, 8


class Sure(Stateful):
    """An estimate of the mean squared error against the clean image: ‖f − y‖²/N + 2σ²·div f/N − σ².

    A fit has no closed divergence of its output f by the observation y: it is estimated from how much of a known
    perturbation the output takes up. The fit sees y + α·ω with ω ~ N(0, σ²), drawn once, and σ²·div f ≈ ⟨ω, f⟩/α.
    For α → 0 this is Ramani et al.'s (2008) Monte-Carlo SURE; for a finite α it is, without bias, the risk of
    fitting noise of σ·√(1 + α²) (Oliveira, Lei & Tibshirani's coupled bootstrap, 2021). A larger α makes the estimate
    steadier and the picture that is fitted noisier. The spread of the estimate falls with α·√N, so that a larger
    picture needs a smaller α. Of noise that neighbours or colours share, ω has the covariance: the proof holds for any.
    """

    follows_output = True
    remembered: ClassVar[tuple[str, ...]] = ("_noise", "_least", "_left")

    def __init__(self, alpha: float | None = None, seed: int = 0) -> None:
        """Set the perturbation.

        Args:
            alpha: Its standard deviation, relative to that of the noise, in (0, 1]; None for 0.2 up to 128×128 RGB
                pixels, and less for larger pictures, in inverse proportion to the side. Of noise that neighbours share,
                fewer pixels count.
            seed: Which perturbation.

        Raises:
            UserError: A value is not allowed.
        """
        if alpha is not None:
            check_number("stopping.rules.sure.alpha", alpha, 0, 1, low_open=True, example=0.2)
        self.alpha = alpha
        self.seed = check_integer("stopping.rules.sure.seed", seed, 0, example=0)

    def prepare(self, problem: Problem) -> Problem:
        """Perturb what the fit sees.

        Raises:
            UserError: There is next to no noise, or its strength is not known.
        """
        if problem.data_term is not mse:
            # Whoever minimises something else does not expect Gaussian noise.
            raise UserError(
                "stopping=sure on another data term than the squared error", "data_term=mse", "try stopping=holdout"
            )
        if problem.sigma is None:
            raise UserError("stopping=sure without sigma", "the strength of the noise", "try image.sigma=10")
        if problem.sigma < _LEAST_SIGMA:
            raise UserError(
                f"stopping=sure on hardly any noise that differs from pixel to pixel (σ = {problem.sigma:.1f})",
                f"σ of at least {_LEAST_SIGMA:g} of 255",
                "try stopping=holdout, or image.sigma=5 if you know better",
            )
        sigma = problem.sigma / 255
        self._operator, self._observation, self._weight = problem.operator, problem.observation, problem.known_weight
        observation = problem.observation
        independent = float(observation.numel())
        if problem.shares_noise:
            assert problem.noise is not None
            independent /= problem.noise.redundancy
        adapted = _STRONGEST * min(1.0, (_SAMPLES / independent) ** 0.5)
        self._alpha = adapted if self.alpha is None else self.alpha
        self._problem = problem
        self._noise = self._draw("perturbation of SURE")
        self._variance = sigma**2
        self._least = self._left = observation.new_full((), torch.inf)
        return problem.replace(target=observation + self._alpha * self._noise)

    def _draw(self, purpose: str) -> Tensor:
        """Draw ω, (1, C_y, H_y, W_y)."""
        problem, observation = self._problem, self._problem.observation
        assert problem.sigma is not None
        generator = torch.Generator().manual_seed(derived_seed(self.seed, purpose))
        if problem.shares_noise:
            assert problem.noise is not None
            _, channels, height, width = observation.shape
            noise = problem.noise.with_level(problem.sigma, "given").draw((1, channels, height, width), generator)
        else:
            noise = torch.randn(observation.shape, generator=generator) * (problem.sigma / 255)
        return noise.to(observation)

    def statistic(self, iterate: "Iterate", output: Tensor) -> Tensor:
        """Return the estimated mean squared error of A(``output``), which may be negative by chance."""
        residual: Tensor = self._operator(output) - self._observation
        errors, left = residual * (residual + (2 / self._alpha) * self._noise), residual.square()
        if self._weight is not None:
            errors, left = errors * self._weight, left * self._weight
        estimate: Tensor = errors.mean() - self._variance
        better = estimate < self._least
        self._least, self._left = (
            torch.where(better, estimate, self._least),
            torch.where(better, left.mean(), self._left),
        )
        return estimate

    def is_refuted(self) -> Tensor:
        """Whether far less than the noise is left where the estimate is least: then σ is wrong, and so is the rule."""
        return self._left < _LEAST_LEFT**2 * self._variance

    def share(self, image: Tensor, other: Tensor, where: Tensor) -> tuple[float, float]:
        """Tell in which share two images, both made of what the fit sees, are mixed best.

        With r = o − y and d = x − o the statistic of o + w·d is a parabola in w, least at
        w = −(⟨d, r⟩ + ⟨ω, d⟩/α)/‖d‖². How far that lies off by chance, ⟨ω, d⟩ says of other draws of ω. The less sure
        it is, the nearer to equal shares: the mean of the posterior, of a prior N(½, ¼²).

        Args:
            image: x, (1, C, H, W).
            other: o, likewise.
            where: 1 where it counts, 0 elsewhere, (1, 1 or C, H, W).

        Returns:
            The share w of ``image``, in [0, 1], and the statistic of that mixture.
        """
        difference, residual = (image - other) * where, other - self._observation
        square = float(difference.square().sum(dtype=torch.float64))
        slope = float((difference * (residual + self._noise / self._alpha)).sum(dtype=torch.float64))
        if square == 0:
            share = 1.0
        else:
            chances = [self._draw(f"other perturbation {number}") for number in range(_DRAWS)]
            products = [float((difference * chance).sum(dtype=torch.float64)) for chance in chances]
            variance = sum(product**2 for product in products) / _DRAWS / (self._alpha * square) ** 2
            share = (_PRIOR_VARIANCE * -slope / square + 0.5 * variance) / (_PRIOR_VARIANCE + variance)
            share = min(max(share, 0.0), 1.0)
        mixed = residual + share * difference
        errors = mixed * (mixed + (2 / self._alpha) * self._noise) * where
        counted = float(torch.broadcast_to(where, errors.shape).sum(dtype=torch.float64))
        return share, float(errors.sum(dtype=torch.float64)) / max(counted, 1.0) - self._variance
