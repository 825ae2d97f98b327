"""Everything that a fit changes while it runs, as plain values: taken between two iterations, and put back.

A fit may go on in another precision than it was captured in: numbers are then converted, and nothing else changes.

Lightning's own way, ``fit(ckpt_path=...)``, cannot carry it: it reads before the callbacks prepare the problem,
counts the batches of a loader that begins at 0, and knows neither the curves, the last outputs nor the random
states. The names that both have are Lightning's, so that ``load_from_checkpoint`` reads the file.
"""

from collections.abc import Callable
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from dip_lightning.module import DeepImagePrior, Iterate
from dip_lightning.runs.checkpoint_file import FitState
from dip_lightning.system.randomness import put_back_all_else

__all__ = ["capture", "put_back"]


def capture(trainer: pl.Trainer, module: DeepImagePrior) -> FitState:
    """Collect the state of a fit after an iteration. Nothing is copied: write it before the next iteration.

    The names are those of Lightning's checkpoints, where both have the same.

    Args:
        trainer: What runs the fit; its callbacks hand their state over by Lightning's hooks.
        module: The fit.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    state: FitState = {
        "global_step": module.iterate.iteration + 1,
        "state_dict": module.state_dict(),
        "optimizer_states": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "lr_schedulers": [plan.scheduler.state_dict() for plan in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        "callbacks": {callback.state_key: callback.state_dict() for callback in callbacks},
        "iterate": dict(vars(module.iterate)),
        "curves": module.curves.state_dict(),
        "random": {"cpu": torch.get_rng_state(), "streams": module.prior.random.state_dict()},
    }
    if module.device.type == "cuda":
        state["random"]["cuda"] = torch.cuda.get_rng_state(module.device)
    for callback in callbacks:
        callback.on_save_checkpoint(trainer, module, cast(dict[str, Any], state))
    return state


def put_back(state: FitState, trainer: pl.Trainer, module: DeepImagePrior) -> None:
    """Go on from what :func:`capture` returned, before the first iteration.

    Args:
        state: What was captured.
        trainer: What runs the fit; its callbacks must be those of then.
        module: The fit, on its device.
    """
    random = state["random"]
    state = cast(FitState, _moved({key: value for key, value in state.items() if key != "random"}, _to(module)))
    module.load_state_dict(state["state_dict"])
    for optimizer, optimizer_state in zip(trainer.optimizers, state["optimizer_states"], strict=True):
        optimizer.load_state_dict(optimizer_state)
    for plan, scheduler_state in zip(trainer.lr_scheduler_configs, state["lr_schedulers"], strict=True):
        plan.scheduler.load_state_dict(scheduler_state)
    if state["precision"] and trainer.precision_plugin.state_dict():  # fp16's scale of the loss
        trainer.precision_plugin.load_state_dict(state["precision"])
    module.iterate = Iterate(**state["iterate"])
    module.curves.load_state_dict(state["curves"])
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if state["callbacks"].get(callback.state_key):
            callback.load_state_dict(state["callbacks"][callback.state_key])
        callback.on_load_checkpoint(trainer, module, cast(dict[str, Any], state))
    # Last: nothing may draw a number between this and the next iteration.
    module.prior.random.load_state_dict(random["streams"])
    put_back_all_else(random["cpu"], random.get("cuda"), module.device)


def _to(module: DeepImagePrior) -> Callable[[Tensor], Tensor]:
    """What brings a tensor to the device of a fit, and from float32 to float64 or back if that is what it is in."""
    device, dtype = module.device, module.problem.observation.dtype

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.dtype in (torch.float32, torch.float64) else tensor.dtype)

    return move


def _moved(value: Any, move: Callable[[Tensor], Tensor]) -> Any:
    """Move every tensor of nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return move(value)
    if isinstance(value, dict):
        return {key: _moved(item, move) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, move) for item in value)
    return value
