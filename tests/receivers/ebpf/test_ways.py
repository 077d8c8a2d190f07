"""Tests of choosing the way a probe looks, and of what is said where a way does not work."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pytest
from pydantic import ValidationError

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.ebpf import ways as module
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.libbpf import causes
from tapio_otel.receivers.ebpf.observations import Observation
from tapio_otel.receivers.ebpf.ways import OpenedProbes, Way, bcc_is_of_use, order, ways

OOM, DROP, RESET = ProbeName.OOM, ProbeName.NET_DROP, ProbeName.TCP_RESET


class Feed:
    """Be open until it is closed."""

    interval = 0.0

    def __init__(self, observed_by: ObservedBy, notes: Sequence[str] = (), skipped: Sequence[str] = ()) -> None:
        self.observed_by, self.notes, self.skipped = observed_by, notes, skipped
        self.closed = 0

    def fileno(self) -> int | None:
        return None

    def read(self) -> list[Observation]:
        return []

    def lost(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        self.closed += 1


def works(name: str, observed_by: ObservedBy, notes: Sequence[str] = (), skipped: Sequence[str] = ()) -> tuple[Way, list[Feed]]:
    """Return a way that works, and the feeds it will have opened."""
    opened: list[Feed] = []

    def open_one(_probe: ProbeName) -> Feed:
        opened.append(Feed(observed_by, notes, skipped))
        return opened[-1]

    return Way(name, open_one), opened


def refused(name: str, cause: str, *probes: ProbeName) -> Way:
    """Return a way that is refused to some probes (to all when none is named)."""

    def open_one(probe: ProbeName) -> Feed:
        if not probes or probe in probes:
            raise ProbeUnavailable(cause, "Do this")
        return Feed(ObservedBy.LIBBPF)

    return Way(name, open_one)


def probes(names: Sequence[ProbeName], *found: Way) -> OpenedProbes:
    """Return probes that all have the same ways, opened."""
    made = OpenedProbes({name: list(found) for name in names})
    made.open()
    return made


def told(opened: OpenedProbes, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that are written now."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        opened.tell(logging.getLogger("test"))
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_the_first_way_that_works_is_taken(caplog):
    """The later ones are not even opened, and one line says what is watched."""
    first, one = works("libbpf", ObservedBy.LIBBPF)
    second, two = works("kmsg", ObservedBy.KMSG)
    opened = probes([OOM, DROP, RESET], first, second)
    assert (len(one), len(two), opened.blind, opened.without_program, opened.summary()) == (3, 0, [], [], "")
    assert told(opened, caplog) == ["INFO watching oom, net_drop and tcp_reset by ebpf/libbpf"]
    assert told(opened, caplog) == []


def test_one_refused_program_leaves_the_others_alone(caplog):
    """Only the probe concerned is watched in a lesser way, and one line tells cause and remedy."""
    fallback, _ = works("kmsg", ObservedBy.KMSG)
    opened = probes([OOM, DROP], refused("libbpf", "the verifier refuses it", OOM), fallback)
    assert told(opened, caplog) == [
        "WARNING libbpf cannot look for oom: the verifier refuses it. Do this",
        "WARNING watched in a lesser way: oom by kmsg",
    ]
    assert told(opened, caplog) == []
    assert opened.without_program == [OOM]


def test_one_refused_program_of_two_is_told_and_counted(caplog):
    """The probe goes on with the other, but is not whole."""
    partly, _ = works("libbpf", ObservedBy.LIBBPF, skipped=["'tcp_receive_reset' is refused. Do this"])
    opened = probes([RESET], partly)
    line = "libbpf looks for tcp_reset without one of its programs: 'tcp_receive_reset' is refused. Do this"
    assert told(opened, caplog) == [f"WARNING {line}", "WARNING watched in part: tcp_reset by ebpf/libbpf"]
    assert (opened.without_program, opened.missing_programs()) == ([RESET], line)


def test_the_same_cause_is_told_once_for_all_probes():
    """Without rights there is one line, not five."""
    opened = probes([OOM, DROP], refused("libbpf", "no rights"), refused("bcc", "no rights"))
    assert [str(one) for one in opened.refusals()] == [
        "libbpf cannot look for oom, net_drop: no rights. Do this",
        "bcc cannot look for oom, net_drop: no rights. Do this",
    ]
    assert opened.summary() == "not watched: oom and net_drop"


def test_notes_of_a_lesser_way_are_part_of_the_summary(caplog):
    """Those of the best are lines of their own, the same of several probes once."""
    lesser, _ = works("memory.events", ObservedBy.MEMORY_EVENTS, ["short lives are not seen"])
    best, _ = works("libbpf", ObservedBy.LIBBPF, ["there is no such namespace"])
    opened = OpenedProbes({OOM: [refused("kmsg", "no rights"), lesser], DROP: [best], RESET: [best]})
    opened.open()
    assert told(opened, caplog) == [
        "WARNING kmsg cannot look for oom: no rights. Do this",
        "WARNING net_drop and tcp_reset: there is no such namespace",
        "WARNING watched in a lesser way: oom by memory.events (short lives are not seen)",
    ]


def test_a_feed_that_fails_is_closed_and_replaced_by_the_next_best():
    """At last nothing is left, and that is said."""
    first, one = works("libbpf", ObservedBy.LIBBPF)
    second, two = works("kmsg", ObservedBy.KMSG)
    opened = probes([OOM], first, refused("bcc", "no headers"), second)
    opened.replace(OOM, "read failed")
    assert (one[0].closed, opened.feeds, opened.summary()) == (1, {OOM: two[0]}, "watched in a lesser way: oom by kmsg")
    opened.replace(OOM, "read failed too")
    assert (two[0].closed, opened.blind) == (1, [OOM])
    assert [one.cause for one in opened.refusals()] == ["read failed", "no headers", "read failed too"]


def test_trying_again_writes_nothing_until_something_changes(caplog):
    """Neither more lines nor longer ones."""
    state = {"works": False}

    def open_one(_probe: ProbeName) -> Feed:
        if not state["works"]:
            raise ProbeUnavailable("no file", "Mount it")
        return Feed(ObservedBy.LIBBPF)

    opened = probes([OOM, DROP], Way("libbpf", open_one))
    before = [str(one) for one in opened.refusals()]
    assert len(told(opened, caplog)) == 2
    for _ in range(3):
        opened.open()
        assert [str(one) for one in opened.refusals()] == before
        assert told(opened, caplog) == []
    state["works"] = True
    opened.open()
    assert told(opened, caplog) == ["INFO watching oom and net_drop by ebpf/libbpf"]
    assert opened.refusals() == []
    opened.close()


def test_giving_up_tells_all_in_one_line_that_is_not_told_again(caplog):
    """For the supervisor to write it."""
    opened = probes([OOM], refused("libbpf", "no rights"), refused("kmsg", "no file"))
    assert opened.give_up() == "libbpf cannot look for oom: no rights. Do this; kmsg cannot look for oom: no file. Do this"
    assert told(opened, caplog) == []


def test_a_way_that_breaks_is_as_good_as_one_that_is_refused():
    """The error is named, with what helps against programs that do not fit the agent; the next way is tried."""
    fallback, _ = works("kmsg", ObservedBy.KMSG)

    def breaks(_probe: ProbeName) -> Feed:
        raise KeyError("oom.bpf.o has no map 'records'")

    opened = probes([OOM], Way("libbpf", breaks), Way("bcc", breaks), fallback)
    assert [(one.cause, one.remedy) for one in opened.refusals()] == [
        ("KeyError: oom.bpf.o has no map 'records'", "Build the programs anew with `make bpf`, or reinstall the package"),
        ("KeyError: oom.bpf.o has no map 'records'", ""),
    ]
    assert opened.summary() == "watched in a lesser way: oom by kmsg"


def test_a_way_that_is_of_no_use_is_passed_over_in_silence():
    """What cannot help needs no line that says so."""
    bcc, opened_bcc = works("bcc", ObservedBy.BCC)
    fallback, _ = works("kmsg", ObservedBy.KMSG)
    opened = probes([OOM], refused("libbpf", "no rights"), Way("bcc", bcc.open, lambda: False), fallback)
    assert (opened_bcc, [one.way for one in opened.refusals()]) == ([], ["libbpf"])


AUTO = {"oom": ["libbpf", "kmsg", "bcc", "memory.events"], "cpu_throttle": ["libbpf", "cpu.stat"]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, AUTO | {"net_drop": ["libbpf", "bcc", "proc/net"]}),
        ({"loader": "none"}, {"oom": ["kmsg", "memory.events"], "cpu_throttle": ["cpu.stat"], "net_drop": ["proc/net"]}),
        ({"loader": "bcc"}, {"oom": ["bcc", "kmsg", "memory.events"], "cpu_throttle": ["cpu.stat"]}),
        ({"loader": "bcc", "fallback": False}, {"oom": ["bcc"], "cpu_throttle": ["bcc"]}),
        ({"loader": "bcc", "required": True}, {"cpu_throttle": ["bcc", "cpu.stat"]}),
        ({"required": True}, {"oom": ["libbpf", "bcc", "kmsg", "memory.events"], "cpu_throttle": ["libbpf", "cpu.stat"]}),
        ({"fallback": False}, {"oom": ["libbpf", "bcc"], "cpu_throttle": ["libbpf"]}),
        ({"loader": "libbpf"}, {"oom": ["libbpf", "kmsg", "memory.events"]}),
    ],
)
def test_the_order_is_that_of_how_much_a_way_tells(options, expected):
    """BCC never sees throttling; programs come first where they are required."""
    config = EbpfConfig.model_validate(options)
    assert {name: order(ProbeName(name), config) for name in expected} == expected
    opened = ways(config, EntityMapper())
    assert {name: [way.name for way in opened[ProbeName(name)]] for name in expected} == expected


def test_the_lesser_of_the_ways_without_a_program_is_degraded(tmp_path):
    """With `loader: none` nothing better than the kernel's log can be had, but that can."""
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory")
    options = {"loader": "none", "probes": {name: {"enabled": False} for name in ("net_drop", "tcp_retransmit", "tcp_reset")}}
    opened = OpenedProbes(ways(EbpfConfig.model_validate(options), EntityMapper(tmp_path)))
    opened.open()
    assert opened.summary() == "watched in a lesser way: oom by memory.events"
    assert [one.way for one in opened.refusals()] == ["kmsg"]
    opened.close()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").write_text("")
    opened.open()
    assert opened.summary() == ""
    opened.close()


