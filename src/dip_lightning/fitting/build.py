"""The parts of one fit, built from its configuration."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import nn

from dip_lightning.callbacks import OutputEMA
from dip_lightning.checks import check_choice, check_flag, check_integer
from dip_lightning.compilation import Program, choose_compilation
from dip_lightning.config.build import build
from dip_lightning.config.compose import config_folder
from dip_lightning.config.messages import of_unknown_keys
from dip_lightning.data import ImageDataModule, Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.trainer import build_trainer
from dip_lightning.models.hourglass import Hourglass
from dip_lightning.module import DeepImagePrior
from dip_lightning.precision import Precision
from dip_lightning.problems.data_terms import OBJECTIVES
from dip_lightning.system import environment

__all__ = ["Parts", "Pictures", "build_data", "build_parts"]

Part = TypeVar("Part")

# File names or samples to take instead of those of the configuration, by its keys: ``path`` and ``clean``.
Pictures = dict[str, str | Path | NDArray[np.generic]]


@dataclass(frozen=True)
class Parts:
    """Everything that one fit consists of.

    Attributes:
        cfg: The configuration that the others were built from.
        data: Counts the iterations, and holds the observation.
        module: The network and its objective.
        trainer: Runs the fit, with its callbacks and loggers.
        precision: The arithmetic.
        git_commit: The commit that the fit began with; the checkout may change while it runs.
    """

    cfg: DictConfig
    data: ImageDataModule
    module: DeepImagePrior
    trainer: pl.Trainer
    precision: Precision
    git_commit: str | None

    def find(self, kind: type[Part]) -> Part | None:
        """Return the callback of a kind, or None where it was left out."""
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def build_parts(
    cfg: DictConfig,
    run_folder: Path | None,
    precision: Precision,
    pictures: Pictures,
    first: int = 0,
    observation: Observation | None = None,
) -> Parts:
    """Build everything; whatever is wrong with the settings shows here, before anything is computed.

    Args:
        cfg: The composed configuration.
        run_folder: Where loggers write; None for no logger.
        precision: What the fit computes in.
        pictures: Samples or file names to take instead of those of the configuration: ``path`` and ``clean``.
        first: The iteration to begin with; not 0 in a fit that goes on where an earlier one ended.
        observation: What to fit instead of reading a picture.

    Returns:
        The parts.

    Raises:
        UserError: A setting, a file or the machine does not allow what was asked.
    """
    seed = check_integer("seed", cfg.seed, 0, 2**32 - 1, example=0)
    select = check_choice("select", cfg.select, ("averaged", "one_pass"))
    check_flag("save_checkpoint", cfg.save_checkpoint)
    data = build_data(cfg, pictures)
    data.first = first
    if observation is not None:
        data.take(observation)
    trainer = build_trainer(cfg, run_folder, precision, first)
    precision.check_device(trainer.strategy.root_device)
    # Drawing the weights is the first thing that the seed decides.
    torch.manual_seed(seed)
    network = _build_network(cfg, data.observation)
    program = _build_program(cfg, network, data, trainer.strategy.root_device)
    module = _build_module(cfg, network, program, data.observation, seed)
    module.first_iteration = first
    parts = Parts(cfg, data, module, trainer, precision, environment.git_commit())
    if select == "averaged" and parts.find(OutputEMA) is None:
        raise UserError("select=averaged without output_ema", "the callback that averages", "try select=one_pass")
    unknown = of_unknown_keys([str(key) for key in cfg], config_folder())
    if unknown is not None:
        raise unknown
    return parts


def build_data(cfg: DictConfig, pictures: Pictures) -> ImageDataModule:
    """Build what reads the picture; nothing is read yet.

    Args:
        cfg: The composed configuration.
        pictures: Samples or file names to take instead of those of the configuration: ``path`` and ``clean``.

    Raises:
        UserError: A setting does not allow what was asked.
    """
    data: ImageDataModule = build(cfg.image, degradation=build(cfg.degradation), iterations=cfg.iterations, **pictures)
    return data


def _build_network(cfg: DictConfig, observation: Observation) -> nn.Module:
    """Build the network; the switches at the top of the configuration win over those of the model."""
    switches: dict[str, Any] = {"dropout": cfg.dropout}
    if "residual" in cfg.model:
        switches["residual"] = cfg.residual
    elif cfg.residual:
        raise UserError(
            f"residual={cfg.residual}", "a network with residual blocks", "try model=resunet or model=resnet"
        )
    network: nn.Module = build(cfg.model, output_channels=observation.noisy.shape[1], **switches)
    if isinstance(network, Hourglass):
        # Before the memory is estimated, for which the network is run on a picture as large as its levels need.
        network.check_size(*observation.noisy.shape[-2:])
    return network


def _build_program(cfg: DictConfig, network: nn.Module, data: ImageDataModule, device: torch.device) -> Program | None:
    pixels = math.prod(data.observation.noisy.shape[-2:])
    compilation = choose_compilation(cfg.compile, device, pixels, data.iterations)
    if compilation == "none":
        return None
    return Program(network.forward, compilation, required=cfg.compile != "auto")


def _build_module(
    cfg: DictConfig, network: nn.Module, program: Program | None, observation: Observation, seed: int
) -> DeepImagePrior:
    noise = cfg.input_noise_std
    if noise is None:
        # The original's values: 1/20 for σ = 50, else 1/30.
        noise = 1 / 20 if observation.sigma >= 50 else 1 / 30
    # float32 here; Lightning converts the module, images included, to what the precision asks for.
    objective = OBJECTIVES[check_choice("objective", cfg.objective or observation.objective, OBJECTIVES)]
    module = DeepImagePrior(
        network,
        observation.noisy.float(),
        None if observation.clean is None else observation.clean.float(),
        input_channels=cfg.model.input_channels,
        input_scale=cfg.input_scale,
        input_noise_std=noise,
        lr=cfg.lr,
        objective=objective,
        sigma=observation.sigma_in_force,
        seed=seed,
        program=program,
    )
    if check_flag("channels_last", cfg.channels_last):
        module.to(memory_format=torch.channels_last)
    return module
