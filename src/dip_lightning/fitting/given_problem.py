"""A whole problem that was given instead of a picture, as an observation."""

import numpy as np

from dip_lightning.data import Observation, Picture, ValueRange
from dip_lightning.data.noise_level import estimate_noise
from dip_lightning.data.noise_model import white_noise
from dip_lightning.data.own_range import WorkingRange
from dip_lightning.problems import Problem

__all__ = ["PROBLEM", "observation_of"]

# What a record names instead of a file where a whole problem was given.
PROBLEM = "problem"


def observation_of(problem: Problem) -> Observation:
    """What a record says of a problem that was given; its image will be handed back with 16 bits a sample.

    Args:
        problem: What :func:`~dip_lightning.restore` was given instead of a picture.
    """
    noisy = problem.observation.detach().double().cpu()
    estimated = estimate_noise(noisy[0].permute(1, 2, 0).numpy())
    channels, height, width = problem.shape
    sigma = estimated if problem.sigma is None else problem.sigma
    origin = "estimated" if problem.sigma is None else "given"
    return Observation(
        noisy=noisy,
        clean=None if problem.clean is None else problem.clean.detach().double().cpu(),
        picture=Picture(np.zeros((height, width, channels), np.uint16)),
        source=PROBLEM,
        sigma=sigma,
        sigma_source=origin,
        sigma_estimated=estimated,
        sigma_in_force=sigma,
        noise=problem.noise or white_noise(sigma, noisy.shape[1], origin),
        data_term=getattr(problem.data_term, "__name__", type(problem.data_term).__name__),
        range=WorkingRange(ValueRange(0, 1), "type", None),
    )
