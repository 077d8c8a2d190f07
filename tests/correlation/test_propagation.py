"""Trace propagation: who teaches, who inherits, from whom, and when it stays open."""

from __future__ import annotations

import pytest

from tapio_otel.correlation.examples import BEGINNING
from tapio_otel.correlation.propagation import (
    CERTAINTY,
    FLAGS_KEY,
    INHERITING,
    MOST_STRETCHES,
    RANKS,
    Propagation,
    confidence,
    may_inherit,
    subject_of,
    writer_of_line,
)
from tapio_otel.event import Origin, Severity, UnifiedEvent
from tapio_otel.processors import trace_context
from tests.components import CountingSink
from tests.correlation.incidents import happening

SECOND = 1_000_000_000
A, B = "a" * 32, "b" * 32
SPAN = "1" * 16


def propagation(window: float = 10, max_keys: int = 1000) -> Propagation:
    """Return what propagates, with counters in `.sink`."""
    sink = CountingSink()
    made = Propagation(round(window * SECOND), max_keys, sink)
    made.sink = sink
    return made


def log(seconds, trace=A, about="systemd_unit/web.service", span=SPAN, **told):
    """Return a log line with a trace context."""
    line = happening(seconds, "journald", "log", about, id=told.pop("id", f"log-{seconds}-{trace[0]}"), trace_id=trace, **told)
    line.span_id = span
    return line


def kernel(seconds, about="systemd_unit/web.service", **told):
    """Return an event that a probe saw."""
    return happening(seconds, "ebpf", "cpu_throttle", about, **told)


def got(one: Propagation, event: UnifiedEvent) -> str:
    """Return the trace id that an event inherits."""
    one.inherit_all(one.learn_all([event]))
    return event.trace_id


def taught(*logs, **options) -> Propagation:
    """Return what propagates after it has learnt from these."""
    one = propagation(**options)
    assert one.learn_all(logs) == []
    return one


def test_an_event_of_the_same_unit_inherits_with_its_provenance():
    """Ids and flags are the log's; where they come from, and how sure that is, is said."""
    event = kernel(4)
    one = taught(log(2, trace_flags=1, id="the log"))
    assert got(one, event) == A
    assert (event.span_id, event.get(FLAGS_KEY), event.get("tapio.trace.source")) == (SPAN, 1, "propagated")
    assert (event.get("tapio.trace.from"), event.get("tapio.trace.confidence")) == ("the log", 0.675)
    assert one.sink.counts["trace_propagated:unit"] == 1


def test_a_log_without_flags_gives_none():
    """What is not known is not made up."""
    event = kernel(1)
    assert got(taught(log(0)), event) == A
    assert event.get(FLAGS_KEY) is None


def test_the_names_are_those_of_the_trace_context_processor():
    """Whoever reads one reads the other."""
    assert (trace_context.SOURCE_KEY, trace_context.FLAGS_KEY) == ("tapio.trace.source", FLAGS_KEY)


@pytest.mark.parametrize(
    ("teaches", "asks", "rank"),
    [
        ({"about": "process/app", "pid": 7}, {"about": "node/node", "pid": 7}, "process"),
        ({"invocation_id": "i1"}, {"invocation_id": "i1"}, "run"),
        (
            {"about": "container/prod/web-0/app", "container_id": "c1"},
            {"about": "node/node", "container_id": "c1"},
            "container",
        ),
        ({}, {}, "unit"),
        ({"about": "pod/prod/web-0"}, {"about": "pod/prod/web-0"}, "pod"),
    ],
)
def test_what_joins_decides_how_sure_it_is(teaches, asks, rank):
    """Each rank has its own confidence."""
    event = kernel(0, **asks)
    assert got(taught(log(0, **teaches)), event) == A
    assert event.get("tapio.trace.confidence") == CERTAINTY[rank]


@pytest.mark.parametrize("about", ["node/node", "namespace/prod", "service/prod/web", "deployment/prod/web"])
def test_what_many_workloads_share_joins_nothing(about):
    """A node, a namespace, a service and an owner have several requests at once."""
    one = taught(log(0, about=about))
    assert got(one, kernel(0, about)) == ""
    assert one.key_count == 0


def test_the_nearest_rank_that_has_any_trace_decides():
    """The process's own trace counts, though another process of the unit has another."""
    one = taught(log(0, A, pid=7), log(0, B, pid=8))
    assert got(one, kernel(1, pid=7)) == A
    assert got(one, kernel(1, pid=8, id="other")) == B


def test_two_traces_in_the_nearest_rank_are_ambiguous():
    """The event stays as it is; it is counted."""
    one, event = taught(log(0, A), log(1, B)), kernel(2)
    before = event.copy()
    assert got(one, event) == ""
    assert event == before
    assert one.sink.counts["trace_propagation_ambiguous:traces"] == 1


