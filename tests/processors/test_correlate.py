"""The correlate processor: what passes, what is added, and how time goes on."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tapio_otel.component import Kind
from tapio_otel.config.problem import ConfigError
from tapio_otel.correlation.examples import BEGINNING
from tapio_otel.correlation.listeners import TARGET_UNIT, Listeners, Listening
from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.processors.correlate import CorrelateConfig, CorrelateProcessor
from tapio_otel.processors.correlate.clock import EventClock
from tests.components import context
from tests.correlation.incidents import at, happening, oom, restart

SECOND = 1_000_000_000


class Clock:
    """Be both clocks, set by hand: seconds after the beginning."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    def monotonic(self) -> float:
        return self.seconds

    def wall_ns(self) -> int:
        return BEGINNING + round(self.seconds * SECOND)


def processor(clock=None, provided=None, listeners=None, **options):
    """Return the processor with these options and clocks."""
    clock = clock or Clock()
    surroundings = context(Kind.PROCESSOR, "correlate", provided or {})
    return CorrelateProcessor(surroundings, CorrelateConfig(**options), clock.monotonic, clock.wall_ns, listeners)


def test_events_pass_unchanged_and_at_once():
    """The same list, the same objects."""
    batch = [oom(0), restart(1), happening(2, "journald", "log")]
    copies = [one.copy() for one in batch]
    passed = processor().process(batch)
    assert passed is batch
    assert passed == copies


def test_a_finding_comes_behind_the_events_that_let_time_go_on():
    """The batch with the first event later than the lateness has it at its end."""
    one = processor()
    one.process([oom(0), restart(1)])
    last = happening(7, "journald", "log")
    *events, finding = one.process([last])
    assert (events, finding.type, finding.get("rule")) == ([last], "correlation", "oom_cascade")


def test_a_finding_comes_without_further_events_when_the_lateness_is_over():
    """Live, the wall clock moves time."""
    clock = Clock(1)
    one = processor(clock)
    one.process([oom(0), restart(1)])
    assert one.flush(final=False) == []
    clock.seconds = 6.5
    assert [finding.get("rule") for finding in one.flush(final=False)] == ["oom_cascade"]


def test_a_clock_that_is_set_back_stops_nothing():
    """An agent that starts before the time is known has a clock that is hours ahead; what is open then is told at once."""
    clock = Clock(7200)
    one = processor(clock)
    one.process([oom(7200), restart(7201)])
    clock.seconds = 10
    assert one.flush(final=False) == []
    *_, before = one.process([oom(9, "pod/prod/a")])
    one.process([restart(10, "pod/prod/a", source="kubernetes")])
    one.process([happening(10, "kubernetes", "container_restart", "pod/prod/a", restart_count=1)])
    clock.seconds = 17
    (after,) = one.flush(final=False)
    assert [found.entity.name for found in (before, after)] == ["web.service", "a"]


def test_a_replay_of_old_events_is_not_made_late_by_the_clock():
    """Time is the events' own while they come, and goes on by itself once none has come for ten seconds."""
    clock = Clock(1_000_000)
    one = processor(clock)
    one.process([oom(0)])
    clock.seconds += 9
    assert one.flush(final=False) == []
    one.process([restart(1)])
    assert one.context.counters.counts["correlation_late"] == 0
    clock.seconds += 10
    assert len(one.flush(final=False)) == 1


def test_the_end_tells_everything():
    """What waits for the lateness is told when the pipeline drains."""
    one = processor()
    one.process([oom(0), restart(1)])
    assert len(one.flush(final=True)) == 1


def test_wrong_rules_are_told_when_the_processor_is_made(tmp_path):
    """With file, line and path."""
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - name: A\n")
    with pytest.raises(ConfigError) as raised:
        processor(rules=[str(path)], disabled_rules=["nothing"])
    assert "rules.yaml:2" in str(raised.value)


