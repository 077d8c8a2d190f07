"""The parts of memory_limiter: what its options mean, how much memory there is and is used, and who comes in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.event import Severity
from tapio_otel.processors.memory_limiter import MemoryLimiterConfig
from tapio_otel.processors.memory_limiter.available import Available, available
from tapio_otel.processors.memory_limiter.config import MIB, limits
from tapio_otel.processors.memory_limiter.relief import Periodic, Relief
from tapio_otel.processors.memory_limiter.resident import ResidentMemory, _by_parent, children
from tapio_otel.processors.memory_limiter.sampling import FULL, Sampler, share
from tests.components import events

GIB = 1 << 30
MACHINE = 16 * GIB
UNLIMITED_V1 = "9223372036854771712\n"

# options


@pytest.mark.parametrize(
    ("options", "there", "hard", "soft"),
    [
        ({"limit_mib": 1000, "spike_limit_mib": 100}, 4 * GIB, 1000 * MIB, 900 * MIB),
        ({"limit_mib": 1000}, 4 * GIB, 1000 * MIB, 800 * MIB),
        ({"limit_percentage": 50, "spike_limit_percentage": 10}, 1000 * MIB, 500 * MIB, 400 * MIB),
        ({"limit_percentage": 50}, 1000 * MIB, 500 * MIB, 400 * MIB),
        ({"limit_mib": 100, "limit_percentage": 50}, 1000 * MIB, 100 * MIB, 80 * MIB),
        ({}, 4 * GIB, 512 * MIB, 410 * MIB),
        ({}, 100 * MIB, 80 * MIB, 64 * MIB),
        ({"limit_mib": 512}, 100 * MIB, 80 * MIB, 64 * MIB),
        ({"limit_mib": 512, "spike_limit_mib": 500}, 100 * MIB, 80 * MIB, 40 * MIB),
    ],
    ids=str,
)
def test_the_limits_follow_from_the_options_and_the_memory_there_is(options, there, hard, soft) -> None:
    """MiB go before percent, the spike is a fifth unless given, and a limit that would limit nothing gives way."""
    found = limits(MemoryLimiterConfig(**options), Available(there, "the machine"))
    assert found.hard == pytest.approx(hard, abs=MIB) and found.soft == pytest.approx(soft, abs=MIB)
    assert bool(found.problem) == (options.get("limit_mib", 0) * MIB >= there)


def test_a_limit_that_would_limit_nothing_says_what_it_is_instead() -> None:
    """The message names the option, what there is, and where that comes from."""
    problem = limits(MemoryLimiterConfig(limit_mib=512), Available(100 * MIB, "the cgroup (/x/memory.max)")).problem
    assert problem.startswith("limit_mib: 512 is not below the 100 MiB of the cgroup (/x/memory.max)")
    assert problem.endswith("the limit is 80 MiB")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spike_limit_mib": 10}, "spike_limit_mib: 10 has no limit to be below of: set limit_mib"),
        ({"limit_mib": 10, "spike_limit_mib": 10}, "leaves no soft limit: it must be less than limit_mib: 10"),
        ({"limit_percentage": 20, "spike_limit_percentage": 30}, "it must be less than limit_percentage: 20"),
        ({"limit_percentage": 101}, "less than or equal to 100"),
        ({"check_interval": "0s"}, "greater than or equal to 0.01"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_options_that_limit_nothing_are_refused(options, words) -> None:
    """The message names option, value and what to do."""
    with pytest.raises(ValidationError, match=words):
        MemoryLimiterConfig(**options)


# how much there is


class Tree:
    """Make what /proc/self tells, and cgroup hierarchies of version 1 or 2, below a directory."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.proc = room / "proc"
        self.proc.mkdir()
        self._mounts = ""

    def of(self, cgroup: str) -> Tree:
        """Set which cgroups the process is in."""
        (self.proc / "cgroup").write_text(cgroup)
        return self

    def mount(self, name: str, kind: str, options: str, root: str = "/") -> Path:
        """Mount a hierarchy."""
        place = self.room / name
        place.mkdir()
        shown = str(place).replace(" ", "\\040")
        self._mounts += f"31 23 0:28 {root} {shown} rw,nosuid - {kind} {kind} {options}\n"
        (self.proc / "mountinfo").write_text(f"1 0 0:1 / / rw - ext4 /dev/sda rw\n{self._mounts}broken line\n")
        return place

    @property
    def size(self) -> int:
        """Return the memory there is."""
        return available(self.proc, MACHINE).size


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Give a test an empty tree, in a place whose name has a blank."""
    (tmp_path / "a b").mkdir()
    return Tree(tmp_path / "a b")


def put(place: Path, **content: str) -> None:
    """Write files of a cgroup; `memory_max` is memory.max."""
    place.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (place / name.replace("memory_", "memory.", 1)).write_text(text)


def test_without_a_limit_it_is_the_machine_s_memory(tree: Tree) -> None:
    """Neither where nothing tells, nor where the cgroups say `max`."""
    assert available(tree.proc, MACHINE) == Available(MACHINE, "the machine")
    put(tree.of("0::/a\n").mount("fs", "cgroup2", "rw") / "a", memory_max="max\n", memory_high="max\n")
    assert available(tree.proc, MACHINE) == Available(MACHINE, "the machine")


def test_the_lowest_limit_on_the_way_to_the_root_counts(tree: Tree) -> None:
    """Version 2: that of the slice above counts when it is lower; being slowed down is a limit as well."""
    mount = tree.of("0::/system.slice/tapio.service\n").mount("fs", "cgroup2", "rw")
    put(mount / "system.slice/tapio.service", memory_max=f"{2 * GIB}\n", memory_high="max\n")
    assert tree.size == 2 * GIB
    put(mount / "system.slice", memory_max=f"{GIB}\n")
    assert available(tree.proc, MACHINE) == Available(GIB, f"the cgroup ({mount}/system.slice/memory.max)")
    put(mount / "system.slice/tapio.service", memory_high=f"{512 * MIB}\n")
    assert tree.size == 512 * MIB


def test_version_1_has_limits_in_the_memory_hierarchy(tree: Tree) -> None:
    """What other hierarchies say does not count, and a huge number means no limit."""
    cgroup = "5:cpu,cpuacct:/other\n4:memory:/process/x\n1:name=systemd:/\n0::/\n"
    tree.of(cgroup).mount("cpu", "cgroup", "rw,cpu,cpuacct")
    mount = tree.mount("memory", "cgroup", "rw,memory")
    put(mount / "process/x", memory_limit_in_bytes=UNLIMITED_V1)
    put(mount, memory_limit_in_bytes=UNLIMITED_V1)
    assert tree.size == MACHINE
    put(mount / "process", memory_limit_in_bytes=f"{256 * MIB}\n")
    assert tree.size == 256 * MIB


def test_a_container_finds_its_own_limit_where_its_cgroup_is_mounted(tree: Tree) -> None:
    """Version 1 without a namespace: the path is the host's, the mount begins there; the pod's limit stands in memory.stat."""
    tree.of("4:memory:/kubepods/pod1/abc\n")
    mount = tree.mount("memory", "cgroup", "rw,memory", root="/kubepods/pod1/abc")
    put(mount, memory_limit_in_bytes=UNLIMITED_V1, memory_stat=f"cache 1\nhierarchical_memory_limit {128 * MIB}\n")
    assert tree.size == 128 * MIB
    put(mount, memory_limit_in_bytes=f"{64 * MIB}\n")
    assert tree.size == 64 * MIB


@pytest.mark.parametrize("path", ["/", "/../../elsewhere", "/not/there"])
def test_a_path_outside_of_the_mount_counts_as_the_mount(tree: Tree, path: str) -> None:
    """With a namespace of its own a container sees paths that lead nowhere: its cgroup is the root that it sees."""
    put(tree.of(f"0::{path}\n").mount("fs", "cgroup2", "rw"), memory_max=f"{GIB}\n")
    assert tree.size == GIB


@given(cgroup=st.text(max_size=60), mountinfo=st.text(max_size=120))
def test_whatever_proc_tells_there_is_an_amount(tmp_path_factory, cgroup, mountinfo) -> None:
    """Nothing in these files makes it fail, or say more than the machine has."""
    proc = tmp_path_factory.mktemp("proc")
    (proc / "cgroup").write_bytes(cgroup.encode("utf-8", "surrogatepass"))
    (proc / "mountinfo").write_bytes(mountinfo.encode("utf-8", "surrogatepass"))
    assert 0 < available(proc, MACHINE).size <= MACHINE


def test_this_machine_tells_how_much_there_is() -> None:
    """The real /proc is read."""
    assert 0 < available().size <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# how much is used


@pytest.fixture
def memory():
    """Give a test a measurement without rests."""
    found = ResidentMemory(0.0)
    found.open()
    yield found
    found.close()
    found.close()


def test_what_this_process_takes_is_measured(memory: ResidentMemory) -> None:
    """64 MiB more show, and are gone when they are let go."""
    before = memory.measure()
    ballast = bytearray(b"\1") * (64 * MIB)
    assert memory.measure() - before > 48 * MIB
    del ballast
    assert memory.measure() - before < 16 * MIB


def test_what_a_process_takes_that_it_started_is_measured(memory: ResidentMemory) -> None:
    """A child's memory counts as long as it lives; a file that it maps does not."""
    before = memory.measure()
    program = "import sys\nx = bytearray(b'1') * (64 << 20)\nprint('ready', flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        memory._next_look = 0.0
        assert process.pid in children()
        assert process.pid in _by_parent(os.getpid())
        assert memory.measure() - before > 48 * MIB
        process.stdin.close()
    memory._next_look = 0.0
    assert memory.measure() - before < 32 * MIB
    assert process.pid not in children()


