"""What the benchmarks' command lines share: how numbers are read, the picture, and mistakes told in one line."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from dip_lightning.cli.one_line import errors_in_one_line
from dip_lightning.config.build import build
from dip_lightning.config.compose import compose_config, config_folder
from dip_lightning.config.messages import CONFIGURATION_ERRORS, translate
from dip_lightning.errors import UserError
from dip_lightning.precision import Precision

__all__ = [
    "check_precisions",
    "device_of",
    "duration",
    "minutes",
    "mistakes_told",
    "natural",
    "naturals",
    "positive",
    "positives",
    "square",
]

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


def minutes(text: str) -> float:
    """Read a number from 0 on; with 0 nothing is measured, and what is there is shown."""
    return 0.0 if text == "0" else duration(text)


def square(side: int) -> list[str]:
    """The settings for a picture of some pixels a side: the sample's central part, or where it is smaller, enlarged."""
    return [f"image.crop={side}"] if side <= _SAMPLE else [f"image.size={side}"]


def device_of(accelerator: str) -> torch.device:
    """The device of ``cpu`` or ``gpu``.

    Raises:
        UserError: There is no GPU.
    """
    if accelerator == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("no GPU that torch can use", "an NVIDIA GPU and its driver", "measure on the CPU instead")
    return torch.device("cuda")


def check_precisions(names: Sequence[str], device: torch.device, overrides: Sequence[str]) -> None:
    """Refuse a precision that is unknown or that the device does not have, before anything is measured.

    Raises:
        UserError: Which, and what there is.
    """
    for name in names:
        precision: Precision = build(compose_config([*overrides, f"precision={name}"]).precision)
        precision.check_device(device)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {least} on; try {least + 2}")
    return int(text)


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End a benchmark on a mistake of the user with one line and exit code 2, and on Ctrl-C with code 130."""
    with errors_in_one_line(Path(sys.argv[0]).name):
        try:
            yield
        except CONFIGURATION_ERRORS as error:
            raise translate(error, config_folder()) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
