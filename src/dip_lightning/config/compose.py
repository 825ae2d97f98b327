"""The configuration: where it lies, how it is composed outside the command line."""

import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from dip_lightning.config.paths import expand_home, is_folder, settle_override, settle_paths
from dip_lightning.system.batch import batch_job, is_requeued
from dip_lightning.system.shared_state import shared

__all__ = ["borrowed_resolvers", "compose_config", "config_folder", "register_resolvers"]


def config_folder() -> Path:
    """The Hydra tree: beside ``src/`` in a checkout, inside the package in a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


# Hydra's state is the process's: one thread at a time.
_COMPOSING = threading.RLock()
_RESOLVERS, _OF_HYDRA = ("if_gpu", "run_folder", "sweep_folder"), ("now", "hydra", "python_version")


def register_resolvers() -> None:
    """Make the project's resolvers known.

    ``${if_gpu:accelerator,with,without}`` is how a preset chooses its size by the machine, and
    ``${run_folder:image,overrides,now}`` is where a run is written: a folder of pictures to a place that the same
    command finds again, so that it can go on; anything else to a new one, but the same again where a batch system has
    sent the job back to its queue. ``${sweep_folder:}`` is such a place for a
    sweep.
    """

    def if_gpu(accelerator: str, with_gpu: Any, without: Any) -> Any:
        # Here: composing and printing a configuration must not load torch.
        from dip_lightning.system.environment import device_for

        return with_gpu if device_for(accelerator).type == "cuda" else without

    def run_folder(image: Any, overrides: Sequence[str], now: str) -> str:
        image = expand_home(image) if isinstance(image, str) else None
        if image and is_folder(image):
            name = re.sub(r"[^\w.-]", "_", Path(image).resolve().name)
            # However the folder is spelled, and in whatever order the overrides come, it is the same command.
            others = sorted(override for override in overrides if not override.startswith("image.path="))
            return f"folders/{name}-{_digest([str(Path(image).resolve()), *others])}"
        if batch_job() is None:
            return now
        # A job that is sent back to the queue finds the folder of its first time by the same command.
        place = f"{batch_job()}-{_digest(sorted(overrides))}"
        earlier = sorted(Path("outputs").glob(f"*/*-job{place}")) if is_requeued() else []
        return str(earlier[-1].relative_to("outputs")) if earlier else f"{now}-job{place}"

    def sweep_folder(overrides: Sequence[str]) -> str:
        chosen = {key: value for key, _, value in (override.partition("=") for override in overrides)}
        names = [chosen[key] for key in ("experiment", "size") if key in chosen] or ["sweep"]
        # The order counts, since jobs are numbered by it.
        return re.sub(r"[^\w.-]", "_", "-".join([*names, _digest(overrides)]))

    OmegaConf.register_new_resolver("if_gpu", if_gpu, replace=True)
    # Cached, since the overrides of a job are not those of its sweep; Hydra hands the sweep's cache to its jobs.
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)


def _digest(words: Sequence[str]) -> str:
    # Names need not be UTF-8.
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def compose_config(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a configuration as the command line does.

    Args:
        overrides: As on the command line: ``["model=unet", "iterations=500"]``.

    Returns:
        The configuration.

    Raises:
        hydra.errors.HydraException: An override is wrong.
    """
    with _COMPOSING, _hydra_as_it_was():
        register_resolvers()
        with initialize_config_dir(str(config_folder()), version_base="1.3", job_name="dip"):
            cfg = compose("config", overrides=[settle_override(override) for override in overrides])
    settle_paths(cfg, Path.cwd())
    return cfg


@contextmanager
def _hydra_as_it_was() -> Iterator[None]:
    """Put back what Hydra keeps for the process: inside a Hydra application, that is the application's."""
    hydra = GlobalHydra.instance().hydra
    base, runtime = VersionBase.instance().version_base, deepcopy(JobRuntime.instance().conf)
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = hydra
        VersionBase.instance().version_base = base
        JobRuntime.instance().conf = runtime


@contextmanager
def _resolvers_as_they_were() -> Iterator[None]:
    # OmegaConf has no public way to put one back.
    before = {name: BaseContainer._resolvers.get(name) for name in (*_RESOLVERS, *_OF_HYDRA)}
    try:
        yield
    finally:
        for name, resolver in before.items():
            if resolver is None:
                BaseContainer._resolvers.pop(name, None)
            else:
                BaseContainer._resolvers[name] = resolver


# Leaves no resolver behind, for a process that is not ours: inside its ``with`` block those that composing makes known
# stay, since a configuration needs them until it is read. Several threads may be in it.
borrowed_resolvers = shared(_resolvers_as_they_were)
