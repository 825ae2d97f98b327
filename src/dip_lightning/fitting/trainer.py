"""Lightning's Trainer for one fit: what of it can be configured, and why the rest cannot."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from dip_lightning.callbacks import Interrupt
from dip_lightning.checks import check_choice, check_flag, check_integer
from dip_lightning.config.build import build
from dip_lightning.errors import UserError
from dip_lightning.fitting.one_process import OneProcess, leave_signals_alone
from dip_lightning.fitting.own import Own
from dip_lightning.names import is_text, printable
from dip_lightning.precision import Precision

__all__ = ["build_trainer"]

log = logging.getLogger(__name__)

_CONFIGURED = frozenset(
    {
        *("accelerator", "benchmark", "deterministic", "fast_dev_run", "gradient_clip_algorithm", "gradient_clip_val"),
        *("limit_train_batches", "log_every_n_steps", "max_time", "profiler"),
    }
)
# Why a key of Lightning's Trainer cannot be configured.
_ONE_STEP, _ONLY_TRAINS = "one iteration to be one step of one epoch", "a fit, which only trains"
_REFUSED = {
    **dict.fromkeys(("devices", "num_nodes", "strategy", "sync_batchnorm", "use_distributed_sampler"), "one device"),
    **dict.fromkeys(("max_epochs", "min_epochs", "max_steps", "min_steps"), f"{_ONE_STEP}, as many as iterations="),
    **dict.fromkeys(("accumulate_grad_batches", "overfit_batches", "reload_dataloaders_every_n_epochs"), _ONE_STEP),
    **dict.fromkeys(("check_val_every_n_epoch", "num_sanity_val_steps", "val_check_interval"), _ONLY_TRAINS),
    **dict.fromkeys(("limit_val_batches", "limit_test_batches", "limit_predict_batches"), _ONLY_TRAINS),
    **dict.fromkeys(("callbacks", "logger", "precision"), "a group of its own at the top of the configuration"),
}


def build_trainer(
    cfg: DictConfig, run_folder: Path | None, precision: Precision, first: int, own: Own | None = None
) -> pl.Trainer:
    """Build the Trainer, its callbacks, loggers and profiler.

    Args:
        cfg: The composed configuration.
        run_folder: Where they write; None for no logger.
        precision: What the fit computes in.
        first: The iteration to begin with.
        own: Callbacks, loggers and stopping rules to take besides or instead.

    Raises:
        UserError: A setting or the machine does not allow what was asked.
    """
    settings = _trainer_settings(cfg.trainer, run_folder)
    # An empty node is the choice of nothing: stopping=none.
    own = Own() if own is None else own
    rules = {} if own.stopping is None else {"rules": own.stopping, "agree": 1}
    callbacks = [
        _callback(name, node, run_folder, **(rules if name == "detection" else {}))
        for name, node in cfg.callbacks.items()
        if node
    ]
    callbacks += own.callbacks
    named = [] if run_folder is None or own.logger is not None else _loggers(cfg.logger, run_folder)
    loggers = [*(own.logger or ()), *(build(node, run_folder, **_purge(node, first)) for node in named)]
    # Lightning's own look at the metrics when a validation ends; nobody else needs one.
    looks = any(isinstance(callback, (EarlyStopping, ModelCheckpoint)) for callback in callbacks)
    try:
        trainer = pl.Trainer(
            **settings,
            precision=precision.lightning,  # type: ignore[arg-type]
            devices=1,
            plugins=OneProcess(),
            max_epochs=1,
            callbacks=[*callbacks, Interrupt()],
            logger=loggers or False,
            enable_checkpointing=any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=1 if looks else 0,
            val_check_interval=settings["log_every_n_steps"] if looks else None,
            check_val_every_n_epoch=None if looks else 1,  # None: a fit may be shorter than the interval
            enable_progress_bar=any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks),
            # Where Lightning puts what it needs for a moment.
            default_root_dir=run_folder or tempfile.gettempdir(),
        )
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"trainer: {text}", "a machine and settings that can do so", "try trainer=cpu") from None
    leave_signals_alone(trainer)
    return trainer


def _trainer_settings(node: DictConfig, run_folder: Path | None) -> dict[str, Any]:
    """Check what the configuration says of the Trainer; what it leaves to Lightning is left out."""
    settings: dict[str, Any] = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    settings.pop("_target_", None)  # which runs of older versions have
    for key in sorted(set(settings) - _CONFIGURED):
        raise UserError(f"trainer.{key}", _REFUSED.get(key, "a key that dip --help lists"), "leave it out")
    check_integer("trainer.log_every_n_steps", node.log_every_n_steps, 1, example=50)
    check_choice("trainer.accelerator", node.accelerator, ("auto", "cpu", "gpu"))
    deterministic = check_flag("trainer.deterministic", node.deterministic)
    # The fastest way to convolve may be another one in the next run.
    settings["benchmark"] = check_flag("trainer.benchmark", node.benchmark) and not deterministic
    if settings.get("gradient_clip_algorithm") is not None:
        check_choice("trainer.gradient_clip_algorithm", node.gradient_clip_algorithm, ("norm", "value"))
    if isinstance(settings.get("max_time"), (bool, int, float)):
        told = f"trainer.max_time={node.max_time}"
        raise UserError(told, "days, hours, minutes and seconds", "try trainer.max_time=00:01:00:00 for an hour")
    if settings.get("profiler") is not None:
        settings["profiler"] = build(node.profiler, run_folder)
    return {key: value for key, value in settings.items() if value is not None}


def _loggers(node: DictConfig, run_folder: Path) -> list[DictConfig]:
    """The loggers that can write there; TensorBoard's paths are text."""
    chosen = [logger for logger in node.values() if logger is not None]
    able = [logger for logger in chosen if is_text(str(run_folder.absolute())) or not _is_tensorboard(logger)]
    if len(able) < len(chosen):
        log.warning("no TensorBoard: the name of %s is not UTF-8", printable(str(run_folder)))
    return able


def _is_tensorboard(node: DictConfig) -> bool:
    return str(node._target_).endswith(".TensorBoardLogger")


def _purge(node: DictConfig, first: int) -> dict[str, int]:
    """What makes TensorBoard forget the events from an iteration on, which a fit that goes on there writes again."""
    return {"purge_step": first} if first > 0 and _is_tensorboard(node) else {}


def _callback(name: Any, node: Any, run_folder: Path | None, **arguments: Any) -> pl.Callback:
    callback = build(node, run_folder, **arguments)
    if not isinstance(callback, pl.Callback):
        raise UserError(f"callbacks.{name} of type {type(callback).__name__}", "a callback", "leave it out")
    return callback
