"""A signal that ends a fit of `restore` does afterwards what it would have done without the fit."""

import faulthandler
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl

from dip_lightning import restore
from dip_lightning.fitting.fit import FitResult
from dip_lightning.system.signals import install_handlers, restore_handlers
from tests.conftest import TINY_UNET

OVERRIDES = [o for o in TINY_UNET if o.startswith(("model.", "trainer"))]
ARRAY = np.random.default_rng(0).integers(0, 256, (33, 41), dtype=np.uint8)


class Raise(pl.Callback):
    """Sends a signal to this process, in an iteration or before the first."""

    def __init__(self, number: int, iteration: int | None = 2) -> None:
        self.number, self.iteration = number, iteration

    def on_fit_start(self, *_: Any) -> None:
        if self.iteration is None:
            signal.raise_signal(self.number)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.iteration:
            signal.raise_signal(self.number)


def run(callback: pl.Callback, **settings: Any) -> FitResult:
    return restore(ARRAY, iterations=9, callbacks=callback, overrides=OVERRIDES, **settings)


def test_ctrl_c_ends_the_callers_loop_and_what_was_reached_is_kept(tmp_path: Path) -> None:
    def loop() -> None:
        for number in range(3):
            begun.append(number)
            run(Raise(signal.SIGINT), run_folder=tmp_path / str(number))

    begun: list[int] = []
    with pytest.raises(KeyboardInterrupt) as interrupt:
        loop()
    assert begun == [0]
    result = interrupt.value.result  # type: ignore[attr-defined]
    assert result.summary["iterations"] == 2
    assert (tmp_path / "0" / "restored.png").exists()
    assert str(tmp_path / "0") in interrupt.value.__notes__[0]


def test_ctrl_c_before_the_first_iteration_leaves_ctrl_c_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        run(Raise(signal.SIGINT, None))
    assert interrupt.value.result is None  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_it_at_once() -> None:
    class Twice(Raise):
        def on_train_batch_end(self, *arguments: Any) -> None:
            for _ in range(2):
                super().on_train_batch_end(*arguments)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        run(Twice(signal.SIGINT))
    assert interrupt.value.result is None  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_of_the_callers_gets_the_signal_after_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[int] = []

    def handler(number: int, _: Any) -> None:
        got.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        result = run(Raise(signal.SIGTERM))
        assert (result.signal, got, result.summary["iterations"]) == (signal.SIGTERM, [signal.SIGTERM], 2)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_the_caller_uses_a_signal_for_is_left_to_it() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    try:
        result = run(Raise(signal.SIGUSR1))
        assert (result.signal, got, result.summary["iterations"]) == (None, [signal.SIGUSR1], 9)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_python_does_not_know_of_is_left_to_its_owner() -> None:
    faulthandler.register(signal.SIGUSR2)
    try:
        taken = install_handlers(lambda number: None)
        restore_handlers(taken)
        assert signal.SIGUSR2 not in taken
        assert signal.SIGUSR1 in taken
        run(pl.Callback())
        assert faulthandler.unregister(signal.SIGUSR2)
        caught = int(Path("/proc/self/status").read_text().partition("SigCgt:")[2].split()[0], 16)
        assert not caught >> (signal.SIGUSR2 - 1) & 1
    finally:
        faulthandler.unregister(signal.SIGUSR2)


def test_a_thread_fits_without_touching_signals() -> None:
    before = [signal.getsignal(number) for number in signal.valid_signals()]
    results: list[FitResult] = []
    thread = threading.Thread(target=lambda: results.append(run(pl.Callback())))
    thread.start()
    thread.join()
    assert results[0].summary["iterations"] == 9
    assert [signal.getsignal(number) for number in signal.valid_signals()] == before
