"""Image quality, as plain functions on tensors; nothing here waits for the device."""

import math

import torch.nn.functional as F
from torch import Tensor

__all__ = ["psnr"]


def psnr(prediction: Tensor, target: Tensor, value_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio, 10·log10(range² / mse).

    Args:
        prediction: An image of any shape.
        target: What it is compared with, of the same shape.
        value_range: The distance between black and white.

    Returns:
        A tensor of shape () in dB on the device of the arguments: ``inf`` where they agree, ``nan`` where either
        holds one.
    """
    # In few operations: a fast GPU is done with each before the next can be started, and an iteration has three PSNRs.
    decibels = F.mse_loss(prediction, target).log10() * -10
    return decibels if value_range == 1 else decibels + 20 * math.log10(value_range)
