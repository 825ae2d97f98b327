"""Everything that one fit consists of, built from its configuration. What comes after knows no configuration."""

import inspect
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from torch import nn

from dip_lightning.callbacks import OutputEMA
from dip_lightning.checks import check_choice, check_flag, check_integer, check_kind
from dip_lightning.compilation import Program, choose_compilation
from dip_lightning.config.build import build
from dip_lightning.config.compose import config_folder
from dip_lightning.config.messages import of_unknown_keys
from dip_lightning.config.targets import find_target, is_trusted
from dip_lightning.config.trust import trusted_packages
from dip_lightning.data import ImageSource, Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.data_term import build_data_term, build_terms
from dip_lightning.fitting.defaults import defaults_for, may_forget, suited_iterations, suited_network, suited_window
from dip_lightning.fitting.given_problem import observation_of
from dip_lightning.fitting.inputs import DrawsInput, build_draw, build_policy, channels_of_input
from dip_lightning.fitting.optimization import optimizer_factory, scheduler_factory
from dip_lightning.fitting.own import Own
from dip_lightning.fitting.selection import find_callback
from dip_lightning.fitting.settings import FitSettings, read_settings
from dip_lightning.fitting.trainer import build_trainer
from dip_lightning.module import DeepImagePrior
from dip_lightning.precision import Precision
from dip_lightning.priors import InputPolicy, Prior
from dip_lightning.problems import Operator, Problem
from dip_lightning.problems.operators.measurement import as_operator
from dip_lightning.problems.operators.operator import FunctionOperator
from dip_lightning.system import environment
from dip_lightning.system.randomness import drawn_with, seed_all_else

__all__ = ["Fit", "Sources", "build_data", "build_fit"]

Part = TypeVar("Part")

# File names or samples to take instead of those of the configuration, by its keys: ``path`` and ``clean``.
Sources = dict[str, str | Path | NDArray[np.generic]]


@dataclass(frozen=True)
class Fit:
    """Everything that one fit consists of.

    Attributes:
        settings: What the configuration says besides that.
        data: The picture, and how many iterations it calls for.
        module: The prior and the problem.
        trainer: Runs the fit, with its callbacks and loggers.
        precision: The arithmetic.
        git_commit: The commit that the fit began with; the checkout may change while it runs.
        build_narrower: Builds another prior of the same kind, with as many channels as it is told.
    """

    settings: FitSettings
    data: ImageSource
    module: DeepImagePrior
    trainer: pl.Trainer
    precision: Precision
    git_commit: str | None
    build_narrower: Callable[[int | list[int]], Prior]

    def find(self, kind: type[Part]) -> Part | None:
        """Return the callback of a kind, or None where it was left out."""
        return find_callback(self.trainer, kind)


def build_fit(
    cfg: DictConfig,
    run_folder: Path | None,
    precision: Precision,
    pictures: Sources,
    first: int = 0,
    observation: Observation | None = None,
    own: Own | None = None,
) -> Fit:
    """Build everything; whatever is wrong with the settings shows here, before anything is computed.

    Args:
        cfg: The composed configuration.
        run_folder: Where loggers write; None for no logger.
        precision: What the fit computes in.
        pictures: Samples or file names to take instead of those of the configuration: ``path`` and ``clean``.
        first: The iteration to begin with; not 0 in a fit that goes on where an earlier one ended.
        observation: What to fit instead of reading a picture.
        own: Objects to take instead of building them.

    Returns:
        The fit, before its first iteration.

    Raises:
        UserError: A setting, a file or the machine does not allow what was asked.
    """
    seed = check_integer("seed", cfg.seed, 0, 2**32 - 1, example=0)
    select = check_choice("select", cfg.select, ("averaged", "one_pass"))
    check_flag("save_checkpoint", cfg.save_checkpoint)
    own = Own() if own is None else own
    data = build_data(cfg, pictures, own)
    if observation is not None:
        data.take(observation)
    suited = defaults_for(build_operator(cfg, own), data.observation)
    windowed = suited_window(cfg, forgets=suited.forgets and may_forget(cfg, own))
    trainer = build_trainer(windowed, run_folder, precision, first, own)
    device = trainer.strategy.root_device
    precision.check_device(device)
    asked, cfg = cfg, suited_network(cfg, device, suited.skip_channels)
    with drawn_with(seed, "weights"):
        prior = _build_prior(cfg, data.observation, own)
    problem = _build_problem(cfg, data.observation, own)
    if own.describe() or trusted_packages():  # parts of one's own may draw from them; those of this package do not
        seed_all_else(seed)
    pixels = math.prod(problem.shape[1:])
    module = DeepImagePrior(
        prior,
        problem,
        iterations=data.iterations,
        optimizer=own.optimizer or optimizer_factory(cfg, precision, device, suited.betas),
        scheduler=own.scheduler or scheduler_factory(cfg, data.iterations),
        select=select,
        seed=seed,
        program=_build_program(cfg, prior.network, pixels, data.iterations, device),
    )
    module.first_iteration = first
    if check_flag("channels_last", cfg.channels_last):
        module.to(memory_format=torch.channels_last)
    narrower = partial(_build_prior, cfg, data.observation, own)
    fit = Fit(read_settings(cfg, asked), data, module, trainer, precision, environment.git_commit(), narrower)
    if select == "averaged" and fit.find(OutputEMA) is None:
        raise UserError("select=averaged without output_ema", "the callback that averages", "try select=one_pass")
    unknown = of_unknown_keys([str(key) for key in cfg], config_folder())
    if unknown is not None:
        raise unknown
    return fit


