"""The configuration: where it lies, how it is composed outside the command line."""

import hashlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

__all__ = ["compose_config", "config_folder", "register_resolvers"]


# Hydra composes with a state of the process, which two threads would share.
_composing = threading.RLock()


def config_folder() -> Path:
    """The Hydra tree: beside ``src/`` in a checkout, inside the package in a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def register_resolvers() -> None:
    """Make the project's resolvers known.

    ``${if_gpu:accelerator,with,without}`` is how a preset chooses its size by the machine, and
    ``${run_folder:image,overrides,now}`` is where a run is written: a folder of pictures to a place that the same
    command finds again, so that it can go on; anything else to a new one. ``${sweep_folder:}`` is such a place for a
    sweep.
    """

    def if_gpu(accelerator: str, with_gpu: Any, without: Any) -> Any:
        import torch  # here: composing and printing a configuration must not load it

        return with_gpu if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else without

    def run_folder(image: Any, overrides: Sequence[str], now: str) -> str:
        if not isinstance(image, str) or not image or not Path(image).is_dir():
            return now
        name = re.sub(r"[^\w.-]", "_", Path(image).resolve().name)
        # However the folder is spelled, and in whatever order the overrides come, it is the same command.
        others = sorted(override for override in overrides if not override.startswith("image.path="))
        settings = "\0".join([str(Path(image).resolve()), *others])
        return f"folders/{name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"

    def sweep_folder(overrides: Sequence[str]) -> str:
        chosen = {key: value for key, _, value in (override.partition("=") for override in overrides)}
        names = [chosen[key] for key in ("experiment", "size") if key in chosen] or ["sweep"]
        # The order counts, since jobs are numbered by it.
        digest = hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:8]
        return re.sub(r"[^\w.-]", "_", "-".join([*names, digest]))

    OmegaConf.register_new_resolver("if_gpu", if_gpu, replace=True)
    # Cached, since the overrides of a job are not those of its sweep; Hydra hands the sweep's cache to its jobs.
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)


def compose_config(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a configuration as the command line does.

    Args:
        overrides: As on the command line: ``["model=unet", "iterations=500"]``.

    Returns:
        The configuration.

    Raises:
        hydra.errors.HydraException: An override is wrong.
    """
    with _composing:
        register_resolvers()
        # Inside a Hydra application there is one already; it is put back when the block ends.
        before = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(config_folder()), version_base="1.3", job_name="dip"):
                return compose("config", overrides=list(overrides))
        finally:
            GlobalHydra.instance().hydra = before
