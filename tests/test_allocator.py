"""Memory that a fit frees stays with the process until the fit ends."""

import resource
import sys
from pathlib import Path

import pytest
import torch

from dip_lightning.allocator import memory_kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a matter of glibc")

SIZE = 80_000_000


def faults() -> int:
    """How many pages the system had to hand out for a large block that is taken, filled and freed, four times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(SIZE // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def test_a_block_is_taken_from_the_system_once_and_given_back_at_the_end() -> None:
    pages = SIZE // resource.getpagesize()
    with memory_kept():
        first = faults()
        again = faults()
        held = resident()
    assert again < pages / 10
    assert first < 2 * pages
    assert resident() < held - SIZE / 2
    assert faults() > pages
