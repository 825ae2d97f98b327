"""What a configuration may ask of Hydra itself. Its section ``hydra:`` can build objects, too, before a job begins."""

import functools
import re
from collections.abc import Iterator
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dip_lightning.errors import UserError

__all__ = ["check_hydra_section", "guard_hydra"]

# What logging may build: handlers and formatters that do no more than write.
_LOGGING = frozenset(
    {
        "logging.Formatter",
        "logging.NullHandler",
        "logging.StreamHandler",
        "logging.FileHandler",
        "logging.handlers.RotatingFileHandler",
        "colorlog.ColoredFormatter",
        "ext://sys.stdout",
        "ext://sys.stderr",
    }
)
# Hydra itself looks these two up among its installed plugins.
_PLUGINS = (("launcher", "_target_"), ("sweeper", "_target_"))
# The only file that logging may write: elsewhere, chosen lines in a chosen file would be as good as code.
_LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"
_ENVIRONMENT = re.compile(r"\w+_NUM_THREADS|CUDA_VISIBLE_DEVICES|CUBLAS_WORKSPACE_CONFIG|PYTORCH_(CUDA_)?ALLOC_CONF")


def guard_hydra() -> None:
    """Have Hydra check its own section of every configuration that it loads, before anything is built from it."""
    load = ConfigLoaderImpl.load_configuration
    if hasattr(load, "__wrapped__"):
        return

    @functools.wraps(load)
    def load_and_check(self: ConfigLoaderImpl, *arguments: Any, **options: Any) -> DictConfig:
        cfg = load(self, *arguments, **options)
        check_hydra_section(cfg)
        return cfg

    ConfigLoaderImpl.load_configuration = load_and_check  # type: ignore[method-assign]


def check_hydra_section(cfg: DictConfig) -> None:
    """Check the section ``hydra:``, interpolations resolved.

    Args:
        cfg: The whole configuration.

    Raises:
        UserError: It would run code: an object to be built other than an installed plugin of Hydra, a logging handler
            other than a few of Python's own, a log outside the run folder, or a variable of the environment that is
            not about threads or GPUs.
    """
    section = cfg.hydra
    for name in ("callbacks", "launcher", "sweeper"):
        for path, value in _walk(section, (name,)):
            if path[-1] == "_target_" and path not in _PLUGINS:
                raise _refuse(path, value)
    for name in ("job_logging", "hydra_logging"):
        for path, value in _walk(section, (name,)):
            builds = path[-1] in ("()", "class", "factory") or str(value).startswith(("ext://", "cfg://"))
            if (builds and value not in _LOGGING) or path[-1] == "filename":
                raise _refuse(path, value)
    name = OmegaConf.select(section, "job.name", default="")
    if not re.fullmatch(r"[\w. -]*", str(name)):
        raise _refuse(("job", "name"), name)
    for path, value in _walk(section, ("job", "env_set")):
        known = len(path) < 3 or _ENVIRONMENT.fullmatch(str(path[-1]))
        if not known or (len(path) > 2 and not re.fullmatch(r"[\w.:,-]*", str(value))):
            raise _refuse(path, value)


def _refuse(path: tuple[Any, ...], value: Any) -> UserError:
    key = ".".join(["hydra", *map(str, path)])
    return UserError(
        f"{key}={value}", "a configuration that runs no code", "leave it out; use objects of your own from Python"
    )


def _walk(section: DictConfig, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every node under a path of the section, the path itself included, with its own path and its value."""
    node: Any = section
    for key in path:
        node = _resolved(node, key, path)
        if node is None:
            return
    yield path, node
    keys = node.keys() if isinstance(node, DictConfig) else range(len(node)) if isinstance(node, ListConfig) else ()
    for key in keys:
        yield from _walk(section, (*path, key))


def _resolved(node: Any, key: Any, path: tuple[Any, ...]) -> Any:
    """A value, where it can be known already.

    Raises:
        UserError: It cannot, and is not the log in the run folder: it could become anything.
    """
    try:
        return None if OmegaConf.is_missing(node, key) else node[key]
    except OmegaConfBaseException:
        raw = OmegaConf.to_container(node)[key]  # type: ignore[index]
        if path[-1] == "filename" and raw == _LOG_FILE:  # in the run folder, which Hydra has not made yet
            return None
        raise _refuse(path, raw) from None
