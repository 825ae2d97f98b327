"""The settings of a fit by their full names, and those that have no influence on its result."""

from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["WITHOUT_INFLUENCE", "flatten"]

# What only shows or keeps a result, and what other settings have taken their values from.
WITHOUT_INFLUENCE = (
    *("logger", "save_checkpoint", "size"),
    *(f"callbacks.{name}" for name in ("checkpoint", "curve_logger", "fit_progress", "pictures")),
)


def flatten(configuration: Mapping[Any, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Write nested settings by their full names: ``{"model.channels": 128, "lr": 0.01}``.

    Args:
        configuration: Nested mappings.
        without: Names to leave out, with all that lies below them.
    """
    flat: dict[str, Any] = {}

    def walk(node: Mapping[Any, Any], prefix: str) -> None:
        for key, value in node.items():
            name = f"{prefix}{key}"
            if name in without:
                continue
            if isinstance(value, Mapping):
                walk(value, f"{name}.")
            else:
                flat[name] = value

    walk(configuration, "")
    return flat
