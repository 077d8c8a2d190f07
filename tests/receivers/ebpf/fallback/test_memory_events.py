"""Tests of OOM kills told by the counters of memory cgroups, v2 by stand-ins and v1 by the real ones too."""

from __future__ import annotations

import os
import resource
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapio_otel.receivers.ebpf.fallback import memory_events
from tapio_otel.receivers.ebpf.fallback.memory_events import MemoryEventsFeed
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import CgroupFacts, OomKill
from tests.receivers.ebpf.fallback.machine import (
    eventually,
    limit_memory,
    open_descriptors,
    real_cgroup,
    remove_cgroup,
    require_v1,
    starve,
    unified,
    write,
)
from tests.requirements import require


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every call read and look for cgroups, so that no test waits."""
    monkeypatch.setattr(memory_events, "READ_INTERVAL", 0.0)
    monkeypatch.setattr(memory_events, "WALK_INTERVAL", 0.0)
    yield


def counts(oom: int, kills: int) -> str:
    """Return a v2 memory.events."""
    return f"low 0\nhigh 0\nmax 12\noom {oom}\noom_kill {kills}\noom_group_kill 0\n"


def cgroup(
    base: Path, path: str, own: tuple[int, int] = (0, 0), below: tuple[int, int] | None = None, limit: str = "max"
) -> None:
    """Write a v2 cgroup's files: its own (oom, oom_kill), and those with all below it."""
    write(
        base / path,
        {"memory.events.local": counts(*own), "memory.events": counts(*(below or own)), "memory.max": f"{limit}\n"},
    )


def read(feed: MemoryEventsFeed) -> list[OomKill]:
    """Return the kills that were read."""
    return [kill for kill in feed.read() if isinstance(kill, OomKill)]


def open_feed(root: Path) -> MemoryEventsFeed:
    """Open a feed that reads whenever it is asked to."""
    return MemoryEventsFeed(root, 0.0)


def test_a_limit_on_a_parent_kills_in_the_leaf(tmp_path: Path) -> None:
    """The leaf counts the kill and the parent that its limit was hit; both are told, with the limit."""
    base = unified(tmp_path)
    cgroup(base, "pod", limit="31457280")
    cgroup(base, "pod/c", own=(0, 3))
    feed = open_feed(tmp_path)
    assert feed.observed_by is ObservedBy.MEMORY_EVENTS and read(feed) == []
    cgroup(base, "pod", own=(1, 0), below=(1, 2), limit="31457280")
    cgroup(base, "pod/c", own=(0, 5))
    [kill] = read(feed)
    assert (kill.kills, kill.scope, kill.memory_limit, kill.pid, kill.memory_usage) == (2, "cgroup", 31457280, None, None)
    assert kill.cgroup == kill.memory_cgroup == CgroupFacts((base / "pod/c").stat().st_ino, "/pod/c")
    assert kill.limit_cgroup == CgroupFacts((base / "pod").stat().st_ino, "/pod")
    assert read(feed) == []
    feed.close()


def test_a_kill_without_a_limit_hit_is_global(tmp_path: Path) -> None:
    """When no cgroup above counted that its limit was hit, it was the machine's memory."""
    base = unified(tmp_path)
    cgroup(base, "a.service", limit="1000")
    feed = open_feed(tmp_path)
    cgroup(base, "a.service", own=(0, 1), limit="1000")
    [kill] = read(feed)
    assert (kill.scope, kill.memory_limit, kill.limit_cgroup) == ("global", None, CgroupFacts())
    feed.close()


def test_a_limit_seen_one_reading_before_its_kill_counts(tmp_path: Path) -> None:
    """The two counters rise one after the other, and a reading may fall between."""
    base = unified(tmp_path)
    cgroup(base, "a", limit="4096")
    feed = open_feed(tmp_path)
    cgroup(base, "a", own=(1, 0), limit="4096")
    assert read(feed) == []
    cgroup(base, "a", own=(1, 1), limit="4096")
    assert [(kill.scope, kill.memory_limit) for kill in read(feed)] == [("cgroup", 4096)]
    feed.close()


