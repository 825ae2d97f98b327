"""Objects of one's own that a fit takes instead of building them from the configuration."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from torch import nn

from dip_lightning.errors import UserError
from dip_lightning.module import OptimizerFactory, SchedulerFactory
from dip_lightning.priors.input import InputPolicy
from dip_lightning.priors.prior import Prior
from dip_lightning.problems.operators.measurement import as_operator
from dip_lightning.problems.problem import DataTerm, Problem, Regularizer
from dip_lightning.stopping import StoppingRule

__all__ = ["Own"]


def _all(kind: type) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, (list, tuple)) and all(isinstance(one, kind) for one in given)


def _takes(*arguments: str) -> Callable[[Any], bool]:
    """Whether something can be called with so many arguments; where that is not known, it is believed."""

    def suits(given: Any) -> bool:
        try:
            inspect.signature(given).bind(*arguments)
        except TypeError:
            return False
        except ValueError:  # written in C
            return callable(given)
        return True

    return suits


# What may stand in each place, and in words.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (lambda given: isinstance(given, nn.Module), "a network or a Prior"),
    "input": (lambda given: isinstance(given, InputPolicy), "an InputPolicy"),
    "problem": (
        lambda given: isinstance(given, Problem) or _takes("image")(as_operator(given)),
        "a Problem or a forward operator, a function of an image",
    ),
    "data_term": (_takes("prediction", "observation"), "a data term, a function of a prediction and an observation"),
    "regularizers": (lambda given: isinstance(given, Mapping) and all(map(callable, given.values())), "terms by name"),
    "stopping": (lambda given: isinstance(given, Mapping), "stopping rules by name"),
    "optimizer": (_takes("parameters"), "a function that makes one, such as partial(torch.optim.SGD, lr=1)"),
    "scheduler": (_takes("optimizer"), "a function that makes one of an optimiser"),
    "callbacks": (_all(pl.Callback), "Lightning callbacks"),
    "logger": (_all(Logger), "Lightning loggers"),
}


@dataclass(frozen=True)
class Own:
    """Objects by the names of the groups and keys that they stand for; None for what the configuration says.

    Attributes:
        model: A network, which is copied, or a whole :class:`~dip_lightning.priors.Prior`.
        input: What z is in each iteration.
        problem: A whole :class:`~dip_lightning.problems.Problem`, or the forward operator of one.
        data_term: The data term.
        regularizers: Terms on the image, by name.
        stopping: Stopping rules, by name.
        optimizer: Makes the optimiser of the tensors that it is given.
        scheduler: Makes the scheduler of the optimiser that it is given.
        callbacks: Lightning callbacks, besides those of the configuration.
        logger: Lightning loggers, instead of those of the configuration.
    """

    model: nn.Module | Prior | None = None
    input: InputPolicy | None = None
    problem: Problem | nn.Module | None = None
    data_term: DataTerm | None = None
    regularizers: Mapping[str, Regularizer] | None = None
    stopping: Mapping[str, StoppingRule] | None = None
    optimizer: OptimizerFactory | None = None
    scheduler: SchedulerFactory | None = None
    callbacks: Sequence[pl.Callback] = ()
    logger: Sequence[Logger] | None = None

    @classmethod
    def take(cls, settings: dict[str, Any]) -> "Own":
        """Take out of ``settings`` what is an object; what is left can be written on a command line.

        Raises:
            UserError: An object stands where there is no place for one, or for another.
        """
        # A number of NumPy's, as of a loop over np.arange, is a number.
        settings |= {key: value.item() for key, value in settings.items() if isinstance(value, np.generic)}
        # Of these no plain value is one, not even a list of numbers.
        objects = {key: value for key, value in settings.items() if not _is_plain(value) or _is_list(key, value)}
        for key, value in objects.items():
            problem = f"{key} of type {type(value).__name__}"
            if key not in _KINDS:
                raise UserError(problem, f"an object only for {', '.join(_KINDS)}", "give a number or a word")
            if isinstance(value, (pl.Callback, Logger)):
                objects[key] = [value]
            suits, expected = _KINDS[key]
            if not suits(objects[key]):
                raise UserError(problem, expected, "see help(dip_lightning.restore)")
            del settings[key]
        return cls(**objects)

    def describe(self) -> dict[str, str]:
        """Name the objects by their types, for checkpoints: they themselves cannot be compared."""
        given = {place.name: getattr(self, place.name) for place in fields(self)}
        return {name: _name_of(value) for name, value in given.items() if value}


def _is_list(key: str, value: Any) -> bool:
    return key in ("callbacks", "logger") and isinstance(value, (list, tuple))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float))


def _name_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_name_of(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_name_of(item) for item in value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))
