"""How much memory a container or a batch system leaves to this process, by Linux's control groups."""

import re
from pathlib import Path

__all__ = ["available_in_groups"]

# Where a version of the interface keeps the limit, the use, and the part of it that can be given up (cached files).
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def available_in_groups(root: Path = Path("/")) -> float | None:
    """What this process and its group can still take before they are killed for it.

    Args:
        root: The folder that holds ``proc`` and ``sys``.

    Returns:
        Bytes, the least over the group and those above it; None where there is no limit.
    """
    left = [found for folder, version in _folders(root) if (found := _left(folder, version)) is not None]
    return min(left, default=None)


def _folders(root: Path) -> list[tuple[Path, int]]:
    """The folders of the group that the process is in, and of those above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version = 1 if controllers else 2
        # Mixed machines mount the second version below the first.
        tops = ["unified", ""] if version == 2 else ["memory"] if "memory" in controllers.split(",") else []
        parts = Path(path.lstrip("/")).parts
        groups = [Path(*parts[:depth]) for depth in range(len(parts) + 1)]
        folders += [(root / "sys/fs/cgroup" / top / group, version) for top in tops for group in groups]
    return folders


def _left(folder: Path, version: int) -> float | None:
    limit_file, use_file, cached_name = _FILES[version]
    try:
        limit = (folder / limit_file).read_text(encoding="ascii").strip()
        # Without a limit, the first version tells the largest number that it has.
        if not limit.isdecimal() or int(limit) >= 1 << 60:
            return None
        used = int((folder / use_file).read_text(encoding="ascii"))
        statistics = (folder / "memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    cached = re.search(rf"^{cached_name} (\d+)$", statistics, re.MULTILINE)
    return float(max(int(limit) - used + (0 if cached is None else int(cached[1])), 0))