def test_an_ambiguous_rank_is_not_asked_around():
    """That the pod knows one of the traces only does not make the container's two one."""
    one = taught(
        log(0, A, "container/prod/web-0/app", container_id="c"), log(0, B, "container/prod/web-0/app", container_id="c")
    )
    one.learn_all([log(1, A, "pod/prod/web-0")])
    assert got(one, kernel(1, "container/prod/web-0/app", container_id="c")) == ""


@pytest.mark.parametrize(("seconds", "inherited"), [(-10, A), (-10.1, ""), (10, A), (10.1, "")])
def test_only_logs_within_the_window_count(seconds, inherited):
    """Before or after the event, whichever arrived first."""
    assert got(taught(log(seconds)), kernel(0)) == inherited


def test_a_trace_that_is_over_makes_nothing_ambiguous():
    """One of the two is too long ago."""
    assert got(taught(log(0, A), log(20, B)), kernel(25)) == B


def test_the_nearest_log_is_the_one_it_came_from():
    """The span is that log's, and so is the age; of those before the event the last is always remembered."""
    event = kernel(9)
    got(taught(log(0, span="1" * 16), log(3, span="4" * 16), log(8, span="2" * 16), log(20, span="3" * 16)), event)
    assert (event.span_id, event.get("tapio.trace.from")) == ("2" * 16, f"log-8-{A[0]}")


def test_another_run_of_the_unit_has_other_requests():
    """What the new process logs is not about the failure of the old one."""
    one = taught(log(5, A, invocation_id="new"))
    assert got(one, happening(4, "systemd", "service_state", invocation_id="old")) == ""
    assert got(one, happening(6, "systemd", "service_state", invocation_id="new")) == A
    assert got(one, kernel(6, id="of no known run")) == A


def test_the_pid_of_a_container_runtime_is_nobodys():
    """Docker writes the lines of all of its containers."""
    line = log(0, A, "container/prod/web-0/app", container_id="c", pid=900, CONTAINER_NAME="app")
    one = taught(line)
    assert got(one, kernel(1, "node/node", pid=900)) == ""
    assert got(one, kernel(1, "node/node", container_id="c")) == A


def spoken_of(text=(), written=(), about="systemd_unit/other.service"):
    """Return a line with a trace: what its text says, and what its origin says of who wrote it."""
    origin = Origin(log(0, about=about).entity, {"pid": 900, **dict(written)})
    line = UnifiedEvent.of_origin(origin, "spoken", BEGINNING, BEGINNING, "journald", "log", Severity.INFO, "", "", dict(text))
    line.trace_id = A
    return line


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ({"pid": 7}, {"about": "node/node", "pid": 7}),
        ({"pod_name": "web-0", "namespace": "prod"}, {"about": "node/node", "pod_name": "web-0", "namespace": "prod"}),
        ({"container_id": "c1"}, {"about": "node/node", "container_id": "c1"}),
        ({"invocation_id": "i1"}, {"about": "node/node", "invocation_id": "i1"}),
        ({"cgroup": "/system.slice/web.service"}, {}),
    ],
)
def test_a_line_teaches_nothing_about_whom_its_text_speaks_of(text, event):
    """A supervisor's request is not that of the process it has ended, an operator's not that of the pod it has scaled."""
    assert got(taught(spoken_of(text)), kernel(0, **event)) == ""
    assert got(taught(spoken_of(text)), kernel(0, "node/node", pid=900)) == A


@pytest.mark.parametrize("field", ["INVOCATION_ID", "USER_INVOCATION_ID"])
@pytest.mark.parametrize("about", ["systemd_unit/other.service", "node/node"])
def test_nobody_teaches_in_the_name_of_another_run(field, about):
    """Any program can write the field in which the service manager names the run of a unit."""
    assert got(taught(spoken_of((), {field: "i1"}, about)), kernel(0, invocation_id="i1")) == ""


def test_a_recorded_line_of_a_unit_teaches_nothing_about_a_pod_that_it_names():
    """It has no origin any more: what its text said stands beside what was known of its writer."""
    line = log(0, about="systemd_unit/kubelet.service", pod_name="web-0", namespace="prod", container_id="c1", pid=7)
    one = taught(line)
    assert got(one, kernel(0, "pod/prod/web-0")) == ""
    assert got(one, kernel(0, "node/node", container_id="c1")) == ""
    assert got(one, kernel(0, "systemd_unit/web.service", pid=7)) == ""  # that process is of another unit
    assert got(one, kernel(0, "systemd_unit/kubelet.service", pid=7)) == A


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"about": "systemd_unit/cron.service"}, {"about": "systemd_unit/web.service"}),
        ({"invocation_id": "i1"}, {"invocation_id": "i2"}),
        (
            {"about": "container/prod/a/app", "container_id": "c1"},
            {"about": "container/prod/b/app", "container_id": "c2"},
        ),
    ],
)
def test_a_pid_that_was_given_away_again_is_another_process(before, after):
    """What is known to be elsewhere is not the same, though the number is."""
    one = taught(log(0, pid=7, **before))
    assert got(one, kernel(5, pid=7, **after)) == ""
    assert got(one, kernel(5, id="same", pid=7, **before)) == A


