"""Tests of CPU throttling told by cpu.stat, v2 by stand-ins and v1 by the real one too."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf.fallback import cpu_stat
from tapio_otel.receivers.ebpf.fallback.cgroups import parse_counts
from tapio_otel.receivers.ebpf.fallback.cpu_stat import CpuStatFeed, parse_cpu_max, parse_cpu_stat
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import CgroupFacts, CpuThrottle
from tests.receivers.ebpf.fallback.machine import burn, open_descriptors, real_cgroup, require_v1, unified, write

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every reading look for cgroups, so that no test waits."""
    monkeypatch.setattr(cpu_stat, "WALK_INTERVAL", 0.0)
    yield


def stat(periods: int, throttled: int, throttled_us: int, usage_us: int = 0) -> str:
    """Return a v2 cpu.stat."""
    return (
        f"usage_usec {usage_us}\nuser_usec 1\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {throttled_us}\n"
    )


def cgroup(base: Path, path: str, *counters: int, limit: str = "max 100000") -> None:
    """Write a v2 cgroup's files."""
    write(base / path, {"cpu.stat": stat(*counters), "cpu.max": f"{limit}\n"})


def read(feed: CpuStatFeed) -> dict[str, CpuThrottle]:
    """Return what was read, by path."""
    return {one.cgroup.path: one for one in feed.read() if isinstance(one, CpuThrottle)}


def settled(counters: Path) -> bytes:
    """Return what the kernel counted once it counts no more: the period's timer runs on after the last process has gone."""
    for _ in range(100):
        before = counters.read_bytes()
        time.sleep(0.1)
        if counters.read_bytes() == before:
            return before
    raise AssertionError(f"{counters} does not come to rest")


def end_window(feed: CpuStatFeed) -> dict[str, CpuThrottle]:
    """Let the window be over, and read."""
    feed._window_ns = 0
    return read(feed)


def test_a_window_sums_up_what_a_v2_cgroup_was_throttled(tmp_path: Path) -> None:
    """Readings within the window tell nothing; at its end there is one sum for each cgroup that was throttled."""
    base = unified(tmp_path)
    cgroup(base, "a.slice/a", 10, 5, 1000, 7000, limit="20000 100000")
    cgroup(base, "b", 100, 0, 0, 9000)
    feed = CpuStatFeed(tmp_path, HOUR)
    assert feed.observed_by is ObservedBy.CPU_STAT and feed.fileno() is None and feed.interval == 1.0
    cgroup(base, "a.slice/a", 15, 8, 1500, 8000, limit="20000 100000")
    cgroup(base, "b", 200, 0, 0, 9900)
    assert read(feed) == {}
    cgroup(base, "a.slice/a", 20, 9, 1700, 8100, limit="30000 100000")
    [throttle] = end_window(feed).values()
    assert throttle == CpuThrottle(
        throttle.time_ns,
        CgroupFacts((base / "a.slice/a").stat().st_ino, "/a.slice/a"),
        throttle.window_ns,
        throttled_ns=700_000,
        periods=10,
        throttled_periods=4,
        runtime_ns=1_100_000,
        quota_ns=30_000_000,
        period_ns=100_000_000,
    )
    assert 0 < throttle.window_ns < 120_000_000_000 and end_window(feed) == {}
    feed.close()


def test_a_new_cgroup_counts_from_its_making(tmp_path: Path) -> None:
    """What it counted before it was found belongs to the window in which it was made."""
    base = unified(tmp_path)
    feed = CpuStatFeed(tmp_path, HOUR)
    cgroup(base, "new", 3, 2, 50, 60, limit="1000 10000")
    [throttle] = end_window(feed).values()
    assert (throttle.periods, throttle.throttled_periods, throttle.throttled_ns, throttle.runtime_ns) == (3, 2, 50_000, 60_000)
    assert throttle.quota_ns == 1_000_000
    feed.close()


def test_a_cgroup_that_has_gone_is_told_with_what_it_had(tmp_path: Path) -> None:
    """What was read of it before it went is part of the window's sums."""
    base = unified(tmp_path)
    cgroup(base, "a", 0, 0, 0, limit="5000 10000")
    feed = CpuStatFeed(tmp_path, HOUR)
    cgroup(base, "a", 9, 8, 7, limit="5000 10000")
    assert read(feed) == {}
    shutil.rmtree(base / "a")
    assert read(feed) == {}
    [throttle] = end_window(feed).values()
    assert (throttle.cgroup.path, throttle.periods, throttle.throttled_ns, throttle.quota_ns) == ("/a", 9, 7000, 5_000_000)
    assert end_window(feed) == {}
    feed.close()


def test_a_controller_taken_away_and_given_back_counts_from_0(tmp_path: Path) -> None:
    """Counters that fell began again; cpu.stat without the controller has no such counters."""
    base = unified(tmp_path)
    cgroup(base, "a", 50, 40, 30)
    feed = CpuStatFeed(tmp_path, HOUR)
    write(base / "a", {"cpu.stat": "usage_usec 5\n"})
    assert read(feed) == {}
    cgroup(base, "a", 4, 3, 2)
    [throttle] = end_window(feed).values()
    assert (throttle.periods, throttle.throttled_periods, throttle.throttled_ns) == (4, 3, 2000)
    feed.close()


