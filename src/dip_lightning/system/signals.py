"""The signals that ask a program to end, also when its terminal is closed or its time on a cluster is up."""

import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["install_handlers", "pass_on", "present_handlers", "restore_handlers"]

# Ctrl-C, a polite end, a closed terminal.
_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
# How batch systems say that the time is nearly up: Slurm as --signal asks for, Grid Engine SIGUSR1 or SIGUSR2, LSF
# SIGUSR2, several SIGXCPU. A program may use them for something else: they are taken only where nobody has them.
_WARNING = ("SIGUSR1", "SIGUSR2", "SIGXCPU")


def install_handlers(handler: Callable[[int], None]) -> dict[signal.Signals, Any]:
    """Let ``handler`` have the signals that ask to end: Ctrl-C, SIGTERM, SIGHUP, and what batch systems warn with.

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

    handle.asks_to_end = True  # type: ignore[attr-defined]
    caught = _caught_by_others()
    before = {}
    for name in (*_ENDING, *_WARNING):
        number = getattr(signal, name, None)  # Windows has few
        if number is None:
            continue
        present = signal.getsignal(number)
        free = present is signal.SIG_DFL and number not in caught
        # One of ours: of what runs several fits.
        if free or getattr(present, "asks_to_end", False) or (name in _ENDING and callable(present)):
            before[number] = signal.signal(number, handle)
    return before


def restore_handlers(before: dict[signal.Signals, Any]) -> None:
    """Give the signals to what had them before, but for those that have come to be ignored.

    Args:
        before: What :func:`install_handlers` returned.
    """
    for number, handler in before.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def present_handlers() -> dict[int, Any]:
    """What has each of the signals that ask to end; nothing in a thread that cannot have any."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in (*_ENDING, *_WARNING) if hasattr(signal, name)]
    return {int(number): signal.getsignal(number) for number in numbers}


def pass_on(number: int, before: dict[int, Any]) -> None:
    """Let a signal that has ended a fit do what it would have done without the fit.

    Args:
        number: The number of the signal.
        before: What :func:`present_handlers` returned before the fit.

    Raises:
        KeyboardInterrupt: It was Ctrl-C, and nobody else has that.
    """
    if before.get(number) is not None:
        signal.signal(number, before[number])  # a SIGHUP has come to be ignored
        signal.raise_signal(number)


def _caught_by_others() -> set[int]:
    """The signals that something catches, on Linux: also what Python knows nothing of, such as ``faulthandler``."""
    try:
        mask = re.findall(r"^SigCgt:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return set()
    return {number for number in range(1, 65) if mask and int(mask[0], 16) >> (number - 1) & 1}
