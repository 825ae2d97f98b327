"""How the command line loads torch, which takes seconds: late, quickly, and told to share the machine."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dip_lightning.system.imports import imported_quietly

__all__ = ["share_cores", "without_collection"]


def share_cores() -> None:
    """Have threads that wait for each other give way soon, before torch is loaded.

    GNU OpenMP lets them spin, which next to another busy program makes an iteration take ten times as long; see
    docs/performance.md.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


@contextmanager
def without_collection() -> Iterator[None]:
    """Import torch without the garbage collector, which would look through its million objects again and again.

    They stay, so that it is told to leave them alone from then on.
    """
    if "torch" in sys.modules:  # what is garbage by now must not be kept
        yield
        return
    gc.disable()
    try:
        with imported_quietly():
            yield
    finally:
        gc.freeze()
        gc.enable()
