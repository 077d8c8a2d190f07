"""Facts about processes: read at once, of one process, whatever it is called and whenever it ends."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tapio_otel.entities.process import ProcessFacts, read_process, start_ticks
from tests.entities.trees import make_process

HYBRID = """\
9:name=systemd:/system.slice/web.service
8:pids:/system.slice
4:memory:/docker/x
3:cpu,cpuacct:/docker/x
0::/system.slice/web.service
"""


def test_a_living_process_is_described() -> None:
    """Its start is the one that its stat shows; its user the effective one."""
    stat = Path("/proc/self/stat").read_text()
    found = read_process(os.getpid())
    assert found is not None
    assert (found.pid, found.start_ticks) == (os.getpid(), int(stat.rpartition(") ")[2].split()[19]))
    assert (found.comm, found.uid) == (Path("/proc/self/comm").read_text().rstrip("\n"), os.geteuid())
    assert found.cgroup_paths
    assert all(path.startswith("/") for path in found.cgroup_paths)


def test_a_process_that_has_ended_is_none() -> None:
    """Nothing is raised; one whose parent has not taken notice still has its start."""
    process = subprocess.Popen(["sleep", "60"])
    alive = read_process(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    ended = read_process(process.pid)
    assert alive is not None
    assert ended is not None
    assert ended.start_ticks == alive.start_ticks
    process.wait()
    assert read_process(process.pid) is None


@pytest.mark.parametrize("pid", [0, -1, 1 << 40])
def test_a_pid_that_no_process_has_is_none(pid: int) -> None:
    """Nor is a directory of /proc that is no process."""
    assert read_process(pid) is None


def test_paths_are_distinct_and_those_named_after_units_come_first(tmp_path: Path) -> None:
    """The hierarchies of systemd tell units, the others what container runtimes made."""
    make_process(tmp_path, 7, HYBRID)
    assert read_process(7, str(tmp_path / "proc")) == ProcessFacts(
        7, 4711, "web", tmp_path.stat().st_uid, ("/system.slice/web.service", "/system.slice", "/docker/x")
    )


@pytest.mark.parametrize(
    ("comm", "expected"),
    [
        ("a b", "a b"),
        (") S 1 (", ") S 1 ("),
        ("(sd-pam)", "(sd-pam)"),
        ("", ""),
        ("a\nb", "a\nb"),
        ("\udcff\udcfe", "\ufffd\ufffd"),
    ],
)
def test_a_command_may_hold_anything(tmp_path: Path, comm: str, expected: str) -> None:
    """Processes choose it themselves."""
    make_process(tmp_path, 7, "0::/\n")
    (tmp_path / "proc/7/stat").write_bytes(os.fsencode(f"7 ({comm}) S " + " ".join(map(str, range(4, 40))) + "\n"))
    found = read_process(7, str(tmp_path / "proc"))
    assert found is not None
    assert (found.comm, found.start_ticks) == (expected, 22)


@pytest.mark.parametrize(
    ("cgroups", "expected"),
    [
        ("0::/a.service (deleted)\n", ("/a.service",)),
        ("0::/\n", ("/",)),
        ("", ()),
        ("garbage\n", ()),
        ("1:name=systemd:/a:b\n", ("/a:b",)),
        ("0::/" + "x" * 4000 + "\n1:cpu:/" + "y" * 4090 + "\n2:pids:/z\n", ("/" + "x" * 4000, "/" + "y" * 4090, "/z")),
    ],
)
def test_cgroup_paths_are_read_whole(tmp_path: Path, cgroups: str, expected: tuple[str, ...]) -> None:
    """Of removed cgroups without the kernel's remark; long ones too."""
    make_process(tmp_path, 7, cgroups)
    found = read_process(7, str(tmp_path / "proc"))
    assert found is not None
    assert found.cgroup_paths == expected


@pytest.mark.parametrize("stat", ["", "7", "7 (x", "7 (x) S 1 2 3\n", "7 (x) " + "S " * 40])
def test_what_is_no_stat_is_none(tmp_path: Path, stat: str) -> None:
    """A directory of another file system may be mounted in /proc's place."""
    make_process(tmp_path, 7, "0::/\n")
    (tmp_path / "proc/7/stat").write_text(stat)
    assert read_process(7, str(tmp_path / "proc")) is None


def test_the_kernels_nanoseconds_and_procs_ticks_name_the_same_start() -> None:
    """Rounded down, as the kernel does."""
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert [start_ticks(one) for one in (0, tick - 1, tick, 5 * tick + tick // 2)] == [0, 0, 1, 5]
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    process = subprocess.Popen(["sleep", "60"])
    after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    try:
        found = read_process(process.pid)
        assert found is not None
        assert start_ticks(before) <= found.start_ticks <= start_ticks(after)
    finally:
        process.kill()
        process.wait()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Neither after success nor after any failure."""
    make_process(tmp_path, 7, "0::/\n")
    make_process(tmp_path, 8, "0::/\n")
    (tmp_path / "proc/8/stat").unlink()
    make_process(tmp_path, 9, "0::/\n")
    (tmp_path / "proc/9/cgroup").unlink()
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = [read_process(pid, str(tmp_path / "proc")) for pid in (7, 8, 9, 10)]
    assert [one is None for one in found] == [False, True, True, True]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
