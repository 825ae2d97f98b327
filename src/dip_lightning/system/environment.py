"""What a run ran on: versions, commit, device and memory, for its record."""

import contextlib
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from dip_lightning.system.control_groups import available_in_groups

__all__ = [
    "available_memory",
    "describe_device",
    "device_for",
    "git_commit",
    "peak_memory_mb",
    "present_memory",
    "reset_peak_memory",
    "versions",
]

_PACKAGES = ("dip-lightning", "torch", "pytorch-lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # used from a checkout that is not installed
            found[package] = "not installed"
    return found


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, ``-dirty`` added where files differ from it.

    None outside a checkout: an installed package must not report the repository it happens to lie in.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def device_for(accelerator: str) -> torch.device:
    """Tell where a fit would run, before anything is built.

    Args:
        accelerator: As Lightning names it: ``"auto"``, ``"cpu"`` or ``"gpu"``.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if accelerator != "cpu" and torch.backends.mps.is_available() else "cpu")


def describe_device(device: torch.device) -> str:
    """Name the processor: ``"cuda (NVIDIA H200)"``, ``"cpu (AMD EPYC, 2 threads)"``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu ({_cpu_name()}, {threads} thread{'' if threads == 1 else 's'})"
    return device.type


def _cpu_name() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return str(names[0]) if names else platform.processor() or platform.machine()


def reset_peak_memory(device: torch.device) -> None:
    """Start counting anew, so that a run does not report the memory of the one before it in the same process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # not Linux, or not allowed: the peak is then that of the process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory since :func:`reset_peak_memory`, in MB (10⁶ bytes): of the GPU's tensors, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:  # psutil knows the peak of a process on Windows only
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024 / 1e6
    except (OSError, IndexError):
        if sys.platform == "win32":
            return float(psutil.Process().memory_info().peak_wset / 1e6)
        import resource  # here: Windows has none

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def present_memory(device: torch.device) -> float:
    """What is taken now, in bytes, as :func:`peak_memory_mb` counts it."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device))
    return float(psutil.Process().memory_info().rss)


def available_memory(device: torch.device) -> float:
    """What can still be taken, in bytes.

    In a container, or under a batch system, it is what is left of the group's limit, where that is less.
    """
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + reserved)
    free, left = float(psutil.virtual_memory().available), available_in_groups()
    return free if left is None else min(free, left)
