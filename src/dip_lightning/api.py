"""Restoring an image from Python, on the same path as the command line."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dip_lightning.config import compose_config
from dip_lightning.fit import FitResult, fit

__all__ = ["restore"]


def restore(
    image: NDArray[np.generic] | str | Path,
    *,
    clean: NDArray[np.generic] | str | Path | None = None,
    run_folder: str | Path | None = None,
    progress: bool = False,
    overrides: list[str] | None = None,
    **settings: Any,
) -> FitResult:
    """Restore one image.

    Args:
        image: An image file, or samples (H, W), or (H, W, C) with 1 to 4 channels (the second or fourth is alpha),
            uint8 or uint16. It is taken as corrupted already, unless ``degradation`` is given.
        clean: The clean image, if there is one, for measuring.
        run_folder: Where to write the files that the command line writes; None writes nothing.
        progress: Whether to show the progress bar.
        overrides: Further settings as the command line takes them: ``["degradation.sigma=50"]``.
        **settings: Settings of the top of the configuration, or the choice of a group: ``model="resunet"``,
            ``dropout=0.1``, ``iterations=2000``, ``precision="fp64"``, ``seed=1``.

    Returns:
        The restored image, its curves and its summary.

    Raises:
        UserError: A setting or a file does not allow what was asked.

    Example:
        >>> from dip_lightning import restore
        >>> result = restore("photo.png", model="resunet", dropout=0.1, iterations=2000)  # doctest: +SKIP
        >>> result.image.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    chosen = {"degradation": "none", **settings}
    arguments = [f"{name}={_quote(value)}" for name, value in chosen.items()] + (overrides or [])
    if any(argument.startswith("degradation.") for argument in arguments) and "degradation" not in settings:
        del arguments[0]
    arrays = {}
    for name, value in (("path", image), ("clean", clean)):
        if isinstance(value, np.ndarray):
            arrays["image" if name == "path" else name] = value
        elif value is not None:
            arguments.append(f"image.{name}={_quote(str(value))}")
    if not progress:
        arguments.append("callbacks.fit_progress=null")
    cfg = compose_config(arguments)
    return fit(cfg, None if run_folder is None else Path(run_folder), **arrays)


def _quote(value: Any) -> str:
    """Write a value so that Hydra reads it back as it is; file names may hold anything."""
    if isinstance(value, str) and not value.isidentifier():
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if value is None:
        return "null"
    return str(value).replace(" ", "")
