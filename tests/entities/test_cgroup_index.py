"""The index of the cgroup tree: ids of every hierarchy, what has gone, what the kernel told, and how often it looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapio_otel.entities import cgroup_index
from tapio_otel.entities.cgroup_index import CgroupIndex, walk
from tests.entities.trees import MOUNT, Clock, RealCgroups, make_hybrid, make_unified


def number(directory: Path) -> int:
    """Return a cgroup's id."""
    return directory.stat().st_ino


@pytest.fixture
def clock() -> Clock:
    """Give a test a clock of its own."""
    return Clock()


def test_every_cgroup_of_a_unified_tree_is_known_by_its_id(tmp_path: Path, clock: Clock) -> None:
    """Paths are relative to the mount point; files, links and escapes do not matter."""
    mount = make_unified(tmp_path)
    deep = mount / r"system.slice/system-serial\x2dgetty.slice/a@b.service/worker"
    deep.mkdir(parents=True)
    (mount / "link").symlink_to("system.slice")
    index = CgroupIndex(mount, clock)
    assert index.path(number(deep)) == r"/system.slice/system-serial\x2dgetty.slice/a@b.service/worker"
    assert index.path(number(mount / "system.slice")) == "/system.slice"
    assert index.path(number(mount)) == "/"
    assert index.path(number(mount / "cgroup.controllers")) is None
    assert index.unified


def test_a_controllers_name_makes_no_difference_in_a_unified_tree(tmp_path: Path, clock: Clock) -> None:
    """All controllers are in the one hierarchy."""
    mount = make_unified(tmp_path)
    (mount / "a").mkdir()
    index = CgroupIndex(mount, clock)
    assert {index.path(number(mount / "a"), controller) for controller in ("", "memory", "cpu", "unified")} == {"/a"}


def test_one_path_has_an_id_in_every_hierarchy_of_version_1(tmp_path: Path, clock: Clock) -> None:
    """All go in, and each is found by the controllers of its hierarchy."""
    hierarchies = make_hybrid(tmp_path)
    for hierarchy in hierarchies.values():
        (hierarchy / "docker").mkdir()
    index = CgroupIndex(tmp_path / "sys/fs/cgroup", clock)
    assert len({number(one / "docker") for one in hierarchies.values()}) == 4
    assert {index.path(number(one / "docker")) for one in hierarchies.values()} == {"/docker"}
    memory = number(hierarchies["memory"] / "docker")
    assert index.path(memory, "memory") == "/docker"
    assert [index.path(memory, other) for other in ("cpu", "name=systemd", "pids")] == [None, None, None]
    for controller in ("cpu", "cpuacct"):
        assert index.path(number(hierarchies["cpu,cpuacct"] / "docker"), controller) == "/docker"
    assert index.path(number(hierarchies["unified"] / "docker"), "pids") == "/docker"  # on no hierarchy of version 1
    assert [next(iter(one.controllers)) for one in index.hierarchies][:3] == ["unified", "name=systemd", "memory"]
    assert not index.unified


def test_the_tree_is_looked_at_only_now_and_then_for_unknown_ids(tmp_path: Path, clock: Clock) -> None:
    """A flood of ids that nobody knows costs little."""
    mount = make_unified(tmp_path)
    index = CgroupIndex(mount, clock)
    assert index.path(1 << 60) is None
    (mount / "new").mkdir()
    new = number(mount / "new")
    assert index.path(new) is None
    clock.now += 0.3
    assert index.path(new) == "/new"


