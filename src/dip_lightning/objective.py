"""What a fit minimises: plain functions of a prediction and the observation, both (1, C, H, W) in [0, 1]."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["mse"]


def mse(prediction: Tensor, observation: Tensor) -> Tensor:
    """Mean squared error, the objective ‖A(f_θ(z)) − y‖² of Deep Image Prior divided by the number of samples.

    Args:
        prediction: A(f_θ(z)), the network's output seen through the forward operator.
        observation: y, of the same shape.

    Returns:
        A tensor of shape ().
    """
    return F.mse_loss(prediction, observation)
