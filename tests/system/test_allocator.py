"""Memory that a fit frees stays with the process until the fit ends."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a matter of glibc")

# In a process of its own: once a request for more memory than there is has failed, as other tests make them, glibc
# serves the thread from an arena whose heaps are too small for such blocks.
SCRIPT = """
import resource
from pathlib import Path

import torch

from dip_lightning.system.allocator import memory_kept

SIZE = 80_000_000
PAGES = SIZE // resource.getpagesize()


def faults():
    "How many pages the system had to hand out for a large block that is taken, filled and freed, four times."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(SIZE // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


with memory_kept():
    # The first blocks may find a place that is too small for the next one; where depends on the address of the heap.
    settling = [faults() for _ in range(4)]
    again, held = faults(), resident()
assert again < PAGES / 10, (settling, again)
assert resident() < held - SIZE / 2, (resident(), held)
assert faults() > PAGES
"""


def test_a_block_is_taken_from_the_system_once_and_given_back_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
