"""Which classes a configuration may build. A configuration can come from someone else, and must not run code."""

import inspect
import pydoc
from collections.abc import Callable
from importlib import import_module
from typing import Any

from dip_lightning.config.trust import trusted_packages
from dip_lightning.errors import UserError

__all__ = ["find_target", "is_trusted"]

# Classes that may be built: where they must lie, and what they must be a kind of. All of them are defined there.
_ROOMS = (
    ("dip_lightning", None),
    ("torch.optim.lr_scheduler", "LRScheduler"),
    ("torch.optim", "Optimizer"),
    # One class alone of a package that has many: what is built of it is known.
    ("pytorch_optimizer.optimizer.soap", "SOAP"),
    ("pytorch_lightning.callbacks", "Callback"),
    ("pytorch_lightning.loggers", "Logger"),
    ("pytorch_lightning.profilers", "Profiler"),
)


# Classes that are usually named by a shorter name, and where they are defined.
_REEXPORTED = {"pytorch_optimizer.SOAP": "pytorch_optimizer.optimizer.soap.SOAP"}


def find_target(target: Any) -> Callable[..., Any]:
    """Find what a ``_target_`` names, where it may be built.

    Args:
        target: The full name of a class; of a trusted package also of a function.

    Raises:
        UserError: It is neither a public class of this package, a logger, callback or profiler of Lightning's own or
            an optimiser or scheduler of torch, nor of a package that is trusted; or there is none.
    """
    if is_trusted(target):
        found: Callable[..., Any] = _locate(target)
        # Not what the package has imported from elsewhere, which lies in it only by name.
        if callable(found) and is_trusted(getattr(found, "__module__", None)):
            return found
    elif isinstance(target, str) and all(part and not part.startswith("_") for part in target.split(".")):
        for room, base in _ROOMS:
            kind = _locate(target) if _lies_in(_REEXPORTED.get(target, target), room) else None
            if not inspect.isclass(kind) or not _lies_in(kind.__module__, room):
                continue
            if base is None or issubclass(kind, getattr(import_module(room), base)):
                return kind
    raise UserError(
        f"_target_={target!r}",
        "a class of dip_lightning, a logger, callback or profiler of Lightning, or an optimiser or scheduler of torch",
        "leave it out; for a package of your own, and only then, add trust=PACKAGE to the command",
    )


def is_trusted(target: Any) -> bool:
    """Whether a name is of a package that the user trusts."""
    return any(_lies_in(target, package) for package in trusted_packages())


def _lies_in(name: Any, package: str) -> bool:
    return isinstance(name, str) and f"{name}.".startswith(f"{package}.")


def _locate(target: str) -> Any:
    try:
        found = pydoc.locate(target)  # Hydra's own function logs what it does not find
    except pydoc.ErrorDuringImport as error:
        raise UserError(f"_target_={target!r} ({error.value})", "a module that can be imported", "mend it") from None
    if found is None:
        raise UserError(f"_target_={target!r}", "a class that exists", "leave it out")
    return found
