"""Loading torch and Lightning, which take more of the process than room in memory."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["imported_quietly"]

# Where Lightning looks for the rank of a process, when it is imported, and fails for what is no number.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


@contextmanager
def imported_quietly() -> Iterator[None]:
    """Keep what is imported inside the ``with`` block from changing random numbers and the environment."""
    state, before = random.getstate(), dict(os.environ)
    for name in _RANKS:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        random.setstate(state)
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update({name: before[name] for name in _RANKS if name in before})