def test_a_new_cgroup_counts_from_its_making(tmp_path: Path) -> None:
    """What a cgroup counted before it was found happened after the last look."""
    base = unified(tmp_path)
    cgroup(base, "a")
    feed = open_feed(tmp_path)
    cgroup(base, "a/new", own=(1, 1), limit="100")
    [kill] = read(feed)
    assert (kill.cgroup.path, kill.kills, kill.memory_limit) == ("/a/new", 1, 100)
    feed.close()


def test_a_kill_in_a_cgroup_that_has_gone_is_told_of_its_parent(tmp_path: Path) -> None:
    """A container dies with its cgroup; the pod's counter still has the kill, and it is told once."""
    base = unified(tmp_path)
    cgroup(base, "pod")
    cgroup(base, "pod/c")
    feed = open_feed(tmp_path)
    shutil.rmtree(base / "pod/c")
    cgroup(base, "pod", own=(0, 0), below=(1, 1))
    found = [kill for _ in range(4) for kill in read(feed)]
    assert [(kill.cgroup.path, kill.kills, kill.scope) for kill in found] == [("/pod", 1, "cgroup")]
    feed.close()


def test_a_kill_between_two_files_is_told_once(tmp_path: Path) -> None:
    """Of a kill that the leaf's reading just missed, the parent's tells first: the next reading finds whose it is."""
    base = unified(tmp_path)
    cgroup(base, "pod")
    cgroup(base, "pod/c")
    feed = open_feed(tmp_path)
    cgroup(base, "pod", below=(1, 1))
    assert read(feed) == []
    cgroup(base, "pod/c", own=(1, 1))
    found = [kill for _ in range(4) for kill in read(feed)]
    assert [(kill.cgroup.path, kill.kills) for kill in found] == [("/pod/c", 1)]
    feed.close()


def test_kernels_without_local_counts_are_read_too(tmp_path: Path) -> None:
    """Before 5.2 memory.events has a cgroup's own counts."""
    base = unified(tmp_path)
    write(base / "a", {"memory.events": counts(0, 0), "memory.max": "5000"})
    feed = open_feed(tmp_path)
    write(base / "a", {"memory.events": counts(1, 1)})
    assert [(kill.cgroup.path, kill.memory_limit) for kill in read(feed)] == [("/a", 5000)]
    feed.close()


def test_a_cgroup_made_again_under_its_name_is_another(tmp_path: Path) -> None:
    """The counts of the new one begin at 0."""
    base = unified(tmp_path)
    cgroup(base, "a", own=(5, 5))
    feed = open_feed(tmp_path)
    (base / "a").rename(tmp_path / "old")
    cgroup(base, "a", own=(1, 1))
    assert [kill.kills for kill in read(feed)] == [1]
    feed.close()


def test_half_written_files_and_strange_names_do_no_harm(tmp_path: Path) -> None:
    """A stand-in may be caught empty; a name may be no UTF-8."""
    base = unified(tmp_path)
    cgroup(base, "a", own=(1, 1))
    odd = Path(os.fsdecode(bytes(base) + b"/\xff"))
    cgroup(base, odd.name)
    feed = open_feed(tmp_path)
    (base / "a/memory.events.local").write_text("")
    cgroup(base, odd.name, own=(0, 1))
    assert [kill.cgroup.path for kill in read(feed)] == ["/\N{REPLACEMENT CHARACTER}"]
    cgroup(base, "a", own=(2, 2))
    assert [kill.kills for kill in read(feed)] == [1]
    feed.close()


def test_more_cgroups_than_descriptors_are_watched(tmp_path: Path) -> None:
    """At most a quarter of the process's descriptors is kept; the other files are opened for each reading."""
    base = unified(tmp_path)
    for number in range(60):
        cgroup(base, f"c{number}")
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        feed = open_feed(tmp_path)
        assert len(open_descriptors()) <= len(before) + 51
        for number in range(60):
            cgroup(base, f"c{number}", own=(1, 1))
        assert len(read(feed)) == 60
        feed.close()
        feed.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before and feed.read() == [] and feed.fileno() is None


