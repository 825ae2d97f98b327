"""Where the input of a network comes from, and what it is in each iteration."""

from collections.abc import Callable

import torch
from omegaconf import DictConfig

from dip_lightning.checks import check_choice
from dip_lightning.config.build import build
from dip_lightning.data import Observation
from dip_lightning.data.cropping import crop_picture, read_source, resize_picture
from dip_lightning.data.observing import to_tensor
from dip_lightning.errors import UserError
from dip_lightning.fitting.defaults import Defaults
from dip_lightning.priors import DRAWS, InputPolicy, PictureInput

__all__ = ["DrawsInput", "build_draw", "build_policy", "channels_of_input"]

# What makes z of a shape.
DrawsInput = Callable[[tuple[int, int, int], torch.Generator], torch.Tensor]


def build_policy(cfg: DictConfig, suited: Defaults) -> InputPolicy:
    """Build what z is in each iteration.

    Args:
        cfg: The composed configuration.
        suited: What is taken where nothing is said.
    """
    unsaid = {"std": suited.input_noise_std} if cfg.input.get("std", 0) is None else {}
    policy: InputPolicy = build(cfg.input, **unsaid)
    return policy


def build_draw(cfg: DictConfig, observation: Observation) -> DrawsInput:
    """Build what makes z: as ``z`` says, or the picture that guides the fit.

    Args:
        cfg: The composed configuration.
        observation: The picture that is fitted.

    Raises:
        UserError: None is named, there is no such picture, or it has another size.
    """
    draw = DRAWS[check_choice("z", cfg.z, DRAWS)](cfg.input_scale)
    flash = cfg.problem.get("flash")
    if flash is None and "flash" in cfg.problem:
        told = "try problem=flash problem.flash=flash.jpg"
        raise UserError("problem=flash without problem.flash", "the picture with a flash", told)
    if flash is None:
        return draw
    if cfg.z != "noise":
        raise UserError(f"z={cfg.z} with problem.flash", "one of them", "leave z out")
    guide = resize_picture(crop_picture(read_source(flash, "problem.flash"), cfg.image.crop), cfg.image.size)
    _, height, width = observation.picture_shape
    if (guide.height, guide.width) != (height, width):
        told = f"problem.flash={flash} of {guide.height}x{guide.width} pixels"
        raise UserError(told, f"{height}x{width}, as the picture", "name its like of the same size")
    return PictureInput(to_tensor(guide.to_unit()).float())


def channels_of_input(draw: DrawsInput, policy: InputPolicy, image_channels: int) -> int | None:
    """Return how many channels z must have; None for what the network asks for.

    Args:
        draw: What makes z.
        policy: What it is in each iteration.
        image_channels: Those of the image.

    Raises:
        UserError: A picture guides the fit, and the policy has no use for it.
    """
    asked = policy.input_channels(image_channels)
    if not isinstance(draw, PictureInput):
        return asked
    if asked is not None:
        raise UserError("problem.flash with an input that does not use it", "one of them", "try input=perturbed")
    return draw.picture.shape[1]
