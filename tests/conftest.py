"""What the tests share: a fit so small that it takes a second, and the command line without a new process."""

import gc
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dip_lightning.cli import main as cli
from dip_lightning.config.compose import compose_config
from dip_lightning.fitting.fit import FitResult
from dip_lightning.runs import figures
from dip_lightning.workflows.restore import fit

# What a fit loads by itself.
for module in ("matplotlib.backends.backend_agg", "matplotlib.figure", "skimage.data", "skimage.exposure", "tifffile"):
    importlib.import_module(module)

# The networks here are too small for two threads to pay, and tests often share the machine. Another number rounds
# differently, so the processes that tests start take the same.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# A network of some thousand parameters on 32x32 pixels, in one arithmetic on all machines.
TINY = (
    "trainer=cpu",
    "model=resunet",
    "precision=fp32",
    "alpha=0.99",
    "model.channels=8",
    "model.input_channels=4",
    "image.crop=32",
    "iterations=6",
    "callbacks.fit_progress=null",
)
TINY_UNET = (*TINY, "model.levels=2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest, so that none of them is the last one to end."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, item.path.name != "test_wheel.py"))


def pytest_collection_finish() -> None:
    """Keep what is loaded out of the search for garbage that ends every fit, and takes longer than a fit of ours."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def figures_of_a_kind_are_drawn_once() -> Iterator[None]:
    """Hand out the figure of the first fit with such curves or pictures to all: drawing takes half the time of a fit.

    Of such curves: of the same names (but for numbers in them) and length, with numbers everywhere or not, and nothing
    else in the summary that is None. What the figures show, `runs/test_figures.py` looks at, with the functions
    themselves.
    """
    drawn: dict[object, bytes] = {}

    def once(draw: Callable[..., None]) -> Callable[..., None]:
        def write(path: Path, arrays: dict[str, Any], summary: dict[str, Any] | None = None) -> None:
            kind = [
                (re.sub(r"[\d.]+", "", name), array.shape, np.isfinite(array).any(), np.isfinite(array).all())
                for name, array in arrays.items()
            ]
            missing = sorted(name for name, value in (summary or {}).items() if value is None)
            of = (draw, tuple(kind), tuple(missing))
            if of not in drawn:
                draw(path, arrays, *([] if summary is None else [summary]))
                drawn[of] = path.read_bytes()
            path.write_bytes(drawn[of])

        return write

    with pytest.MonkeyPatch.context() as patch:
        for name in ("draw_comparison", "draw_curves"):
            patch.setattr(figures, name, once(getattr(figures, name)))
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """Leave out what matters where the power fails only, which takes a tenth of the time of a fit of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def tiny_fit() -> Callable[..., FitResult]:
    """Return a function that fits with ``TINY_UNET`` and further overrides, writing files only where told."""

    def run(*overrides: str, run_folder: Path | None = None) -> FitResult:
        return fit(compose_config([*TINY_UNET, *overrides]), run_folder)

    return run


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def dip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function that runs ``dip`` with arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["dip", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        code = stop.value.code
        return Outcome(0 if code is None else int(code), out, err)

    return run