def test_examples_that_do_not_hold_are_problems(tmp_path):
    """As `tapio validate` tells them."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n  - {name: a, title: t, description: d, window: 1s, confidence: 0.5, facts: {x: {class: oom}},\n"
        "     examples: [{name: never, events: [{type: oom_kill}], findings: []}]}\n"
    )
    (problem,) = processor(rules=[str(path)]).check()
    assert (problem.line, problem.path, problem.message) == (2, "rules.a.examples", "never: expected 0 findings, found 1: t")
    assert processor().check() == []


def test_time_without_any_event_is_unknown():
    """Nothing is due before the first event."""
    clock = Clock(5)
    one = EventClock(clock.monotonic, clock.wall_ns)
    assert one.now_ns() == 0
    one.arrived(at(4))
    assert one.now_ns() == at(5)


class Sockets:
    """Be what the kernel tells of listening sockets; `asked` counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    def read(self):
        self.asked += 1
        if self.fails:
            raise PermissionError(1, "sock_diag")
        return [Listening(ip_address("127.0.0.1"), 8080, 7)]


@pytest.fixture
def sockets():
    """Return what the kernel tells."""
    return Sockets()


@pytest.fixture
def listeners(sockets, tmp_path):
    """Return listeners of a machine where web.service has the one socket."""
    mapper = EntityMapper(tmp_path)
    mapper.learn_cgroup(7, "/system.slice/web.service", "unified")
    vars(mapper)["node"] = EntityReference("node", "node", uid="m" * 32)  # a cached property
    return Listeners(mapper, sockets.read, lambda: BEGINNING / SECOND)


def refused():
    """Return the event of a client that did not reach the socket."""
    return happening(1, "journald", "connection_failed", "systemd_unit/shop.service", host="127.0.0.1", port=8080)


async def test_who_listens_is_told_of_what_could_not_be_reached(sockets, listeners):
    """At the start and every five seconds the kernel is asked."""
    clock = Clock()
    one = processor(clock, listeners=listeners)
    await one.start()
    (event,) = one.process([refused()])
    assert (event.get(TARGET_UNIT), sockets.asked) == ("web.service", 1)
    clock.seconds = 4
    one.flush(final=False)
    assert sockets.asked == 1
    clock.seconds = 5
    one.flush(final=False)
    assert sockets.asked == 2


async def test_nobody_is_asked_without_rules_or_without_a_start(sockets, listeners):
    """A replay tells what was recorded, and propagation alone needs no sockets."""
    played, alone = processor(Clock(100), listeners=listeners), processor(rules=[], listeners=listeners)
    await alone.start()
    for one in (played, alone):
        assert one.process([refused()])[0].get(TARGET_UNIT) is None
        one.flush(final=False)
    assert sockets.asked == 0


async def test_a_kernel_that_does_not_tell_costs_no_event(sockets, listeners, caplog):
    """It is logged, once, and asked again later."""
    sockets.fails = True
    clock = Clock()
    one = processor(clock, listeners=listeners)
    await one.start()
    clock.seconds = 5
    one.flush(final=False)
    assert (len(one.process([refused()])), sockets.asked) == (1, 2)
    assert caplog.text.count("the kernel does not tell who listens on this machine") == 1


def test_a_failing_look_up_costs_no_event(listeners, monkeypatch):
    """The event goes on as it is."""
    monkeypatch.setattr(listeners, "tell", lambda _events: 1 / 0)
    one = processor(listeners=listeners)
    assert len(one.process([refused()])) == 1
    assert one.context.counters.counts["correlation_errors:listeners"] == 1


def test_rule_files_are_read_again_when_they_change(tmp_path):
    """Directories with all that is in them; `builtin` and what does not exist are no files."""
    (tmp_path / "a.yaml").write_text("rules: []")
    config = CorrelateConfig(rules=["builtin", "plugins", str(tmp_path), "/no/such/file", "\0"])
    assert CorrelateProcessor.files_read(config) == [tmp_path, tmp_path / "a.yaml"]
