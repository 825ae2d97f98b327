"""Which classes a configuration may build. A configuration can come from someone else, and must not run code."""

import inspect
import pydoc
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from dip_lightning.errors import UserError

__all__ = ["check_targets"]

_PACKAGE = "dip_lightning"
# What a configuration may build besides the classes of this package. None of them takes code or opens a file to read.
_OTHERS = frozenset(
    {
        "pytorch_lightning.Trainer",
        "pytorch_lightning.callbacks.DeviceStatsMonitor",
        "pytorch_lightning.callbacks.LearningRateMonitor",
        "pytorch_lightning.callbacks.Timer",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.loggers.TensorBoardLogger",
    }
)


def check_targets(node: Any) -> None:
    """Check every ``_target_`` in a configuration, interpolations resolved, before anything is built.

    Args:
        node: A configuration, or a part of it.

    Raises:
        UserError: A target is neither a public class of this package nor one of a few of Lightning's, or there is none.
    """
    container = OmegaConf.to_container(node, resolve=True) if isinstance(node, (DictConfig, ListConfig)) else node
    for target in _targets(container):
        if not _is_allowed(target):
            raise UserError(
                f"_target_={target!r}",
                "a class of dip_lightning, or Lightning's Trainer, TensorBoardLogger or CSVLogger",
                "leave it out; use classes of your own from Python",
            )


def _targets(container: Any) -> Iterator[Any]:
    if isinstance(container, dict):
        if "_target_" in container:
            yield container["_target_"]
        for value in container.values():
            yield from _targets(value)
    elif isinstance(container, list):
        for value in container:
            yield from _targets(value)


def _is_allowed(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    if target in _OTHERS:
        return True
    if not target.startswith(f"{_PACKAGE}."):
        return False
    found = pydoc.locate(target)  # Hydra's own function logs what it does not find
    if found is None:
        raise UserError(f"_target_={target!r}", "a class that exists", "leave it out")
    # Not what a module of ours has imported: dip_lightning.cli.main.os.system lies in our package only by name.
    return inspect.isclass(found) and found.__module__.split(".")[0] == _PACKAGE
