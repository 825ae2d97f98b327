"""State of the process that threads share: changed by the first, put back by the last, one state at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from dip_lightning import restore
from dip_lightning.system.shared_state import Turns
from tests.conftest import TINY_UNET

OVERRIDES = [o for o in TINY_UNET if o.startswith(("model.", "trainer"))]


def in_thread(told: list[str], turns: Turns, state: str, inside: threading.Event, leave: threading.Event) -> None:
    with turns.take(state):
        told.append(state)
        inside.set()
        leave.wait(20)


def test_those_who_want_the_same_share_it_and_others_wait() -> None:
    log: list[str] = []

    @contextmanager
    def change(state: str) -> Iterator[None]:
        log.append(f"to {state}")
        yield
        log.append(f"from {state}")

    turns = Turns(change)
    events = [(threading.Event(), threading.Event()) for _ in range(3)]
    threads = [
        threading.Thread(target=in_thread, args=(log, turns, state, *pair))
        for state, pair in zip("aab", events, strict=True)
    ]
    threads[0].start()
    assert events[0][0].wait(20)
    threads[1].start()
    assert events[1][0].wait(20)
    threads[2].start()
    assert not events[2][0].wait(0.2)
    events[0][1].set()
    assert not events[2][0].wait(0.2)
    events[1][1].set()
    assert events[2][0].wait(20)
    events[2][1].set()
    for thread in threads:
        thread.join()
    assert log == ["to a", "a", "a", "from a", "to b", "b", "from b"]


def test_a_block_in_a_block_does_not_wait_for_itself() -> None:
    log: list[str] = []

    @contextmanager
    def change(state: str) -> Iterator[None]:
        log.append(f"to {state}")
        yield
        log.append(f"from {state}")

    turns = Turns(change)
    with turns.take("a"), turns.take("a"), turns.take("b"):
        log.append("inside")
    assert log == ["to a", "to b", "inside", "from b", "from a"]


def test_fits_in_several_threads_all_come_to_their_end() -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 41), dtype=np.uint8)
    ended: list[str] = []

    def one(precision: str) -> None:
        result = restore(image, iterations=4, precision=precision, overrides=OVERRIDES)
        ended.append(str(result.summary["precision_in_force"]["weights"]))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("fp32", "fp64", "bf16", "fp32", "fp64")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["float32"] * 3 + ["float64"] * 2


def test_an_error_inside_lets_the_next_one_in() -> None:
    @contextmanager
    def change(state: str) -> Iterator[None]:
        try:
            yield
        finally:
            left.append(state)

    left: list[str] = []
    turns = Turns(change)
    with pytest.raises(ValueError, match="mine"), turns.take("a"):
        raise ValueError("mine")
    with turns.take("b"):
        assert left == ["a"]