def test_a_v1_stand_in_is_read(tmp_path: Path) -> None:
    """v1 has nanoseconds, a file each for quota and period, and the usage in another hierarchy."""
    base = tmp_path / "sys/fs/cgroup"
    text = "nr_periods {}\nnr_throttled {}\nthrottled_time {}\n"
    write(base / "cpu,cpuacct", {"cpu.stat": text.format(0, 0, 0), "a/cpu.stat": text.format(1, 1, 5), "b/cpu.stat": ""})
    write(base / "cpu,cpuacct/a", {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n", "cpuacct.usage": "77\n"})
    feed = CpuStatFeed(tmp_path, HOUR)
    write(base / "cpu,cpuacct/a", {"cpu.stat": text.format(3, 2, 123), "cpuacct.usage": "100\n"})
    [throttle] = end_window(feed).values()
    assert (throttle.periods, throttle.throttled_periods, throttle.throttled_ns) == (2, 1, 118)
    assert (throttle.runtime_ns, throttle.quota_ns, throttle.period_ns) == (23, None, 100_000_000)
    feed.close()


def test_without_an_accounted_usage_there_is_no_runtime(tmp_path: Path) -> None:
    """A usage that only comes later is not taken for that of the window."""
    base = tmp_path / "sys/fs/cgroup"
    write(base, {"cpu/a/cpu.stat": "nr_throttled 1\n", "cpuacct/cpuacct.usage": "5\n"})
    feed = CpuStatFeed(tmp_path, HOUR)
    write(base, {"cpu/a/cpu.stat": "nr_throttled 2\n"})
    assert [one.runtime_ns for one in end_window(feed).values()] == [None]
    write(base, {"cpu/a/cpu.stat": "nr_throttled 3\n", "cpuacct/a/cpuacct.usage": "1000\n"})
    assert [one.runtime_ns for one in end_window(feed).values()] == [None]
    write(base, {"cpu/a/cpu.stat": "nr_throttled 4\n", "cpuacct/a/cpuacct.usage": "1010\n"})
    assert [one.runtime_ns for one in end_window(feed).values()] == [10]
    feed.close()


READINGS = st.lists(st.tuples(*[st.integers(0, 1000)] * 4, st.booleans()), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(READINGS)
def test_the_sums_are_the_counters_differences(
    tmp_path_factory: pytest.TempPathFactory, readings: list[tuple[int, ...]]
) -> None:
    """However readings and windows fall, the sums of all windows are what the counters rose by."""
    root = tmp_path_factory.mktemp("root")
    base = unified(root)
    total = [50, 40, 30, 20]
    cgroup(base, "a", *total)
    feed = CpuStatFeed(root, HOUR)
    sums = [0, 0, 0]
    for *rises, ends in [*readings, (0, 1, 1, 0, True)]:
        total = [old + rise for old, rise in zip(total, rises, strict=True)]
        cgroup(base, "a", *total)
        feed._window_ns = 0 if ends else 10**15
        for one in read(feed).values():
            sums = [sums[0] + one.periods, sums[1] + one.throttled_periods, sums[2] + one.throttled_ns]
    feed.close()
    # A window without throttling is not told, so periods may be missing from the sums.
    assert sums[1:] == [total[1] - 40, (total[2] - 30) * 1000] and sums[0] <= total[0] - 50


@given(st.binary())
def test_any_content_is_read_without_failing(content: bytes) -> None:
    """Nothing is raised, whatever the files hold."""
    assert set(parse_cpu_stat(content)) >= {"periods", "throttled_periods", "throttled_ns"}
    assert len(parse_cpu_max(content)) == 2
    assert all(value >= 0 for value in parse_counts(content).values())


def test_overlong_numbers_are_no_numbers() -> None:
    """Python refuses to read thousands of digits; the kernel writes at most twenty."""
    assert parse_counts(b"a " + b"9" * 5000 + b"\nb 3\nc -1\nd\ne 1 2\n") == {"b": 3}


def test_a_host_without_cgroups_is_told(tmp_path: Path) -> None:
    """The message says which directory and what to do."""
    with pytest.raises(ProbeUnavailable, match="no cgroups with the cpu controller") as error:
        CpuStatFeed(tmp_path, 1.0)
    assert error.value.remedy


def test_closing_twice_releases_everything_once(tmp_path: Path) -> None:
    """A closed feed reads nothing and holds nothing."""
    base = unified(tmp_path)
    cgroup(base, "a", 1, 1, 1)
    before = open_descriptors()
    feed = CpuStatFeed(tmp_path, HOUR)
    assert open_descriptors() != before
    feed.close()
    feed.close()
    assert feed.read() == [] and open_descriptors() == before and feed.lost() == {}


def test_real_throttling_equals_cpu_stat() -> None:
    """A busy loop with a tenth of a CPU is told with exactly what cpu.stat counted, over several windows."""
    cpu = require_v1("cpu")
    with real_cgroup(cpu) as limited:
        (limited / "cpu.cfs_period_us").write_text("20000")
        (limited / "cpu.cfs_quota_us").write_text("2000")
        feed = CpuStatFeed(Path("/"), HOUR)
        found = []
        for _ in range(2):
            burn(limited, 0.3)
            settled(limited / "cpu.stat")
            found.append(end_window(feed)[f"/{limited.name}"])
        expected = parse_cpu_stat(settled(limited / "cpu.stat"))
        identity = limited.stat().st_ino
        feed.close()
    assert {one.cgroup for one in found} == {CgroupFacts(identity, f"/{limited.name}")}
    assert {(one.quota_ns, one.period_ns) for one in found} == {(2_000_000, 20_000_000)}
    sums = {name: sum(getattr(one, name) for one in found) for name in expected}
    assert sums == expected and sums["throttled_periods"] > 4
