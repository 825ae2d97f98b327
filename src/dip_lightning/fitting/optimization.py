"""What takes the steps of a fit, and how long they are: from the configuration, tried before the fit."""

import importlib.util
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from dip_lightning.checks import check_number
from dip_lightning.config.build import build_factory
from dip_lightning.config.targets import is_trusted
from dip_lightning.errors import UserError
from dip_lightning.module import OptimizerFactory, SchedulerFactory
from dip_lightning.precision import Precision

__all__ = ["optimizer_factory", "scheduler_factory"]


def optimizer_factory(
    cfg: DictConfig, precision: Precision, device: torch.device, betas: tuple[float, float]
) -> OptimizerFactory:
    """Choose what makes the optimiser, and try it.

    Args:
        cfg: The composed configuration.
        precision: What the fit computes in.
        device: Where it runs.
        betas: Adam's weights of the past, where ``optimizer.betas`` is null.

    Raises:
        UserError: A setting does not allow it.
    """
    check_number("lr", cfg.lr, 0, low_open=True, example=0.01)
    if "lr" in cfg.optimizer:
        check_number("optimizer.lr", cfg.optimizer.lr, 0, low_open=True, example=0.01)
    # A gradient scaler (fp16) hands its scale to a fused step, which Lightning then cannot look into; nor does it clip
    # the gradients of one in a mixed precision.
    if cfg.optimizer.get("_target_") is None:
        raise UserError("optimizer=other alone", "its class", "try +optimizer._target_=torch.optim.RAdam")
    _check_installed(str(cfg.optimizer.get("_target_")))
    kind = str(cfg.optimizer.get("_target_")).removeprefix("torch.optim.")
    if kind == "LBFGS" and precision.lightning == "16-mixed":
        raise UserError("optimizer=lbfgs with precision=fp16", "another of the two", "try precision=bf16")
    fusible = kind in ("Adam", "AdamW")
    clipped_mixed = precision.lightning == "bf16-mixed" and cfg.trainer.get("gradient_clip_val") is not None
    fused = fusible and precision.lightning != "16-mixed" and not clipped_mixed and device.type in ("cpu", "cuda")
    options: dict[str, Any] = {"fused": True} if fused and not {"fused", "foreach"} & {*cfg.optimizer} else {}
    if cfg.optimizer.get("betas", ()) is None:
        options["betas"] = betas
    make = build_factory(cfg.optimizer, torch.optim.Optimizer, **options)
    _try_steps(make, None, str(cfg.optimizer.get("_target_")))
    return make


def _check_installed(target: str) -> None:
    """Refuse an optimiser whose package is an extra that is not there."""
    if target.startswith("pytorch_optimizer.") and importlib.util.find_spec("pytorch_optimizer") is None:
        problem = f"{target.rpartition('.')[2]} without the package pytorch-optimizer"
        raise UserError(problem, "the extra that brings it", "pip install 'dip-lightning[soap]'")


def scheduler_factory(cfg: DictConfig, iterations: int) -> SchedulerFactory | None:
    """Choose what makes the scheduler of the learning rate, and try it; None for none.

    Args:
        cfg: The composed configuration.
        iterations: How many the fit may have.

    Raises:
        UserError: A setting does not allow it.
    """
    if not cfg.scheduler:
        return None
    whole = {"T_max": iterations} if cfg.scheduler.get("T_max", 0) is None else {}
    make = build_factory(cfg.scheduler, torch.optim.lr_scheduler.LRScheduler, **whole)
    _try_steps(partial(torch.optim.SGD, lr=0.1, momentum=0.9), make, str(cfg.scheduler.get("_target_")))
    return make


def _try_steps(optimizer: OptimizerFactory, scheduler: SchedulerFactory | None, target: str) -> None:
    """Take two steps of a parameter that nobody needs: torch looks at some settings only then.

    Raises:
        UserError: They do not work.
    """
    if is_trusted(target):  # the user's own: where it fails is what is wanted
        return
    # A matrix, since some optimisers take no vector.
    parameter = nn.Parameter(torch.ones(2, 2))

    def loss() -> torch.Tensor:
        made.zero_grad()
        squared = parameter.square().sum()
        squared.backward()  # type: ignore[no-untyped-call]
        return squared

    made = optimizer([parameter])
    try:
        planned = None if scheduler is None else scheduler(made)
        for _ in range(2):
            made.step(loss)  # type: ignore[arg-type]
            if planned is not None:
                _step(planned)
    except UserError:
        raise
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{target}: {text}", "settings that it can step with", "see dip --help") from error


def _step(scheduler: torch.optim.lr_scheduler.LRScheduler) -> None:
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(1.0)
    else:
        scheduler.step()
