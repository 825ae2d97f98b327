"""What a process has of its own is after `restore` as it was before, whether that went well or not."""

import locale
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from lightning_utilities.core import rank_zero
from omegaconf.basecontainer import BaseContainer
from PIL import Image

from dip_lightning import UserError, restore
from tests.conftest import TINY_UNET
from tests.forked import run_forked

OVERRIDES = [o for o in TINY_UNET if o.startswith(("model.", "trainer"))]
ARRAY = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)


def snapshot() -> dict[str, Any]:
    """All that is known to belong to a process, by name."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    mask = os.umask(0)
    os.umask(mask)
    numbers = np.random.get_state()  # noqa: NPY002 - the very one
    return {
        "random": random.getstate(),
        "numpy": (numbers[1].tobytes(), *numbers[2:]),  # type: ignore[union-attr, index]
        "torch's random numbers": torch.get_rng_state().numpy().tobytes(),
        "torch": [
            *(torch.get_default_dtype(), torch.get_default_device(), torch.are_deterministic_algorithms_enabled()),
            *(torch.is_deterministic_algorithms_warn_only_enabled(), torch.get_float32_matmul_precision()),
            *(torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32),
            *(torch.backends.cuda.matmul.allow_tf32, torch.get_num_threads(), torch.get_num_interop_threads()),
            *(torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
            *(torch.is_autocast_enabled("cpu"), torch.is_warn_always_enabled()),
        ],
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "signals that are caught": Path("/proc/self/status").read_text().partition("SigCgt:")[2].splitlines()[0],
        "warnings": (list(warnings.filters), warnings.showwarning),
        "loggers": {
            log.name: (log.level, list(log.handlers), log.propagate, log.disabled, list(log.filters))
            for log in loggers
            if isinstance(log, logging.Logger)
        },
        "logging": (logging.raiseExceptions, logging.root.manager.disable, logging.lastResort),
        "matplotlib": dict(mpl.rcParams),
        "figures": sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else [],
        "Pillow": Image.MAX_IMAGE_PIXELS,
        "locale": locale.setlocale(locale.LC_ALL),
        "environment": dict(os.environ),
        "folder": (Path.cwd(), mask, tempfile.tempdir),
        "sys": (sys.argv[:], sys.path[:], sys.excepthook, sys.unraisablehook, sys.stdout, sys.stderr, sys.stdin),
        "threads": (threading.excepthook, len(threading.enumerate())),
        "numpy's errors": np.geterr(),
        "hydra": (GlobalHydra.instance().hydra, str(JobRuntime.instance().conf), VersionBase.instance().version_base),
        "hydra's store": sorted(ConfigStore.instance().repo),
        "resolvers": dict(BaseContainer._resolvers),
        "rank": rank_zero.rank_zero_only.rank,  # type: ignore[attr-defined]
    }


def assert_the_same(after: dict[str, Any], before: dict[str, Any]) -> None:
    new = set(after["loggers"]) - set(before["loggers"])  # of what has been loaded meanwhile
    after["loggers"] = {name: state for name, state in after["loggers"].items() if name not in new}
    assert [name for name in before if after[name] != before[name]] == []


def fails(**settings: Any) -> None:
    with pytest.raises(UserError):
        restore(ARRAY, **settings)


def is_interrupted(**settings: Any) -> None:
    import pytorch_lightning as pl

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 2:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        restore(ARRAY, callbacks=Stop(), **settings)


def runs(**settings: Any) -> None:
    restore(ARRAY, **settings)


@pytest.mark.parametrize("how", [runs, fails, is_interrupted])
def test_nothing_of_the_process_is_left_changed(how: Callable[..., None], tmp_path: Path) -> None:
    wrong = ["dropout=3"] if how is fails else ["trainer.deterministic=true"]
    settings = {"iterations": 4, "run_folder": tmp_path / "run", "overrides": [*OVERRIDES, *wrong]}
    how(**settings)  # loads what is loaded late
    before = snapshot()
    how(**settings)
    assert_the_same(snapshot(), before)
    how(**settings, precision="fp64")
    assert_the_same(snapshot(), before)


def test_what_the_caller_has_set_stays_set_and_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = restore(ARRAY, iterations=3, overrides=OVERRIDES).image
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(rank_zero.rank_zero_only, "rank", 3)
    monkeypatch.setitem(BaseContainer._resolvers, "if_gpu", lambda *_: "theirs")
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        before = snapshot()
        with torch.no_grad():
            assert np.array_equal(restore(ARRAY, iterations=3, overrides=OVERRIDES).image, usual)
        with torch.inference_mode():
            assert np.array_equal(restore(ARRAY, iterations=3, overrides=OVERRIDES).image, usual)
        with torch.device("meta"):  # the caller's default device
            assert np.array_equal(restore(ARRAY, iterations=3, overrides=OVERRIDES).image, usual)
        assert_the_same(snapshot(), before)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)


@pytest.mark.slow
def test_importing_draws_no_numbers_and_sets_no_variable(tmp_path: Path) -> None:
    code = (
        "import os, random, sys; random.seed(3); before = random.getstate(), dict(os.environ)\n"
        "from dip_lightning import restore\n"
        "sys.exit((random.getstate(), dict(os.environ)) != before and 'changed')"
    )
    # A name that Lightning takes for the number of a process.
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "RANK": "colonel"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


CLOSED = """
import os, sys, numpy as np
from dip_lightning import restore
log = os.open("told", os.O_WRONLY | os.O_CREAT)
{close}
image = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
result = restore(image, iterations=4, run_folder="run", progress=True, overrides={overrides!r})
os.write(log, b"done")
"""


@pytest.mark.parametrize(
    "close",
    [
        "sys.stdin.close(); sys.stdout.close(); sys.stderr.close()",
        "os.close(0); os.close(1); os.close(2)",
        "sys.stdin = sys.stdout = sys.stderr = None",
        "os.closerange(0, 3); sys.stdin = sys.stdout = sys.stderr = None",
    ],
)
def test_closed_streams_harm_nothing(tmp_path: Path, close: str) -> None:
    close = f"{close}; import warnings, logging; warnings.simplefilter('always')"
    run_forked(CLOSED.format(close=close, overrides=OVERRIDES), cwd=tmp_path)
    assert (tmp_path / "told").read_text() == "done"
    with Image.open(tmp_path / "run" / "restored.png") as image:
        assert image.size == (32, 32)