def test_mapped_files_count_only_so_far_as_a_program_needs(tmp_path: Path, memory: ResidentMemory) -> None:
    """The pages of a large file that is read through a mapping are the kernel's to take back."""
    import mmap

    file = tmp_path / "journal"
    file.write_bytes(b"\1" * (192 * MIB))
    before = memory.measure()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[::4096]) == 192 * MIB // 4096
        assert memory.measure() - before < 80 * MIB


def test_unopened_it_measures_nothing() -> None:
    """A limiter that was never started limits nothing."""
    assert ResidentMemory(1.0).measure() == 0


# giving back


def test_relief_rests_in_proportion_to_its_cost_and_as_long_as_asked() -> None:
    """What takes one second is due again after twenty, or after the time that is asked for."""
    now = [100.0]

    def work() -> None:
        now[0] += 1.0

    periodic = Periodic(work, lambda: now[0])
    assert periodic.run(20)
    now[0] += 19.9
    assert not periodic.run(20)
    assert not periodic.run(4, least=30.0)
    now[0] += 0.2
    assert periodic.run(20)


def test_garbage_is_collected_and_the_heap_is_trimmed() -> None:
    """A cycle goes at once; where the C library cannot trim, that is all."""
    import gc
    import weakref

    class Thing:
        pass

    relief = Relief()
    gc.collect()
    gc.disable()
    try:
        one = Thing()
        one.itself = one  # type: ignore[attr-defined]
        gone = weakref.ref(one)
        del one
        assert relief.give_back(20, 0.0)
        assert gone() is None
    finally:
        gc.enable()
    relief.open()
    relief.open()
    assert relief.give_back(0, 0.0)


