"""The signals that ask a program to end, also when its terminal is closed."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["install_handlers", "restore_handlers"]


def install_handlers(handler: Callable[[int], None]) -> dict[signal.Signals, Any]:
    """Let ``handler`` have the signals that ask to end: Ctrl-C, SIGTERM, and SIGHUP when the terminal is closed.

    Those that the process was told to ignore, as ``nohup`` does with SIGHUP, stay ignored. After a first SIGHUP further
    ones are ignored for good: the shell and the system may both send it, and the terminal does not come back.

    Args:
        handler: Is given the number of the signal. Called from the main thread, between two steps of the program.

    Returns:
        What had the signals before, for :func:`restore_handlers`.
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


def restore_handlers(before: dict[signal.Signals, Any]) -> None:
    """Give the signals to what had them before, but for those that have come to be ignored.

    Args:
        before: What :func:`install_handlers` returned.
    """
    for number, handler in before.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