@pytest.mark.parametrize(
    ("btf", "bar", "expected"),
    [(None, None, True), (b"", None, True), (b"BTF", None, False), (None, ProbeUnavailable("no rights"), False)],
)
def test_bcc_is_of_use_without_btf_only_and_with_the_rights(monkeypatch, tmp_path, btf, bar, expected):
    """Elsewhere it costs 60 MB to fail as libbpf did."""
    if btf is not None:
        (tmp_path / "vmlinux").write_bytes(btf)
    monkeypatch.setattr(causes, "BTF", tmp_path / "vmlinux")
    monkeypatch.setattr(causes, "missing_rights", lambda: bar)
    assert bcc_is_of_use() is expected
    (*_, bcc, _) = ways(EbpfConfig(), EntityMapper())[DROP]
    assert (bcc.name, bcc.is_of_use()) == ("bcc", expected)
    (bcc, *_) = ways(EbpfConfig(loader="bcc"), EntityMapper())[DROP]
    assert bcc.is_of_use()


@pytest.mark.parametrize(
    ("options", "advice"),
    [({"required": True}, "set required: false"), ({"fallback": False}, "set fallback: true")],
)
def test_options_that_contradict_each_other_are_refused(options, advice):
    """The message says what to change."""
    with pytest.raises(ValidationError, match=advice):
        EbpfConfig.model_validate({"loader": "none", **options})


def test_what_was_told_is_not_kept_without_bound():
    """Causes may differ each time."""
    opened = probes([OOM], refused("libbpf", "no rights"))
    for number in range(1000):
        opened._remember([("libbpf", str(number))])
    assert len(opened._told) <= module._MOST_TOLD + 1


def test_a_start_that_is_interrupted_leaves_nothing_open():
    """What was opened before it is released."""
    first, one = works("libbpf", ObservedBy.LIBBPF)

    def interrupted(_probe: ProbeName) -> Feed:
        if one:
            raise KeyboardInterrupt
        return first.open(_probe)  # type: ignore[return-value]

    opened = OpenedProbes({name: [Way("libbpf", interrupted)] for name in (OOM, DROP)})
    with pytest.raises(KeyboardInterrupt):
        opened.open()
    assert (one[0].closed, opened.feeds) == (1, {})


def test_closing_twice_is_safe():
    """Every feed is closed once."""
    first, one = works("libbpf", ObservedBy.LIBBPF)
    opened = probes([OOM], first)
    opened.close()
    opened.close()
    assert one[0].closed == 1
