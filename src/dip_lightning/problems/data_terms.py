"""Data terms: plain functions of a prediction and the observation, one loss a sample; the fit takes the mean.

All tensors are (1, C, H, W), images in [0, 1]. Which one suits depends on the noise: each is, up to constants, the
negative log-likelihood of one kind.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["DATA_TERMS", "huber", "l1", "mse", "poisson"]

# Where the Huber loss turns from quadratic to linear: at about the standard deviation of strong noise (σ = 25 is 0.1).
HUBER_DELTA = 0.1

# Below this value the logarithm of the Poisson term goes on along its tangent.
DARKEST = 1e-3


def mse(prediction: Tensor, observation: Tensor) -> Tensor:
    """Squared error, for Gaussian noise: the ‖A(f_θ(z)) − y‖² of Deep Image Prior.

    Args:
        prediction: A(f_θ(z)), the network's output seen through the forward operator.
        observation: y, of the same shape.

    Returns:
        One value a sample, of the same shape.
    """
    return F.mse_loss(prediction, observation, reduction="none")


def l1(prediction: Tensor, observation: Tensor) -> Tensor:
    """Absolute error, for impulse noise: what is fitted is a median, which lost pixels hardly move.

    Args:
        prediction: See :func:`mse`.
        observation: See :func:`mse`.

    Returns:
        One value a sample, of the same shape.
    """
    return F.l1_loss(prediction, observation, reduction="none")


def huber(prediction: Tensor, observation: Tensor) -> Tensor:
    """Huber's loss (1964): squared error up to 0.1, absolute error beyond; for Gaussian noise with outliers.

    Args:
        prediction: See :func:`mse`.
        observation: See :func:`mse`.

    Returns:
        One value a sample, of the same shape.
    """
    return F.huber_loss(prediction, observation, reduction="none", delta=HUBER_DELTA)


def poisson(prediction: Tensor, observation: Tensor) -> Tensor:
    """Half the deviance of Poisson counts, p − y + y·log(y/p), for shot noise; 0 where both agree.

    Below p = 0.001 log p goes on along its tangent, log 0.001 + (p − 0.001)/0.001, so that a dark prediction is drawn
    towards a brighter observation, and not ever more strongly. Where no count can be, the term is continued so that it
    stays convex and bounded from below: |p| stands for p, and a negative y counts as 0.

    Args:
        prediction: See :func:`mse`.
        observation: See :func:`mse`.

    Returns:
        One value a sample, of the same shape.
    """
    counts = observation.clamp(min=0)
    logarithm = torch.where(
        prediction < DARKEST, math.log(DARKEST) - 1 + prediction / DARKEST, prediction.clamp(min=DARKEST).log()
    )
    return prediction.abs() - counts + torch.xlogy(counts, counts) - counts * logarithm


# The choices of `data_term=`.
DATA_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "l1": l1, "huber": huber, "poisson": poisson}