def test_a_change_of_a_kernels_file_wakes_the_reader(tmp_path: Path) -> None:
    """The descriptor is readable after a change, once, and not before. (cgroup.events stands in for memory.events.)"""
    hierarchy = Path("/sys/fs/cgroup/unified")
    require("root", os.geteuid() == 0, "making cgroups takes root")
    require("root", (hierarchy / "cgroup.procs").exists(), f"no cgroup v2 hierarchy at {hierarchy}")
    base = unified(tmp_path)
    with real_cgroup(hierarchy) as real:
        (base / "a").mkdir()
        for name in ("memory.events.local", "memory.events"):
            (base / "a" / name).symlink_to(real / "cgroup.events")
        feed = open_feed(tmp_path)
        descriptor = feed.fileno()
        assert descriptor is not None
        feed.read()
        assert select.select([descriptor], [], [], 0)[0] == []
        with subprocess.Popen(["sleep", "60"]) as process:
            (real / "cgroup.procs").write_text(str(process.pid))
            assert select.select([descriptor], [], [], 20)[0] == [descriptor]
            feed.read()
            assert select.select([descriptor], [], [], 0)[0] == []
            process.kill()
        assert select.select([descriptor], [], [], 20)[0] == [descriptor]
        feed.read()
        remove_cgroup(real)
        eventually(lambda: not feed.read() and not select.select([descriptor], [], [], 0)[0])
        feed.close()


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({}, "no cgroups with the memory controller"),
        ({"sys/fs/cgroup/cgroup.controllers": "cpu io\n"}, "no cgroups with the memory controller"),
        ({"sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, "counts no OOM kills"),
    ],
)
def test_where_it_does_not_work_the_cause_is_told(tmp_path: Path, files: dict[str, str], cause: str) -> None:
    """No cgroups, no controller, or a kernel before 4.13."""
    write(tmp_path, files)
    before = open_descriptors()
    with pytest.raises(ProbeUnavailable, match=cause) as error:
        open_feed(tmp_path)
    assert error.value.remedy and open_descriptors() == before


@pytest.mark.parametrize("is_unified", [True, False])
def test_v1_notes_what_it_cannot_see(tmp_path: Path, is_unified: bool) -> None:
    """There, no cgroup above counts the kills of one that has gone before it was found."""
    if is_unified:
        unified(tmp_path)
    else:
        write(tmp_path, {"sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"})
    feed = open_feed(tmp_path)
    assert list(feed.notes) == ([] if is_unified else ["kills in cgroups that live less than 2 s are not seen"])
    feed.close()


def test_a_v1_stand_in_is_read(tmp_path: Path) -> None:
    """In v1 the limit that was hit is the nearest one that the highest usage came up to."""
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
    files = {
        "memory.oom_control": control.format(0),
        "a/memory.oom_control": control.format(0),
        "a/memory.limit_in_bytes": "4194304",
        "a/memory.max_usage_in_bytes": "4194304",
        "a/b/memory.oom_control": control.format(7),
        "a/b/memory.limit_in_bytes": "9223372036854771712",
        "a/b/memory.max_usage_in_bytes": "4100000",
        "c/memory.oom_control": control.format(0),
        "c/memory.limit_in_bytes": "9223372036854771712",
        "c/memory.max_usage_in_bytes": "4100000",
    }
    base = tmp_path / "sys/fs/cgroup/memory"
    write(base, files)
    feed = open_feed(tmp_path)
    assert feed.fileno() is None and read(feed) == []
    write(base, {"a/b/memory.oom_control": control.format(8), "c/memory.oom_control": control.format(1)})
    found = {kill.cgroup.path: (kill.kills, kill.scope, kill.memory_limit, kill.limit_cgroup.path) for kill in read(feed)}
    assert found == {"/a/b": (1, "cgroup", 4194304, "/a"), "/c": (1, "global", None, "")}
    feed.close()


def test_a_real_kill_is_counted() -> None:
    """A process killed in a cgroup of 30 MiB is told by the leaf it was in, with the parent's limit."""
    memory = require_v1("memory")
    with real_cgroup(memory) as parent:
        leaf = parent / "leaf"
        leaf.mkdir()
        limit_memory(parent, 30 << 20)
        feed = open_feed(Path("/"))
        starve(leaf)
        found = [kill for kill in read(feed) if kill.cgroup.path.startswith(f"/{parent.name}")]
        ids = leaf.stat().st_ino, parent.stat().st_ino
        feed.close()
    [kill] = found
    assert (kill.kills, kill.scope, kill.memory_limit) == (1, "cgroup", 30 << 20)
    assert kill.cgroup == CgroupFacts(ids[0], f"/{parent.name}/leaf")
    assert kill.limit_cgroup == CgroupFacts(ids[1], f"/{parent.name}")
