"""Restoring an image from Python, on the same path as the command line."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from dip_lightning.config.compose import borrowed_resolvers, compose_config, config_folder
from dip_lightning.config.messages import CONFIGURATION_ERRORS, GROUP_CHOICE, of_group_choice, translate
from dip_lightning.config.paths import expand_home
from dip_lightning.config.trust import trusting
from dip_lightning.data import SAMPLE_PREFIX
from dip_lightning.data.handed import Form, read_handed
from dip_lightning.errors import UserError
from dip_lightning.fitting.fit import FitResult
from dip_lightning.fitting.own import Own
from dip_lightning.names import printable
from dip_lightning.problems import Problem
from dip_lightning.system.signals import pass_on, present_handlers
from dip_lightning.workflows.restore import fit

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = ["restore"]

# What a restoration of nothing, and of two things, is answered.
_NOTHING = UserError(
    "image=None",
    "an array, a tensor, a PIL picture or a path, or a whole problem",
    "check that it was read: OpenCV gives None for a file that it cannot read",
)
_TWO = UserError("an image and a whole problem", "one of them", "leave the image out, or problem=")


def restore(
    image: "NDArray[np.generic] | torch.Tensor | Image.Image | str | Path | None" = None,
    *,
    clean: "NDArray[np.generic] | torch.Tensor | Image.Image | str | Path | None" = None,
    run_folder: str | Path | None = None,
    progress: bool = False,
    overrides: list[str] | None = None,
    trust: str | Iterable[str] = (),
    **settings: Any,
) -> FitResult:
    """Restore one image.

    Args:
        image: An image file; an array (H, W), or (H, W, C), of integers, or floats in [0, 1], masked where samples were
            lost, as NaN are; a tensor (H, W), or (C, H, W), of uint8, or floats in [0, 1]; or a PIL picture, as it
            stands. Of uint8 and uint16 with 2 or 4 channels the last is alpha, all others are bands. It is taken as
            corrupted already, unless a ``degradation`` is given. None where a whole ``problem`` is given. Other floats
            need their black and white said, ``overrides=["image.range=[0,4095]"]``, or found, ``image.range=null``.
        clean: The clean image, if there is one, for measuring.
        run_folder: Where to write the files that the command line writes; None writes nothing.
        progress: Whether to show the progress bar.
        overrides: Further settings as the command line takes them: ``["model.channels=64", "degradation.sigma=50"]``.
        trust: Packages that the settings may build classes of, besides what they may always build: ``"my_package"``.
        **settings: Keys of the top of the configuration, or the choice of a group: ``model="resunet"``,
            ``dropout=0.1``, ``iterations=2000``, ``precision="fp64"``, ``seed=1``. Or an object of one's own that
            stands for it, see :class:`~dip_lightning.fitting.own.Own`: ``model=`` a network or a ``Prior``,
            ``problem=`` a ``Problem`` or a forward operator, ``data_term=`` a data term, ``regularizers=`` terms and
            ``stopping=`` rules by name, ``optimizer=`` and ``scheduler=`` factories, ``callbacks=``, ``logger=``.

    Returns:
        The restored image, of the kind that was given, its curves and its summary.

    Raises:
        UserError: A setting or a file does not allow what was asked.
        KeyboardInterrupt: Ctrl-C came. What had been reached by then is in ``run_folder``, if there is one, and in the
            attribute ``result`` of the exception, which is None before the first iteration.

    A signal that ends the fit early (Ctrl-C, SIGTERM) then does what it would have done without the fit: a loop over
    images ends. Only a handler of your own that returns lets this function return, with ``result.signal``.

    Example:
        >>> from dip_lightning import restore
        >>> result = restore("photo.png", model="resunet", dropout=0.1)  # doctest: +SKIP
        >>> result.image.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    own = Own.take(settings)
    if overrides is not None and not (
        isinstance(overrides, (list, tuple)) and all(isinstance(one, str) for one in overrides)
    ):
        raise UserError(f"overrides={overrides!r}", "a list of words", "try overrides=['model.channels=64']")
    if (image is None) != isinstance(own.problem, Problem):
        raise _NOTHING if image is None else _TWO
    if isinstance(own.problem, Problem):
        # All of it is said by the problem itself; what is said twice would be passed over.
        said = ("data_term", "degradation", "regularizers", "image.", "problem")
        given = [*own.describe(), *settings, *(override.lstrip("+~") for override in overrides or [])]
        for name in given:
            if name != "problem" and name.startswith(said):
                raise UserError(
                    f"{name} beside a whole problem", "one of them", "leave it out, or give it to the Problem"
                )
    arguments = [f"{name}={'null' if value is None else value}" for name, value in settings.items()]
    arguments += overrides or []
    if not progress:
        arguments.append("callbacks.fit_progress=null")
    any_range = any(override.lstrip("+~").startswith("image.range") for override in overrides or [])
    source, form = _picture("image", image, any_range)
    # A clean image is in the units of the other, whatever they are in a file.
    truth, _ = _picture("clean", clean, any_range or not isinstance(source, np.ndarray))
    folder = _folder(run_folder)
    handlers, result = present_handlers(), None
    try:
        with borrowed_resolvers(), trusting(trust):
            result = fit(_compose(arguments), folder, image=source, clean=truth, own=own)
            result = replace(result, form=form)
        if result.signal is not None:
            pass_on(result.signal, handlers)
    except KeyboardInterrupt as interrupt:
        interrupt.result = result  # type: ignore[attr-defined]
        if result is not None and result.run_folder is not None:
            interrupt.add_note(f"What was reached is in {printable(str(result.run_folder))}")
        raise
    return result


def _folder(given: object) -> Path | None:
    if not isinstance(given, (str, Path, NoneType)):
        raise UserError(f"run_folder of type {type(given).__name__}", "a folder", "try run_folder='outputs/mine'")
    return None if given is None else Path(expand_home(str(given)))


def _compose(arguments: list[str]) -> DictConfig:
    """Compose the configuration; what is wrong with it is told in one line."""
    try:
        return compose_config(arguments)
    except CONFIGURATION_ERRORS as error:
        raise translate(error, config_folder()) from None
    except ValueError as error:
        if GROUP_CHOICE not in str(error):
            raise
        raise of_group_choice(config_folder(), arguments) from None


def _picture(name: str, given: object, any_range: bool) -> tuple[str | Path | NDArray[np.generic] | None, Form]:
    """Return samples, a sample's name or a path; as a ``Path``, OmegaConf does not look for interpolations in it."""
    if given is None or (isinstance(given, str) and given.startswith(SAMPLE_PREFIX)):
        return given, Form()
    if isinstance(given, (str, Path)):
        return Path(expand_home(str(given))), Form()
    return read_handed(name, given, any_range=any_range)
