"""The limits of containers and batch systems, on copies of what Linux shows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dip_lightning.system.control_groups import available_in_groups

GB = 10**9


def write_group(root: Path, mount: str, group: str, limit: str, used: int, cached: int) -> None:
    folder = root / "sys/fs/cgroup" / mount / group
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    names = names if mount == "memory" else ("memory.max", "memory.current", "inactive_file")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"cache 5\nother_{names[2]} 7\n{names[2]} {cached}\n")


def write_membership(root: Path, *lines: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")


def test_the_least_of_the_groups_above_counts_and_cached_files_can_be_given_up(tmp_path: Path) -> None:
    write_membership(tmp_path, "0::/slurm/job/step")
    write_group(tmp_path, "", "slurm/job/step", "max", 1 * GB, 0)
    write_group(tmp_path, "", "slurm/job", str(4 * GB), 3 * GB, GB // 2)
    write_group(tmp_path, "", "slurm", str(9 * GB), 3 * GB, 0)
    assert available_in_groups(tmp_path) == 1.5 * GB


def test_the_first_version_of_the_interface(tmp_path: Path) -> None:
    write_membership(tmp_path, "9:name=systemd:/", "4:cpu,memory:/batch/7", "0::/")
    write_group(tmp_path, "memory", "", str(2**63 - 4096), 9 * GB, 0)
    write_group(tmp_path, "memory", "batch/7", str(2 * GB), GB // 2, 0)
    assert available_in_groups(tmp_path) == 1.5 * GB


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    write_membership(tmp_path, "4:memory:/docker/0123abc")
    write_group(tmp_path, "memory", "", str(1 * GB), 2 * GB, 0)
    assert available_in_groups(tmp_path) == 0


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096), "", "many"])
def test_without_a_limit_there_is_none(tmp_path: Path, limit: str) -> None:
    write_membership(tmp_path, "0::/")
    write_group(tmp_path, "", "", limit, GB, 0)
    assert available_in_groups(tmp_path) is None


def test_a_system_without_groups_has_no_limit(tmp_path: Path) -> None:
    assert available_in_groups(tmp_path) is None


@pytest.fixture
def limited() -> Iterator[Path]:
    """A real group that may take 1.5 GB, where this process may make one."""
    folder = Path("/sys/fs/cgroup/memory") / f"dip-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(3 * GB // 2))
    except OSError:
        pytest.skip("no control group can be made here")
    yield folder
    folder.rmdir()


@pytest.mark.slow
def test_a_fit_that_its_group_leaves_no_room_for_is_refused(limited: Path, tmp_path: Path) -> None:
    def join() -> None:
        (limited / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-m", "dip_lightning", "trainer=cpu", "precision=fp64", "iterations=1", "size=full"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=join)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "GB more memory: expected at most" in line
