"""Output that nobody reads any more does not end a program."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["tolerate_broken_output"]


@contextmanager
def tolerate_broken_output() -> Iterator[None]:
    """Drop inside the ``with`` block what cannot be printed, instead of failing for it.

    A closed terminal, a pipe whose reader has ended (``dip … | head``) or a full disk behind ``> log`` must not end a
    fit. From the first failure on, that stream goes nowhere.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Tolerant(stream) if isinstance(stream, io.TextIOBase) else stream for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


class _Tolerant:
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
