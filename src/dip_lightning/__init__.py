"""Deep Image Prior: restore a single image with a network that has seen no other."""

from typing import TYPE_CHECKING, Any

from dip_lightning.errors import UserError

if TYPE_CHECKING:
    from dip_lightning.api import restore
    from dip_lightning.fitting.fit import FitResult

__all__ = ["FitResult", "UserError", "restore"]


def __getattr__(name: str) -> Any:
    """Load torch only when something that needs it is used: ``dip --help`` does not."""
    if name == "restore":
        from dip_lightning.api import restore

        return restore
    if name == "FitResult":
        from dip_lightning.fitting.fit import FitResult

        return FitResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
