"""Everything that one fit consists of, built from its configuration. What comes after knows no configuration."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]
from torch import nn

from dip_lightning.callbacks import Checkpoint, Interrupt, OutputEMA
from dip_lightning.checks import check_choice, check_flag, check_integer
from dip_lightning.compilation import Program, choose_compilation
from dip_lightning.config.compose import build, config_folder
from dip_lightning.config.messages import of_unknown_keys
from dip_lightning.data import ImageDataModule, Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.settings import FitSettings, read_settings
from dip_lightning.models.hourglass import Hourglass
from dip_lightning.module import DeepImagePrior
from dip_lightning.precision import Precision
from dip_lightning.problems.data_terms import OBJECTIVES
from dip_lightning.system import environment

__all__ = ["Fit", "Sources", "build_data", "build_fit"]

Part = TypeVar("Part")

# File names or samples to take instead of those of the configuration, by its keys: ``path`` and ``clean``.
Sources = dict[str, str | Path | NDArray[np.generic]]


@dataclass(frozen=True)
class Fit:
    """Everything that one fit consists of.

    Attributes:
        settings: What the configuration says besides that.
        data: Counts the iterations, and holds the observation.
        module: The network and its objective.
        trainer: Runs the fit, with its callbacks and loggers.
        precision: The arithmetic.
        git_commit: The commit that the fit began with; the checkout may change while it runs.
        build_narrower: Builds another network of the same kind, with as many channels as it is told.
    """

    settings: FitSettings
    data: ImageDataModule
    module: DeepImagePrior
    trainer: pl.Trainer
    precision: Precision
    git_commit: str | None
    build_narrower: Callable[[int], nn.Module]

    def find(self, kind: type[Part]) -> Part | None:
        """Return the callback of a kind, or None where it was left out."""
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def build_fit(
    cfg: DictConfig,
    run_folder: Path | None,
    precision: Precision,
    pictures: Sources,
    first: int = 0,
    observation: Observation | None = None,
) -> Fit:
    """Build everything; whatever is wrong with the settings shows here, before anything is computed.

    Args:
        cfg: The composed configuration.
        run_folder: Where loggers write; None for no logger.
        precision: What the fit computes in.
        pictures: Samples or file names to take instead of those of the configuration: ``path`` and ``clean``.
        first: The iteration to begin with; not 0 in a fit that goes on where an earlier one ended.
        observation: What to fit instead of reading a picture.

    Returns:
        The fit, before its first iteration.

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
    trainer = _build_trainer(cfg, run_folder, precision, first)
    precision.check_device(trainer.strategy.root_device)
    # Drawing the weights is the first thing that the seed decides.
    torch.manual_seed(seed)
    network = _build_network(cfg, data.observation)
    program = _build_program(cfg, network, data, trainer.strategy.root_device)
    module = _build_module(cfg, network, program, data.observation, seed)
    module.first_iteration = first
    narrower = partial(_build_network, cfg, data.observation)
    fit = Fit(read_settings(cfg), data, module, trainer, precision, environment.git_commit(), narrower)
    if select == "averaged" and fit.find(OutputEMA) is None:
        raise UserError("select=averaged without output_ema", "the callback that averages", "try select=one_pass")
    unknown = of_unknown_keys([str(key) for key in cfg], config_folder())
    if unknown is not None:
        raise unknown
    return fit


def build_data(cfg: DictConfig, pictures: Sources) -> ImageDataModule:
    """Build what reads the picture; nothing is read yet.

    Args:
        cfg: The composed configuration.
        pictures: Samples or file names to take instead of those of the configuration: ``path`` and ``clean``.

    Raises:
        UserError: A setting does not allow what was asked.
    """
    data: ImageDataModule = build(cfg.image, degradation=build(cfg.degradation), iterations=cfg.iterations, **pictures)
    return data


def _build_trainer(cfg: DictConfig, run_folder: Path | None, precision: Precision, first: int) -> pl.Trainer:
    check_integer("trainer.log_every_n_steps", cfg.trainer.log_every_n_steps, 1, example=50)
    check_choice("trainer.accelerator", cfg.trainer.accelerator, ("auto", "cpu", "gpu"))
    deterministic = check_flag("trainer.deterministic", cfg.trainer.deterministic)
    benchmark = check_flag("trainer.benchmark", cfg.trainer.benchmark)
    unknown = set(cfg.trainer) - {"_target_", "accelerator", "benchmark", "deterministic", "log_every_n_steps"}
    if unknown:
        # Several devices, epochs or stopping early would each break "one iteration is one step of one epoch".
        raise UserError(f"trainer.{min(unknown)}", "a key that dip --help lists", "leave it out")
    # An empty node is the choice of nothing: stopping=none.
    callbacks = [_callback(name, node) for name, node in cfg.callbacks.items() if node]
    named = [] if run_folder is None else [node for node in cfg.logger.values() if node is not None]
    loggers = [build(node, save_dir=str(run_folder), **_purge(node, first)) for node in named]
    try:
        trainer: pl.Trainer = build(
            cfg.trainer,
            precision=precision.lightning,
            devices=1,
            max_epochs=1,
            # The fastest way to convolve may be another one in the next run.
            benchmark=benchmark and not deterministic,
            callbacks=[*callbacks, Interrupt()],
            logger=loggers or False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks),
        )
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, (MisconfigurationException, RuntimeError, ValueError)):
            text = str(cause).splitlines()[0]
            raise UserError(f"trainer: {text}", "a machine that can do so", "try trainer=cpu") from None
        raise
    return trainer


def _purge(node: DictConfig, first: int) -> dict[str, int]:
    """What makes TensorBoard forget the events from an iteration on, which a fit that goes on there writes again."""
    return {"purge_step": first} if first > 0 and str(node._target_).endswith(".TensorBoardLogger") else {}


def _callback(name: Any, node: Any) -> pl.Callback:
    callback = build(node)
    if not isinstance(callback, pl.Callback):
        raise UserError(f"callbacks.{name} of type {type(callback).__name__}", "a callback", "leave it out")
    return callback


def _build_network(cfg: DictConfig, observation: Observation, channels: int | None = None) -> nn.Module:
    """Build the network; the switches at the top of the configuration win over those of the model."""
    switches: dict[str, Any] = {"dropout": cfg.dropout} | ({} if channels is None else {"channels": channels})
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
