"""What the benchmarks' command lines share: how numbers are read, the picture, and mistakes told in one line."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dip_lightning.config import config_folder
from dip_lightning.errors import mistakes_in_one_line
from dip_lightning.mistakes import CONFIGURATION_ERRORS, translate

__all__ = ["duration", "mistakes_told", "natural", "naturals", "positive", "positives", "square"]

# Side of the sample picture in pixels.
_SAMPLE = 512


def natural(text: str) -> int:
    """Read a whole number from 0 on."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    return _whole(text, 1)


def naturals(text: str) -> list[int]:
    """Read several whole numbers from 0 on: ``0,1,2``."""
    return [natural(word) for word in text.split(",")]


def positives(text: str) -> list[int]:
    """Read several whole numbers from 1 on: ``128,256``."""
    return [positive(word) for word in text.split(",")]


def duration(text: str) -> float:
    """Read a number greater than 0."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number greater than 0; try 5")
    return number


def square(side: int) -> list[str]:
    """The settings for a picture of some pixels a side: the sample's central part, or where it is smaller, enlarged."""
    return [f"image.crop={side}"] if side <= _SAMPLE else [f"image.size={side}"]


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {least} on; try {least + 2}")
    return int(text)


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End a benchmark on a mistake of the user with one line and exit code 2, and on Ctrl-C with code 130."""
    with mistakes_in_one_line(Path(sys.argv[0]).name):
        try:
            yield
        except CONFIGURATION_ERRORS as error:
            raise translate(error, config_folder()) from None
        except KeyboardInterrupt:
            sys.exit(130)
