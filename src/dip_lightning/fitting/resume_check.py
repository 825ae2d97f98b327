"""Whether a checkpoint is of the fit that is to go on: the same settings, of the same picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.settings import WITHOUT_INFLUENCE, flatten
from dip_lightning.data import SAMPLE_PREFIX, Observation
from dip_lightning.errors import UserError
from dip_lightning.fitting.build import Fit, Sources, build_data
from dip_lightning.fitting.defaults import SKIPS, suited_network
from dip_lightning.fitting.own import Own
from dip_lightning.names import counted
from dip_lightning.runs.checkpoint_file import CheckpointContent, FitDescription, find_checkpoint, read_checkpoint
from dip_lightning.system.environment import device_for

__all__ = ["check_same_fit", "describe_fit", "read_digest", "resumable"]

# How a picture is named that is no file.
_KINDS: Mapping[type, str] = {np.ndarray: "array", Observation: "tile"}

# What may differ between two parts of one fit: where pictures lie and how they are cut (their pixels are compared
# themselves), the device, the cap, and what only shows or keeps.
_TRAINER = ("_target_", "accelerator", "benchmark", "deterministic", "fast_dev_run", "limit_train_batches")
_FREE = (
    *(*WITHOUT_INFLUENCE, "iterations", "image.path", "image.clean", "tile", "overlap"),
    *(f"trainer.{key}" for key in (*_TRAINER, "log_every_n_steps", "max_time", "profiler")),
)

Source = str | Path | NDArray[np.generic] | Observation | None


def describe_fit(fit: Fit, own: dict[str, str], image: Source = None, clean: Source = None) -> FitDescription:
    """Compose what a checkpoint says of its fit, besides the state.

    Args:
        fit: The fit.
        own: The types of the objects of one's own, by what they stand for.
        image: What is fitted instead of ``cfg.image.path``.
        clean: What it is measured against instead of ``cfg.image.clean``.
    """
    observation = fit.data.observation
    return {
        "config": fit.settings.resolved,
        "sources": _sources(fit.settings.resolved, image, clean),
        "current_folder": str(Path.cwd()),
        "iterations": fit.data.iterations,
        "shape": list(observation.noisy.shape),
        "digest": observation.digest,
        "own": own,
    }


def check_same_fit(state: CheckpointContent, about: FitDescription, path: Path) -> None:
    """Check that a checkpoint is of the fit that is to go on, and not of its end.

    Args:
        state: The checkpoint.
        about: What :func:`describe_fit` says of the fit.
        path: The file, for the message.

    Raises:
        UserError: It is of another model, another picture or another setting; the message says what differs.
    """
    # In another precision it is the same fit: numbers are converted.
    then, now = (flatten(config, (*_FREE, "precision")) for config in (state["config"], about["config"]))
    # The model first: most other settings follow from it.
    differing = sorted((key for key in {*then, *now} if then.get(key) != now.get(key)), key=_model_first)
    if differing:
        there, here = (_told(differing[0], settings) for settings in (then, now))
        raise UserError(f"{path} is of a fit with {there}", here, "begin the fit anew")
    if state["own"] != about["own"]:
        told = ", ".join(f"{name} {kind}" for name, kind in state["own"].items()) or "none"
        raise UserError(f"{path} is of a fit with objects of its own: {told}", "the same", "go on from Python")
    if state["shape"] != about["shape"]:
        raise UserError(f"{path} is of a picture of {_size(state)}", _size(about), "begin the fit anew")
    if state["digest"] != about["digest"]:
        raise UserError(f"{path} is of another picture", "the same pixels and noise", "begin the fit anew")
    done = state["global_step"]
    if done >= about["iterations"]:
        raise UserError(f"{path} is after all {done} iterations", "some to be left", f"try iterations={2 * done}")


def resumable(
    run_folder: Path,
    cfg: DictConfig,
    *,
    image: Source = None,
    clean: str | Path | NDArray[np.generic] | None = None,
) -> Path | None:
    """Tell whether a run folder holds the beginning of a fit, with the same settings and of the same picture.

    Args:
        run_folder: Where the run would be written.
        cfg: The composed configuration.
        image: What is fitted instead of ``cfg.image.path``.
        clean: What it is measured against instead of ``cfg.image.clean``.

    Returns:
        The checkpoint to hand to ``fit(..., resume=)``; None where the fit must begin anew.
    """
    checkpoint = find_checkpoint(run_folder)
    if checkpoint is None:
        return None
    try:
        state = read_checkpoint(checkpoint, tell=False)
        # How wide the skips are the problem decides, which is read only with its picture.
        skips = state["config"]["model"].get("skip_channels")
        skips = skips if skips in SKIPS else SKIPS[0]
        suited = suited_network(cfg, device_for(cfg.trainer.accelerator), skips)
        settings: dict[str, Any] = OmegaConf.to_container(suited, resolve=True)  # type: ignore[assignment]
        same = flatten(state["config"], _FREE) == flatten(settings, _FREE)
    except (UserError, KeyError):
        return None
    left = state["global_step"] < (cfg.iterations or state["iterations"])
    if isinstance(image, Observation):
        return checkpoint if same and left and state["digest"] == image.digest else None
    before = {name: _absolute(source, state["current_folder"]) for name, source in state["sources"].items()}
    sources = {name: _absolute(source, Path.cwd()) for name, source in _sources(settings, image, clean).items()}
    if not (same and left and before == sources):
        return None
    return checkpoint if read_digest(cfg, image=image, clean=clean) in (state["digest"], None) else None


def read_digest(
    cfg: DictConfig,
    *,
    image: str | Path | NDArray[np.generic] | None = None,
    clean: str | Path | NDArray[np.generic] | None = None,
) -> str | None:
    """Read what would be fitted, and return the digest of its pixels.

    Args:
        cfg: The composed configuration.
        image: What is fitted instead of ``cfg.image.path``.
        clean: What it is measured against instead of ``cfg.image.clean``.

    Returns:
        The digest; empty where a picture cannot be read, None where its file is gone.
    """
    given: Sources = {name: source for name, source in (("path", image), ("clean", clean)) if source is not None}
    named = {"path": cfg.image.path, "clean": cfg.image.clean} | given
    files = [Path(str(source)) for source in named.values() if isinstance(source, (str, Path))]
    if any(not str(file).startswith(SAMPLE_PREFIX) and not file.exists() for file in files):
        return None
    try:
        return build_data(cfg, given, Own()).observation.digest
    except UserError:
        return ""


def _model_first(key: str) -> tuple[bool, str]:
    return not key.startswith("model."), key


def _told(key: str, settings: Mapping[str, Any]) -> str:
    """Write a setting as the user would: ``model=unet``, ``lr=0.01``."""
    value = settings.get(key)
    if key.endswith("._target_"):
        return f"{key.removesuffix('._target_')}={str(value).rsplit('.', 1)[-1].lower()}"
    return f"{key}={value}"


def _size(about: FitDescription) -> str:
    _, channels, height, width = about["shape"]
    return f"{height}x{width} pixels and {counted(channels, 'channel')}"


def _sources(config: Mapping[str, Any], image: Source, clean: Source) -> dict[str, str | None]:
    """Where the pictures come from, as they were named; ``"array"`` for samples, ``"tile"`` for an observation."""
    named = config["image"]
    given = {"path": named["path"] if image is None else image, "clean": named["clean"] if clean is None else clean}
    return {name: None if source is None else _KINDS.get(type(source)) or str(source) for name, source in given.items()}


def _absolute(source: str | None, folder: str | Path) -> str | None:
    return source if source is None or source.startswith(SAMPLE_PREFIX) else str((Path(folder) / source).resolve())
