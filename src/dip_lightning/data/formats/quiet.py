"""Keeping a library quiet in one thread, without a trace in the others."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_tifffile"]


class _NotHere(logging.Filter):
    """Keeps the records of one thread from a logger."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Keep tifffile from logging in this thread what is wrong with a file, which is told in one line."""
    logger, silence = logging.getLogger("tifffile"), _NotHere()
    logger.addFilter(silence)
    try:
        yield
    finally:
        logger.removeFilter(silence)
