"""Objects from the configuration: each node is resolved once, checked, and built as it was checked."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from dip_lightning.config.lightning_arguments import settle_arguments
from dip_lightning.config.targets import find_target, is_trusted
from dip_lightning.errors import UserError

__all__ = ["build", "build_factory"]

Kind = TypeVar("Kind")

# What Hydra's own function would take for orders.
_ORDERS = ("_args_", "_convert_", "_mode_", "_partial_", "_recursive_")


def build(node: Any, folder: Path | None = None, /, **arguments: Any) -> Any:
    """Build the object that a node's ``_target_`` names, and those in it.

    Args:
        node: The configuration of the object.
        folder: The run folder, which Lightning's loggers, callbacks and profilers write to; None for none.
        **arguments: Further arguments, which win over those of the node, and are taken as they are.

    Returns:
        The object.

    Raises:
        UserError: The object refused a value, does not know one or lacks one; or the node would build what it must not.
    """
    target, settings = _take_apart(node, arguments)
    return _call(target, (), {**_build_all(settings, folder), **arguments}, folder)


def build_factory(node: Any, kind: type[Kind], /, **arguments: Any) -> Callable[..., Kind]:
    """Make what builds an object once its first argument is there: an optimiser from a network's parameters.

    Everything is checked now but what depends on that argument.

    Args:
        node: The configuration of the object.
        kind: What it must be.
        **arguments: Further arguments, which win over those of the node, and are taken as they are.

    Returns:
        A function of the arguments that come before those of the node.

    Raises:
        UserError: As :func:`build` does; the function raises it, too.
    """
    target, settings = _take_apart(node, arguments)
    settings = {**_build_all(settings, None), **arguments}
    found = find_target(target)
    refused = UserError(f"_target_={target}", f"a kind of {kind.__name__}", "see dip --help")
    if inspect.isclass(found) and not issubclass(found, kind):
        raise refused
    _check_arguments(found, target, settings, partial=True)

    def make(*first: Any) -> Kind:
        made = _call(target, first, settings, None)
        if not isinstance(made, kind):
            raise refused
        return made

    return make


def _take_apart(node: Any, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Resolve a node into plain containers, but for what the arguments replace, and check every target in it."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        expected = "an object with its _target_, under a name of its own"
        raise UserError(f"{node} in the configuration", expected, "such as +logger.mine._target_=; see dip --help")
    plain: dict[str, Any] = {}
    for key in map(str, node):
        if key not in arguments:
            value = node[key]
            resolved = OmegaConf.is_config(value)
            plain[key] = OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if resolved else value
    _check(plain)
    return plain.pop("_target_"), plain


def _check(plain: Any) -> None:
    """Look at everything that would be built before anything is."""
    if isinstance(plain, dict):
        if "_target_" in plain:
            find_target(plain["_target_"])
        for order in (key for key in plain if key in _ORDERS):
            raise UserError(f"{order}={plain[order]}", "a class and its arguments alone", "leave it out")
    values = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
    for value in values:
        _check(value)


def _build_all(plain: Any, folder: Path | None) -> Any:
    """Build every object in plain containers, the inner ones first."""
    if isinstance(plain, list):
        return [_build_all(value, folder) for value in plain]
    if not isinstance(plain, dict):
        return plain
    built = {key: _build_all(value, folder) for key, value in plain.items()}
    return _call(built.pop("_target_"), (), built, folder) if "_target_" in plain else built


def _call(target: str, first: tuple[Any, ...], arguments: dict[str, Any], folder: Path | None) -> Any:
    made = find_target(target)
    settled = settle_arguments(made, arguments, folder, trusted=is_trusted(target))
    _check_arguments(made, target, settled, first)
    try:
        return made(*first, **settled)
    except (UserError, OSError):
        raise
    except Exception as error:
        if is_trusted(target):  # the user's own: where it failed is what is wanted
            raise
        text = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, RuntimeError) and "allocate" in str(error):
            raise UserError(target, "what fits into memory", "try smaller values") from error
        raise UserError(f"{target}: {text[0]}", "values that it takes", "see dip --help") from error


def _check_arguments(
    made: Callable[..., Any], target: str, arguments: dict[str, Any], first: tuple[Any, ...] = (), partial: bool = False
) -> None:
    try:
        signature = inspect.signature(made)
    except ValueError:  # of one that is not written in Python
        return
    try:
        (signature.bind_partial if partial else signature.bind)(*first, **arguments)
    except TypeError as error:
        raise UserError(f"{target}: {error}", "the settings that it has", "see dip --help") from None
