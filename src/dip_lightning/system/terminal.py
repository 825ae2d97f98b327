"""A terminal that goes away: signals that ask a program to end, and output that nobody reads any more."""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["give_back_signals", "lasting_output", "take_signals"]


def take_signals(handler: Callable[[int], None]) -> dict[signal.Signals, Any]:
    """Let ``handler`` have the signals that ask to end: Ctrl-C, SIGTERM, and SIGHUP when the terminal is closed.

    Those that the process was told to ignore, as ``nohup`` does with SIGHUP, stay ignored. After a first SIGHUP further
    ones are ignored for good: the shell and the system may both send it, and the terminal does not come back.

    Args:
        handler: Is given the number of the signal. Called from the main thread, between two steps of the program.

    Returns:
        What had the signals before, for :func:`give_back_signals`.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if signal.Signals(number).name == "SIGHUP":
            signal.signal(number, signal.SIG_IGN)
        handler(number)

    named = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return {
        number: signal.signal(number, handle)
        for number in named
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN
    }


def give_back_signals(before: dict[signal.Signals, Any]) -> None:
    """Give the signals to what had them before, but for those that have come to be ignored.

    Args:
        before: What :func:`take_signals` returned.
    """
    for number, handler in before.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Drop inside the ``with`` block what cannot be printed, instead of failing for it.

    A closed terminal, a pipe whose reader has ended (``dip … | head``) or a full disk behind ``> log`` must not end a
    fit. From the first failure on, that stream goes nowhere.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Lasting(stream) if isinstance(stream, io.TextIOBase) else stream for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


class _Lasting:
    """A text stream that takes what is written, whether or not it gets anywhere."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        # Also what is still in the buffer, which Python would try once more to write at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
