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
from dip_lightning.priors import DRAWS, InputPolicy, PictureInput
from dip_lightning.problems import Identity

__all__ = ["DrawsInput", "build_draw", "build_policy", "channels_of_input"]

# What makes z of a shape.
DrawsInput = Callable[[tuple[int, int, int], torch.Generator], torch.Tensor]

# What is seen through an operator with less noise than this, of 255, is fitted without noise on z: that would keep
# detail out: a mosaic takes five times as many iterations with it (see docs/results/applications.md).
_QUIET = 10.0


def build_policy(cfg: DictConfig, observation: Observation, operator: object) -> InputPolicy:
    """Build what z is in each iteration.

    Args:
        cfg: The composed configuration.
        observation: Whose noise the perturbation depends on, where nothing else is said.
        operator: What it was seen through.
    """
    # The original's values: 1/20 for σ = 50, else 1/30.
    std = 1 / 20 if observation.sigma >= 50 else 1 / 30
    # Where less is seen than the picture has, as of one enlarged four times, a fit without it ends lower; of operators
    # that say nothing of themselves it is not known.
    sees_all = getattr(operator, "scale", None) == 1
    if observation.sigma < _QUIET and sees_all and not isinstance(operator, Identity):
        std = 0.0
    policy: InputPolicy = build(cfg.input, **({"std": std} if cfg.input.get("std", 0) is None else {}))
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
