"""Deep Image Prior: restore a single image with a network that has seen no other."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dip_lightning.errors import UserError

if TYPE_CHECKING:
    from dip_lightning.api import restore
    from dip_lightning.fitting.fit import FitResult
    from dip_lightning.fitting.selection import Selection, select
    from dip_lightning.module import DeepImagePrior
    from dip_lightning.priors import Prior
    from dip_lightning.problems import Problem

__all__ = ["DeepImagePrior", "FitResult", "Prior", "Problem", "Selection", "UserError", "restore", "select"]

# Where they are: torch is loaded only when something that needs it is used, which ``dip --help`` does not.
_PLACES = {
    "DeepImagePrior": "module",
    "FitResult": "fitting.fit",
    "Prior": "priors",
    "Problem": "problems",
    "Selection": "fitting.selection",
    "restore": "api",
    "select": "fitting.selection",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        from dip_lightning.system.imports import imported_quietly

        with imported_quietly():
            place = import_module(f"dip_lightning.{_PLACES[name]}")
        return getattr(place, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
