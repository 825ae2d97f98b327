"""Checks of settings: each returns the value, or raises a :class:`UserError` that names the way out."""

import difflib
import math
from collections.abc import Collection
from typing import TypeVar

from dip_lightning.errors import UserError

__all__ = [
    "check_average",
    "check_callable",
    "check_choice",
    "check_flag",
    "check_integer",
    "check_kind",
    "check_number",
    "check_tile",
]

Kind = TypeVar("Kind")

# The word for an averaged output whose memory grows with the fit.
_GROWING = "growing"


def check_number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
    example: float,
) -> float:
    """Check that a setting is a finite number in an interval.

    Args:
        name: The setting as the user writes it, for the message.
        value: What the user gave.
        low: Lower end of the interval.
        high: Upper end of the interval.
        low_open: Whether ``low`` itself is excluded.
        high_open: Whether ``high`` itself is excluded.
        example: A value that works, for the message.

    Returns:
        The value as a float.

    Raises:
        UserError: The value is no number, or lies outside the interval.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        above = value > low if low_open else value >= low
        below = value < high if high_open else value <= high
        if above and below:
            return float(value)
    if low == -math.inf and high == math.inf:
        expected = "a finite number"
    elif high == math.inf:
        expected = f"a number {'above' if low_open else 'of at least'} {low:g}"
    else:
        expected = f"a number in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
    raise UserError(f"{name}={value}", expected, f"try {name}={example:g}")


def check_integer(name: str, value: object, low: int, high: int = 2**31 - 1, *, example: int) -> int:
    """Check that a setting is a whole number from ``low`` to ``high``.

    Args:
        name: The setting as the user writes it, for the message.
        value: What the user gave.
        low: The least value allowed.
        high: The greatest value allowed.
        example: A value that works, for the message.

    Returns:
        The value.

    Raises:
        UserError: The value is no whole number, or lies outside.
    """
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    if isinstance(value, float) and value.is_integer() and low <= value <= high:  # 1e3
        example = int(value)
    expected = f"a whole number of at least {low}" + (
        "" if isinstance(value, int) and value < low else f", at most {high}"
    )
    raise UserError(f"{name}={value}", expected, f"try {name}={example}")


def check_flag(name: str, value: object) -> bool:
    """Check that a setting is true or false.

    Args:
        name: The setting as the user writes it, for the message.
        value: What the user gave.

    Returns:
        The value.

    Raises:
        UserError: The value is neither.
    """
    if isinstance(value, bool):
        return value
    raise UserError(f"{name}={value}", "true or false", f"try {name}=true")


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Check that a setting is one of several words.

    Args:
        name: The setting as the user writes it, for the message.
        value: What the user gave.
        choices: The words allowed.

    Returns:
        The value.

    Raises:
        UserError: The value is none of them; the message suggests the nearest.
    """
    if isinstance(value, str) and value in choices:
        return value
    nearest = difflib.get_close_matches(str(value), list(choices), n=1, cutoff=0.0)[0]
    raise UserError(f"{name}={value}", f"one of {', '.join(choices)}", f"try {name}={nearest}")


def check_kind(name: str, value: object, kind: type[Kind], remedy: str) -> Kind:
    """Check what kind of object was handed over.

    Args:
        name: What it stands for.
        value: What was given.
        kind: What it must be one of.
        remedy: The way out, for the message.

    Returns:
        The value.

    Raises:
        UserError: It is another kind of object.
    """
    if isinstance(value, kind):
        return value
    raise UserError(f"{name} of type {type(value).__name__}", kind.__name__, remedy)


def check_callable(name: str, value: object, remedy: str) -> None:
    """Check that what was handed over can be called.

    Args:
        name: What it stands for.
        value: What was given.
        remedy: The way out, for the message.

    Raises:
        UserError: It cannot.
    """
    if not callable(value):
        raise UserError(f"{name} of type {type(value).__name__}", "something to call", remedy)


def check_average(alpha: object) -> float | None:
    """Check the weight of the past in the averaged output.

    Args:
        alpha: A number in [0, 1), or ``"growing"``.

    Returns:
        The number; None for one that grows.

    Raises:
        UserError: It is neither.
    """
    if alpha == _GROWING:
        return None
    try:
        return check_number("alpha", alpha, 0, 1, high_open=True, example=0.99)
    except UserError as error:
        raise UserError(error.problem, f"{error.expected}, or {_GROWING}", error.remedy) from None


def check_tile(side: object) -> int:
    """Check the side of tiles, in pixels.

    Args:
        side: What the user gave.

    Raises:
        UserError: It is no whole number, or tiles of that side would be too small to be fitted.
    """
    return check_integer("tile", side, 16, example=512)