def test_an_id_that_was_not_found_makes_it_look_again_only_after_seconds(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to a cgroup that has gone, and will not come."""
    looks: list[str] = []

    def noting(directory: str) -> dict[int, str]:
        looks.append(directory)
        return walk(directory)

    monkeypatch.setattr(cgroup_index, "walk", noting)
    index = CgroupIndex(make_unified(tmp_path), clock)
    for _ in range(10):
        assert index.path(1 << 60) is None
        clock.now += 0.4
    assert len(looks) == 1
    clock.now += 2
    assert index.path(1 << 60) is None
    assert len(looks) == 2


def test_a_large_tree_is_looked_at_less_often(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking may take one part in twenty of the time."""
    mount = make_unified(tmp_path)

    def slowly(directory: str) -> dict[int, str]:
        clock.now += 1
        return walk(directory)

    monkeypatch.setattr(cgroup_index, "walk", slowly)
    index = CgroupIndex(mount, clock)
    index.scan()
    (mount / "new").mkdir()
    clock.now += 19
    assert index.path(number(mount / "new")) is None
    clock.now += 2
    assert index.path(number(mount / "new")) == "/new"


def test_looking_at_all_hierarchies_costs_no_more_than_looking_at_one(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the controller of an unknown id is not known, the share of time is one for all."""
    make_hybrid(tmp_path)

    def slowly(directory: str) -> dict[int, str]:
        clock.now += 1
        return walk(directory)

    monkeypatch.setattr(cgroup_index, "walk", slowly)
    index = CgroupIndex(tmp_path / "sys/fs/cgroup", clock)
    spent = []
    for unknown in (1 << 60, 2 << 60, 3 << 60):
        before = clock.now
        assert index.path(unknown) is None
        spent.append(clock.now - before)
        clock.now += 50
    assert spent == [4, 0, 4]


def test_what_has_gone_is_known_for_a_while(tmp_path: Path, clock: Clock) -> None:
    """The kernel's events come after the end of what they tell of."""
    mount = make_unified(tmp_path)
    (mount / "gone").mkdir()
    gone = number(mount / "gone")
    index = CgroupIndex(mount, clock)
    index.scan()
    (mount / "gone").rmdir()
    index.scan()
    assert index.path(gone) == "/gone"
    clock.now += cgroup_index.TOMBSTONE_SECONDS - 1
    assert index.path(gone) == "/gone"
    clock.now += 2
    assert index.path(gone) is None
    index.scan()
    assert len(index.hierarchies[0]) == 1


def test_tombstones_are_bounded(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand short-lived cgroups a minute do not fill the memory."""
    monkeypatch.setattr(cgroup_index, "TOMBSTONES", 10)
    mount = make_unified(tmp_path)
    index = CgroupIndex(mount, clock)
    for name in range(50):
        (mount / str(name)).mkdir()
        index.scan()
        (mount / str(name)).rmdir()
    index.scan()
    assert len(index.hierarchies[0]) <= 11


def test_what_the_kernel_told_needs_no_look_at_the_tree(tmp_path: Path, clock: Clock) -> None:
    """Before the cgroup can be found, and when it never could."""
    mount = make_unified(tmp_path)
    index = CgroupIndex(mount, clock)
    index.learn(77, "/told")
    assert index.path(77) == "/told"
    clock.now += 10_000
    index.scan()
    assert index.path(77) == "/told"


def test_what_was_told_and_then_seen_goes_with_its_cgroup(tmp_path: Path, clock: Clock) -> None:
    """It becomes a tombstone like any other."""
    mount = make_unified(tmp_path)
    (mount / "a").mkdir()
    told = number(mount / "a")
    index = CgroupIndex(mount, clock)
    index.learn(told, "/a")
    index.scan()
    index.learn(told, "/a")
    (mount / "a").rmdir()
    index.scan()
    clock.now += cgroup_index.TOMBSTONE_SECONDS + 1
    index.scan()
    assert index.path(told) is None


def test_what_was_told_of_one_hierarchy_is_not_taken_for_another(tmp_path: Path, clock: Clock) -> None:
    """Ids are unique within a hierarchy only."""
    make_hybrid(tmp_path)
    index = CgroupIndex(tmp_path / "sys/fs/cgroup", clock)
    index.learn(5 << 40, "/memory/path", "memory")
    index.learn(5 << 40, "/cpu/path", "cpu")
    index.learn(6 << 40, "/some/path")
    assert index.path(5 << 40, "memory") == "/memory/path"
    assert index.path(5 << 40, "cpuacct") == "/cpu/path"
    assert index.path(6 << 40) == "/some/path"
    assert index.path(6 << 40, "memory") is None


def test_without_a_tree_only_what_was_told_is_known(tmp_path: Path, clock: Clock) -> None:
    """Nothing is mounted; once it is, it is found."""
    index = CgroupIndex(tmp_path / "sys/fs/cgroup", clock)
    assert index.path(1) is None
    assert not index.unified
    index.learn(5, "/told", "memory")
    assert index.path(5, "memory") == "/told"
    mount = make_unified(tmp_path)
    clock.now += 1
    assert index.path(number(mount)) == "/"


def test_a_tree_that_goes_while_it_is_read_is_no_error(tmp_path: Path, clock: Clock) -> None:
    """As when a file system is unmounted."""
    mount = make_unified(tmp_path)
    index = CgroupIndex(mount, clock)
    index.scan()
    (mount / "cgroup.controllers").unlink()
    mount.rmdir()
    index.scan()
    assert walk(str(mount)) == {}


def test_names_that_are_no_text_are_repaired(tmp_path: Path, clock: Clock) -> None:
    """Paths are exported as text."""
    mount = make_unified(tmp_path)
    odd = Path(f"{mount}/übung-\udcff")
    (odd / "below").mkdir(parents=True)
    index = CgroupIndex(mount, clock)
    assert index.path(number(odd / "below")) == "/übung-\ufffd/below"


names = st.from_regex(r"[a-z.@_-]{1,8}", fullmatch=True).filter(lambda name: name not in {".", ".."})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(names, min_size=1, max_size=5), max_size=12))
def test_any_tree_is_known_whole(tmp_path: Path, paths: list[list[str]]) -> None:
    """Leaves and what lies above them."""
    top = tmp_path / str(len(list(tmp_path.iterdir())))
    top.mkdir()
    for path in paths:
        top.joinpath(*path).mkdir(parents=True, exist_ok=True)
    everything = {number(one): f"/{one.relative_to(top)}" for one in top.rglob("*")}
    assert walk(str(top)) == {**everything, number(top): "/"}


def test_real_cgroups_are_found_come_and_go(real_cgroups: RealCgroups) -> None:
    """On this machine's own hierarchies."""
    index = CgroupIndex(MOUNT)
    index.scan()
    made = real_cgroups.make("a/b")
    below = real_cgroups.make("a/b/c/d")[real_cgroups.hierarchies[0]]
    index.scan()
    top = f"/{real_cgroups.name}"
    for hierarchy in real_cgroups.hierarchies:
        controller = "unified" if hierarchy in {MOUNT, MOUNT / "unified"} else hierarchy.name
        assert index.path(number(made[hierarchy]), controller) == f"{top}/a/b"
    deep = number(below)
    assert index.path(deep, "unified") == f"{top}/a/b/c/d"
    below.rmdir()
    index.scan()
    assert index.path(deep, "unified") == f"{top}/a/b/c/d"
