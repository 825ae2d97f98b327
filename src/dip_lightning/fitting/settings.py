"""What is asked of one configuration after everything is built from it, as plain values of known types."""

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dip_lightning.checks import check_number
from dip_lightning.config.build import build
from dip_lightning.errors import UserError
from dip_lightning.runs.status import fingerprint

__all__ = ["FitSettings", "read_settings"]


@dataclass(frozen=True)
class FitSettings:
    """The settings of one fit.

    Attributes:
        model: The network's name, ``"resunet"``.
        structure: The network's options, as ``conf/model/`` has them, without ``_target_``.
        residual: Whether its blocks have shortcuts.
        dropout: Dropout probability between its blocks, in [0, 1).
        precision: The name of the precision that was asked for; the guard may have raised the one in force.
        seed: Of all that is drawn.
        lr: Adam's learning rate to begin with.
        alpha: Weight of the past in the averaged output, in [0, 1), or ``"growing"``.
        select: Which output is handed back, ``"averaged"`` or ``"one_pass"``.
        nonlocal_means: Their share in what is handed back, in [0, 1]; None for one that is estimated where neighbours
            share noise, True for one that is estimated anywhere.
        save_checkpoint: Whether a finished fit keeps its last checkpoint.
        fingerprint: What two configurations share that describe the same fit.
        resolved: The configuration itself in dictionaries and lists, for checkpoints.
    """

    model: str
    structure: dict[str, Any]
    residual: bool
    dropout: float
    precision: str
    seed: int
    lr: float
    alpha: float | str
    select: str
    nonlocal_means: bool | float | None
    save_checkpoint: bool
    fingerprint: str
    resolved: dict[str, Any]


def read_settings(cfg: DictConfig, asked: DictConfig | None = None) -> FitSettings:
    """Read the settings of a fit.

    Args:
        cfg: The composed configuration, from which the fit could be built: that has checked its values.
        asked: The same as it was asked for, before what depends on the machine was chosen: what a run is known by.
    """
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    structure = dict(resolved["model"])
    return FitSettings(
        model=structure.pop("_target_").rsplit(".", 1)[-1].lower(),
        structure=structure,
        residual=bool(cfg.residual),
        dropout=float(cfg.dropout),
        precision=build(cfg.precision).name,
        seed=cfg.seed,
        lr=cfg.lr,
        alpha=cfg.alpha,
        select=cfg.select,
        nonlocal_means=_nonlocal_means(cfg.nonlocal_means),
        save_checkpoint=cfg.save_checkpoint,
        fingerprint=fingerprint(cfg if asked is None else asked),
        resolved={str(key): value for key, value in resolved.items()},
    )


def _nonlocal_means(value: object) -> bool | float | None:
    """Read the setting ``nonlocal_means``.

    Returns:
        None for ``auto``, True for a share that is estimated whatever the noise, else the share itself, in [0, 1].

    Raises:
        UserError: It is none of these.
    """
    if value == "auto":
        return None
    if isinstance(value, bool):
        return True if value else 0.0
    if isinstance(value, str):
        raise UserError(f"nonlocal_means={value}", "auto, true, false or a share in [0, 1]", "try nonlocal_means=auto")
    return check_number("nonlocal_means", value, 0, 1, example=0.5)