# who comes in

PRESSURES = st.floats(0, 1.5)


@given(st.sampled_from(Severity), st.sampled_from(Severity), PRESSURES, PRESSURES)
def test_the_worse_the_more_and_the_less_memory_the_fewer(one, other, low, high) -> None:
    """A share never falls with severity, nor rises with pressure; before the hard limit it is nothing."""
    (mild, bad), (low, high) = sorted((one, other)), sorted((low, high))
    assert 0 <= share(mild, low) <= share(bad, low) <= 1
    assert share(bad, high) <= share(bad, low)
    assert share(bad, max(high, FULL)) == 0


def test_the_documented_rule_holds() -> None:
    """Debug goes first, then info and notice, then warnings, then errors; the rest is for what is on its way."""
    wanted = {
        Severity.DEBUG: (0, 0, 0, 0, 0, 0, 0),
        Severity.INFO: (1, 0.5, 0, 0, 0, 0, 0),
        Severity.NOTICE: (1, 0.5, 0, 0, 0, 0, 0),
        Severity.WARNING: (1, 1, 1, 0.5, 0, 0, 0),
        Severity.ERROR: (1, 1, 1, 1, 1, 0.5, 0),
        Severity.EMERGENCY: (1, 1, 1, 1, 1, 0.5, 0),
    }
    for severity, shares in wanted.items():
        assert tuple(share(severity, tenths / 10) for tenths in range(7)) == pytest.approx(shares)


@given(st.lists(st.integers(0, 40), max_size=20), st.floats(0, 0.99))
def test_a_share_is_taken_evenly_over_batches_and_in_order(sizes, pressure) -> None:
    """However events come in batches, the number that comes in is the share of all, to one; order and events stay."""
    sampler, chosen, given_ = Sampler({}), 0, 0
    for size in sizes:
        batch = events(*map(str, range(size)))
        found = sampler.choose(batch, pressure)
        assert found == [one for one in batch if any(one is other for other in found)]
        chosen, given_ = chosen + len(found), given_ + size
    assert abs(chosen - given_ * share(Severity.INFO, pressure)) <= 1 + 1e-6


def test_the_severity_is_what_the_source_s_normalizer_makes_of_an_event() -> None:
    """Receivers leave it to `normalize`: the rule asks the same normalizer, and the events stay as they are."""

    def alarm(batch: list) -> None:
        for event in batch:
            event.severity = Severity.CRITICAL

    def fail(_batch: list) -> None:
        raise ValueError

    given_ = events("a", "b", source="kernel")
    assert Sampler({"kernel": alarm}).choose(given_, 0.3) == given_
    assert {event.severity for event in given_} == {Severity.INFO}
    assert Sampler({"kernel": fail}).choose(given_, 0.3) == []
    assert Sampler({"other": alarm}).choose(given_, 0.3) == []
