"""What the processor can do, told without loading torch."""

from functools import cache
from pathlib import Path

__all__ = ["has_native_bf16"]

# Instructions that multiply bfloat16, which oneDNN uses for convolutions. With AVX-512 alone, it converts to float32.
_BF16 = frozenset({"avx512_bf16", "amx_bf16"})
_CPUINFO = Path("/proc/cpuinfo")


@cache
def has_native_bf16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor multiplies in bfloat16 natively; False where the system does not say.

    Args:
        cpuinfo: Where Linux describes the processor.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _BF16.isdisjoint(flags.split())