def test_another_container_of_the_pod_has_other_requests():
    """A sidecar's requests are not the application's; what is about the whole pod may be about any of them."""
    one = taught(log(0, A, "pod/prod/web-0", container_id="c1"))
    assert got(one, kernel(1, "pod/prod/web-0", container_id="c2")) == ""
    assert got(one, kernel(1, "pod/prod/web-0", id="of the pod")) == A
    replaced = kernel(1, "pod/prod/web-0", container_id="c2", terminated_container_id="c1", id="replaced")
    assert got(one, replaced) == A


def test_containers_that_share_a_name_are_not_the_same():
    """A container that has no id yet is known by its name alone, as others are."""
    one = taught(log(0, A, {"type": "container", "name": "app", "uid": "app"}))
    assert got(one, kernel(0, {"type": "container", "name": "app", "uid": "app"})) == ""


def test_what_a_service_manager_tells_is_about_all_processes_of_the_unit():
    """That the main process has one trace does not make the unit's two one."""
    one = taught(log(0, A, pid=7), log(0, B, pid=8))
    assert got(one, happening(1, "systemd", "service_state", main_pid=7)) == ""
    assert got(taught(log(0, A, pid=7)), happening(1, "systemd", "service_state", main_pid=7)) == A


def test_what_is_no_trace_is_not_taught():
    """A receiver of somebody else may give any text for a trace id."""
    assert taught(log(0, "x" * 1_000_000)).key_count == 0


def test_a_log_from_the_future_spoils_nothing():
    """A clock that is wrong makes no other trace unknown, neither of its own unit nor of those that had to be forgotten."""
    one = propagation(max_keys=100)
    for n in range(MOST_STRETCHES + 1):
        ahead = log(4_000_000_000, f"{n:032x}")
        ahead.observed = BEGINNING
        one.learn(ahead)
    assert one.key_count == 0
    assert got(one, kernel(1)) == ""
    assert one.sink.counts["trace_propagation_ambiguous"] == 0
    one.learn(log(0))
    assert got(one, kernel(1, id="another")) == A
    assert one.sink.counts["trace_propagation_ahead"] == MOST_STRETCHES + 1


def test_a_clock_that_is_set_back_is_believed_after_a_window():
    """What was forgotten of a time that has not come yet does not count for ever."""
    one = taught(*(log(3600 + n / 10, f"{n:032x}") for n in range(20)), max_keys=2)
    one.learn_all(log(3600, A, f"systemd_unit/s{n}.service") for n in range(5))
    one.learn_all([log(0), log(20, B)])
    assert got(one, kernel(5)) == ""  # it is not known whether there was another one before
    assert got(one, kernel(20, id="later")) == B
    one.learn_all([log(80, B)])
    assert got(one, kernel(80, "systemd_unit/never.service", id="of nobody")) == ""
    assert one.sink.counts["trace_propagation_ambiguous:forgotten"] == 2


def test_what_is_inherited_is_not_taught():
    """Else one request would colour whatever happens for ever."""
    one, event = taught(log(0)), kernel(9)
    assert got(one, event) == A
    assert got(one, event) == A  # as a replay of recorded events gives it
    assert got(one, kernel(15)) == ""


def test_a_trace_of_its_own_is_kept():
    """Nothing is inherited by what knows better."""
    event = kernel(1, trace_id=B)
    assert got(taught(log(0)), event) == B
    assert event.get("tapio.trace.source") is None
    assert not taught(log(0)).inherit(event)


def of_journal(type="oom_kill", **fields):
    """Return an entry of the journal about the unit, as normalizing leaves it."""
    return happening(1, "journald", type, **fields)