def build_data(cfg: DictConfig, pictures: Sources, own: Own) -> ImageSource:
    """Build what reads the picture; nothing is read yet.

    Args:
        cfg: The composed configuration.
        pictures: Samples or file names to take instead of those of the configuration: ``path`` and ``clean``.
        own: Objects to take instead of building them.

    Raises:
        UserError: A setting does not allow what was asked.
    """
    operator = build_operator(cfg, own)
    suited = partial(suited_iterations, operator, forgets=may_forget(cfg, own))
    data: ImageSource = build(
        cfg.image,
        degradation=build(cfg.degradation),
        iterations=suited if cfg.iterations is None else cfg.iterations,
        operator=operator if isinstance(operator, Operator) else FunctionOperator(operator),
        noise=cfg.problem.get("noise"),
        beside=[cfg.problem.get(name) for name in ("kernel", "flash", "noise")],
        **pictures,
    )
    if isinstance(own.problem, Problem):
        data.take(observation_of(own.problem))
    return data


def _build_prior(cfg: DictConfig, observation: Observation, own: Own, channels: int | list[int] | None = None) -> Prior:
    """Build the prior; the switches at the top of the configuration win over those of the model."""
    if isinstance(own.model, Prior):
        if own.input is not None:
            raise UserError("input= beside a whole Prior", "one of them", "give the Prior its policy")
        return deepcopy(own.model)
    suited = defaults_for(build_operator(cfg, own), observation)
    policy = build_policy(cfg, suited) if own.input is None else own.input
    draw = build_draw(cfg, observation)
    image_channels = observation.picture_shape[0]
    if own.model is not None:
        return Prior(deepcopy(own.model), draw=draw, policy=policy, input_channels=cfg.model.input_channels or 32)
    switches: dict[str, Any] = {"dropout": cfg.dropout} | ({} if channels is None else {"channels": channels})
    if "residual" in cfg.model:
        switches["residual"] = cfg.residual
    elif cfg.residual:
        raise UserError(
            f"residual={cfg.residual}", "a network with residual blocks", "try model=resunet or model=resnet"
        )
    asked = channels_of_input(draw, policy, image_channels)
    switches |= {"output_channels": image_channels} | ({} if asked is None else {"input_channels": asked})
    if is_trusted(cfg.model.get("_target_")):
        return _build_own_network(cfg, draw, policy, switches)
    if cfg.model.get("_target_") is None:
        raise UserError("model=other alone", "its class", "try +model._target_=my_package.Net trust=my_package")
    return Prior(build(cfg.model, **switches), draw=draw, policy=policy)


def _build_own_network(cfg: DictConfig, draw: DrawsInput, policy: InputPolicy, switches: dict[str, Any]) -> Prior:
    """Build a network of a package that is trusted; what every fit says, it is told where it has a place for it."""
    settings = cfg.model.copy()
    OmegaConf.set_struct(settings, False)
    asked = switches.get("input_channels", settings.get("input_channels"))
    channels = check_integer("model.input_channels", 32 if asked is None else asked, 1, example=32)
    places = inspect.signature(find_target(settings._target_)).parameters
    takes_all = any(place.kind is place.VAR_KEYWORD for place in places.values())
    for name in ("input_channels", "dropout"):
        if not takes_all and name not in places:
            settings.pop(name, None)
    told = {name: value for name, value in switches.items() if takes_all or name in places}
    made = check_kind(f"model._target_={settings._target_}", build(settings, **told), nn.Module, "give a network")
    return Prior(made, draw=draw, policy=policy, input_channels=channels)


def _build_problem(cfg: DictConfig, observation: Observation, own: Own) -> Problem:
    if isinstance(own.problem, Problem):
        return deepcopy(own.problem)  # which the fit moves to its device and precision
    operator = build_operator(cfg, own)
    suited = defaults_for(operator, observation)
    terms = build_terms(cfg, suited) if own.regularizers is None else own.regularizers
    # float32 here; Lightning converts the module, images included, to what the precision asks for.
    noisy, clean = observation.noisy.float(), None if observation.clean is None else observation.clean.float()
    known, fixed = observation.known, observation.fixed
    if known is not None and fixed is not None:
        # A star is not fitted, but would count in whatever takes a mean: for the fit, it is as bright as the range.
        noisy, fixed = torch.where(known == 0, noisy.clamp(0, 1), noisy), fixed.float().clamp(0, 1)
        clean = None if clean is None else clean.clamp(0, 1)
    known = _all_of(known, observation.measured, operator.known(noisy) if isinstance(operator, Operator) else None)
    data_term = own.data_term
    if data_term is None:
        data_term = build_data_term(cfg.data_term, observation, operator, known, suited.data_term)
    return Problem(
        noisy,
        clean,
        operator=operator,
        data_term=data_term,
        known=known,
        fixed=fixed,
        regularizers=terms,
        sigma=observation.sigma_in_force,
        noise=observation.noise,
        shape=observation.picture_shape,
    )


def _all_of(*masks: torch.Tensor | None) -> torch.Tensor | None:
    """Return what is 1 where all masks are; those that are None are 1 everywhere."""
    given = [mask.float() for mask in masks if mask is not None]
    return reduce(torch.mul, given) if given else None


def build_operator(cfg: DictConfig, own: Own) -> Any:
    """Build the forward operator, or take the one that was given."""
    if isinstance(own.problem, Problem):
        return own.problem.operator
    if own.problem is not None:
        return as_operator(own.problem)
    settings = cfg.problem.copy()
    OmegaConf.set_struct(settings, False)
    settings.pop("noise", None)  # which is the observation's
    return build(settings)


def _build_program(
    cfg: DictConfig, network: nn.Module, pixels: int, iterations: int, device: torch.device
) -> Program | None:
    compilation = choose_compilation(cfg.compile, device, pixels, iterations)
    if compilation == "none":
        return None
    return Program(network.forward, compilation, required=cfg.compile != "auto")
