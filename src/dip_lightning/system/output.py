"""Output that nobody reads any more, or that its stream cannot say, does not end a program."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from dip_lightning.names import printable

__all__ = ["open_streams", "open_what_is_closed", "tolerant", "tolerate_broken_output"]


@contextmanager
def tolerate_broken_output() -> Iterator[None]:
    r"""Drop inside the ``with`` block what cannot be printed, instead of failing for it.

    A closed terminal, a pipe whose reader has ended (``dip … | head``) or a full disk behind ``> log`` must not end a
    fit. From the first failure on, that stream goes nowhere. What its encoding has no letter for (σ on an ASCII
    console, a name that is not UTF-8) is written out as ``\u03c3``.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        _Tolerant(stream, redirect=True) if isinstance(stream, io.TextIOBase) else stream for stream in before
    )
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def open_what_is_closed() -> None:
    """Open what a program was started without of input, output and errors, to nowhere.

    The next file would get the free number, and whatever writes to standard error, past Python, would write into it.
    For a program of ours alone: in a process of someone else's, descriptors are theirs.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free, which is this one.
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)


@contextmanager
def open_streams() -> Iterator[None]:
    """Put streams that go nowhere where ``sys.stdout`` or ``sys.stderr`` has been closed, inside the ``with`` block.

    Warnings and logging write to them, and fail where they are closed rather than None.
    """
    before = sys.stdout, sys.stderr
    closed = [getattr(stream, "closed", False) for stream in before]
    sys.stdout, sys.stderr = (
        _Nowhere() if is_closed else stream for is_closed, stream in zip(closed, before, strict=True)
    )
    try:
        yield
    finally:
        if closed[0]:
            sys.stdout = before[0]
        if closed[1]:
            sys.stderr = before[1]


class _Nowhere(io.StringIO):
    def write(self, text: str) -> int:
        return len(text)


def tolerant(stream: TextIO | None) -> TextIO | None:
    """Return a stream that takes what is written to it, whether or not it gets anywhere.

    Args:
        stream: Where it goes, as long as that works; None stays None.
    """
    return None if stream is None else cast(TextIO, _Tolerant(stream))


class _Tolerant:
    """A text stream that takes what is written, whether or not it gets anywhere."""

    def __init__(self, stream: Any, redirect: bool = False) -> None:
        self._stream, self._redirect, self._lost = stream, redirect, False

    def write(self, text: str) -> int:
        if self._lost:
            return len(text)
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(printable(text).encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):  # the latter where Python has closed it
            self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            if not self._lost:
                self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        self._lost = True
        if self._redirect and not self._stream.closed:
            # Also what is still in the buffer, which Python would try once more to write at its end.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