@pytest.mark.parametrize(
    ("event", "may"),
    [
        *((happening(0, source, "anything"), True) for source in sorted(INHERITING)),
        (happening(0, "ebpf", "log"), False),
        (of_journal(_TRANSPORT="kernel"), True),
        (of_journal("service_state", pid=1, _TRANSPORT="journal"), True),
        (of_journal("log", pid=1), False),
        (of_journal("connection_failed", pid=42, _TRANSPORT="stdout"), False),
        (of_journal("connection_failed", about="container/prod/web-0/app", pid=1), False),
        (happening(0, "correlation", "correlation"), False),
        (happening(0, "my_plugin", "anything"), False),
    ],
)
def test_who_may_inherit(event, may):
    """The kernel, the service manager and the cluster; never a line of a program, which may belong to another request."""
    assert may_inherit(event) is may
    one = taught(log(0), log(0, about="container/prod/web-0/app"))
    assert bool(one.learn_all([event])) is may


def test_what_an_origin_says_is_looked_up_once():
    """The keys are cached with the origin, until the event says something of its own."""
    origin = Origin(happening(0, "journald", "log").entity, {"pid": 7})

    def event(**own):
        return UnifiedEvent.of_origin(origin, "id", 1, 1, "journald", "log", Severity.INFO, "", "", own)

    assert subject_of(event(n=1)) is subject_of(event(n=2))
    assert ("process", 8, "node") in subject_of(event(pid=8)).keys
    assert writer_of_line(event(pid=8)) is writer_of_line(event(n=1))
    assert ("process", 7, "node") in writer_of_line(event(pid=8)).keys


def test_a_busy_service_is_ambiguous_and_takes_no_room():
    """A thousand requests a second are known as too many, also of those that had to be forgotten."""
    one = taught(*(log(n / 1000, f"{n:032x}") for n in range(3000)))
    assert got(one, kernel(3)) == ""
    assert got(one, kernel(-5, id="late")) == ""
    assert one.sink.counts["trace_propagation_ambiguous"] == 2
    assert all(len(known.stretches) <= MOST_STRETCHES for known in one._known.values())
    assert got(taught(*(log(n / 1000, f"{n:032x}") for n in range(3000)), log(20, B)), kernel(21)) == B


def test_a_trace_that_had_to_be_forgotten_still_counts():
    """An event that comes late finds one trace of two, and knows that it does not know."""
    one = taught(log(0, A), log(1, B), *(log(20 + n, f"{n:032x}") for n in range(MOST_STRETCHES - 1)))
    assert got(one, kernel(2)) == ""
    assert one.sink.counts["trace_propagation_ambiguous:forgotten"] == 1
    assert got(taught(log(0, A), log(1, A), *(log(20 + n, f"{n:032x}") for n in range(MOST_STRETCHES - 1))), kernel(2)) == A


def test_a_long_request_stays_known():
    """One trace that logs for an hour is one trace, also for what comes a window late."""
    one = taught(*(log(n / 2) for n in range(7200)))
    assert got(one, kernel(3600)) == A
    assert got(one, kernel(3592, id="late")) == A
    event = kernel(100, id="from the middle")
    assert got(one, event) == A
    assert event.get("tapio.trace.confidence") == 0.562  # half a window at most, though the log it names is farther away


def test_a_request_that_pauses_is_known_for_each_part():
    """Silence longer than the window is silence, whatever order the parts are told in."""
    one = taught(log(30), log(0), log(60), log(90))
    assert [got(one, kernel(seconds, id=str(seconds))) for seconds in (-11, 1, 15, 29, 45, 65, 85)] == ["", A, "", A, "", A, A]


def test_keys_are_bounded_and_what_is_forgotten_counts_as_ambiguous():
    """No trace is inherited because another one was forgotten."""
    one = taught(log(0, A, "process/one", pid=1001), max_keys=2)
    one.learn_all(log(n, A, f"process/p{n}", pid=2000 + n) for n in range(1, 4))
    assert one.key_count == 2
    one.learn_all([log(4, B, "process/one", pid=1001)])
    assert got(one, kernel(5, "node/node", pid=1001)) == ""
    assert one.sink.counts["trace_propagation_ambiguous:forgotten"] == 1
    assert one.sink.counts["trace_propagation_evicted"] > 0
    one.learn_all([log(30, B, "process/one", pid=1001)])
    assert got(one, kernel(31, "node/node", pid=1001)) == B


def test_what_is_forgotten_long_after_is_not_counted():
    """That nobody asks about it any more is how it is meant to be."""
    one = taught(*(log(n * 11, A, f"process/p{n}", pid=2000 + n) for n in range(50)), max_keys=2)
    got(one, kernel(1000))
    assert (one.key_count, one.sink.counts["trace_propagation_evicted"]) == (2, 0)


def test_confidence_falls_with_rank_and_age():
    """Nearer is surer, and so is sooner."""
    assert [confidence(rank, 0, SECOND) for rank in RANKS] == sorted(CERTAINTY.values(), reverse=True)
    assert confidence("process", SECOND, SECOND) == 0.475
