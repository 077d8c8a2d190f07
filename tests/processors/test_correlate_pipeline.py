"""From receivers' events to inherited traces: normalize, trace_context and correlate on events in the form of each source."""

from __future__ import annotations

import pytest

from tapio_otel.builtin import tapio_normalizers
from tapio_otel.component import Batch, ComponentId, Kind
from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.event import UnifiedEvent
from tapio_otel.event_json import from_json, to_json
from tapio_otel.pipeline import Pipeline
from tapio_otel.processors.correlate import CorrelateConfig, CorrelateProcessor
from tapio_otel.processors.normalize import NormalizeConfig, NormalizeProcessor
from tapio_otel.processors.trace_context import TraceContextConfig, TraceContextProcessor
from tapio_otel.receivers.ebpf.clock import WallClock
from tapio_otel.receivers.ebpf.events import EventMaker
from tapio_otel.receivers.ebpf.feed import ObservedBy
from tapio_otel.receivers.ebpf.observations import CgroupFacts, CpuThrottle, OomKill
from tapio_otel.receivers.journald.entry import EntryParser
from tests.components import SCOPE, CollectingExporter, context, make

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
MACHINE, RUN = "5" * 32, "7" * 32
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OTHER = "0af7651916cd43dd8448eb211c80319c"
CONTAINER, POD = "0123456789abcdef" * 4, "11111111-2222-3333-4444-555555555555"
CONTAINER_PATH = f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope"
UNIT_PATH = "/system.slice/web.service"
USUAL = {"_MACHINE_ID": MACHINE, "_HOSTNAME": "node-1", "_BOOT_ID": "b" * 32, "PRIORITY": "6", "_UID": "0"}
WEB = {
    **USUAL,
    **{"_TRANSPORT": "stdout", "_PID": "42", "_COMM": "web", "SYSLOG_IDENTIFIER": "web", "_SYSTEMD_UNIT": "web.service"},
    **{"_SYSTEMD_CGROUP": UNIT_PATH, "_SYSTEMD_INVOCATION_ID": RUN, "_SYSTEMD_SLICE": "system.slice"},
}
MANAGER = {
    **USUAL,
    **{"_TRANSPORT": "journal", "_PID": "1", "_COMM": "systemd", "SYSLOG_IDENTIFIER": "systemd", "UNIT": "web.service"},
    **{"INVOCATION_ID": RUN, "_SYSTEMD_UNIT": "init.scope", "_SYSTEMD_CGROUP": "/init.scope"},
}
KERNEL = {**USUAL, "_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "PRIORITY": "3"}
IN_POD = {
    **USUAL,
    **{"_TRANSPORT": "stdout", "_PID": "77", "_COMM": "app", "SYSLOG_IDENTIFIER": "app", "_SYSTEMD_CGROUP": CONTAINER_PATH},
    **{"_SYSTEMD_UNIT": f"cri-containerd-{CONTAINER}.scope", "_SYSTEMD_SLICE": "kubepods.slice"},
}
OOM_TEXT = (
    "Out of memory: Killed process 42 (web) total-vm:8214744kB, anon-rss:6120356kB, file-rss:1264kB, shmem-rss:0kB, UID:0 "
    "pgtables:13204kB oom_score_adj:0"
)


class Agent:
    """Be a pipeline with the processors in their order; `events` are what comes out, by title."""

    def __init__(self, **options):
        normalizers = {"normalizers": tapio_normalizers()}
        self.correlate = CorrelateProcessor(
            context(Kind.PROCESSOR, "correlate"), CorrelateConfig.model_validate({"rules": [], **options})
        )
        processors = [
            NormalizeProcessor(context(Kind.PROCESSOR, "normalize", normalizers), NormalizeConfig()),
            TraceContextProcessor(context(Kind.PROCESSOR, "trace_context"), TraceContextConfig()),
            self.correlate,
        ]
        self.exporter = make(CollectingExporter)
        self.pipeline = Pipeline(ComponentId("logs"), processors, [self.exporter], "0")
        self.parser = EntryParser()
        self.number = 0

    async def journal(self, seconds, text, fields=WEB, **more):
        """Read an entry of the journal."""
        self.number += 1
        at = int((BEGIN + seconds * SECOND) // 1000)
        cursor = f"s={MACHINE};i={self.number:x};b={'b' * 32};m=5;t={at:x};x=1"
        raw = {name: value.encode() for name, value in {**fields, "MESSAGE": text, **more}.items()}
        return await self.take(self.parser.parse(raw, cursor, at * 1000))

    async def take(self, *events):
        """Take events of one receiver; returns the last."""
        await self.pipeline.consume(Batch(list(events), SCOPE))
        return events[-1]


@pytest.fixture
def kernel(tmp_path):
    """Return what makes the kernel's events on a machine called node-1."""
    mapper = EntityMapper(tmp_path)
    vars(mapper)["node"] = EntityReference("node", "node-1", uid=MACHINE)  # a cached property
    return EventMaker(mapper, "b" * 32, WallClock(lambda: BEGIN, lambda: 0))


def seen(maker, observation):
    """Return the event of an observation."""
    return maker.events([observation], ObservedBy.LIBBPF, BEGIN + observation.time_ns)[0]


def unit_failed(seconds, run=RUN):
    """Return the event of the unit's failure, as D-Bus tells it."""
    told = {"invocation_id": run, "cgroup": UNIT_PATH}
    entity = EntityReference(
        "systemd_unit", "web.service", parent=EntityReference("node", "node-1", uid=MACHINE), attributes=told
    )
    states = {"unit": "web.service", "previous_state": "active", "current_state": "failed", "sub_state": "failed"}
    attributes = {**states, **told, "main_pid": 42, "result": "oom-kill"}
    at = BEGIN + round(seconds * SECOND)
    event = UnifiedEvent("d-bus", at, "systemd", "service_state", entity=entity, attributes=attributes, observed=at)
    event.raw = "state"
    return event


def inherited(event):
    """Return what says that a trace was inherited."""
    return event.trace_id, event.get("tapio.trace.source"), event.get("tapio.trace.from")


async def test_one_request_reaches_the_kernels_and_the_units_events(kernel):
    """A line with a traceparent; then the kernel kills its process, in two voices, and the unit fails, in two."""
    agent = Agent()
    line = await agent.journal(0, "handling GET /report", TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
    oom = await agent.take(seen(kernel, OomKill(2 * SECOND, 42, "web", uid=0, cgroup=CgroupFacts(7, UNIT_PATH))))
    kmsg = await agent.journal(2.001, OOM_TEXT, KERNEL)
    failed = await agent.take(unit_failed(2.1))
    told = await agent.journal(2.2, "web.service: Failed with result 'oom-kill'.", MANAGER)
    assert line.get("tapio.trace.source") == "traceparent"
    assert [event.type for event in (oom, kmsg)] == ["oom_kill", "oom_kill"]
    assert told.type != "log"
    expected = (TRACE, "propagated", line.id)
    assert [inherited(event) for event in (oom, kmsg, failed, told)] == [expected] * 4
    assert (oom.span_id, oom.get("trace_flags"), oom.get("tapio.trace.confidence")) == (SPAN, 1, 0.855)
    assert [event.get("tapio.trace.confidence") > 0.5 for event in (kmsg, failed, told)] == [True] * 3


async def test_another_line_of_the_process_inherits_nothing(kernel):
    """Neither a plain one nor one that a pattern understands: it may belong to another request."""
    agent = Agent()
    await agent.journal(0, f"trace_id={TRACE} span_id={SPAN} handling GET /report")
    plain = await agent.journal(1, "cache refreshed")
    refused = await agent.journal(2, "dial tcp 10.0.0.5:5432: connect: connection refused")
    unrelated = await agent.journal(3, "usb 1-1: new high-speed USB device number 2 using xhci_hcd", KERNEL)
    assert refused.type == "connection_failed"
    assert [inherited(event) for event in (plain, refused, unrelated)] == [("", None, None)] * 3


async def test_two_requests_at_once_leave_the_kernels_event_alone(kernel):
    """It may be the one or the other."""
    agent = Agent()
    await agent.journal(0, "one", TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
    await agent.journal(1, "two", TRACEPARENT=f"00-{OTHER}-{SPAN}-01")
    oom = await agent.take(seen(kernel, OomKill(2 * SECOND, 42, "web", uid=0, cgroup=CgroupFacts(7, UNIT_PATH))))
    assert inherited(oom) == ("", None, None)
    assert agent.correlate.context.counters.counts["trace_propagation_ambiguous"] == 1


async def test_a_container_and_its_pod_inherit_from_its_lines(kernel):
    """The kernel's event by the container, the cluster's by the pod, which is less sure."""
    agent = Agent()
    line = await agent.journal(0, "GET /", IN_POD, TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
    throttle = CpuThrottle(SECOND, CgroupFacts(5, CONTAINER_PATH), 10**10, 5 * 10**9, 100, 50, 10**9, 20_000_000, 100_000_000)
    throttled = await agent.take(seen(kernel, throttle))
    pod = EntityReference("pod", "web-0", "prod", POD)
    at = BEGIN + SECOND
    probe = await agent.take(
        UnifiedEvent("k8s", at, "kubernetes", "k8s_event", entity=pod, attributes={"reason": "Unhealthy"}, observed=at)
    )
    node = await agent.take(
        UnifiedEvent("n", at, "kubernetes", "node_condition", entity=EntityReference("node", "node-1"), observed=at)
    )
    assert [inherited(event) for event in (throttled, probe)] == [(TRACE, "propagated", line.id)] * 2
    assert throttled.get("tapio.trace.confidence") > probe.get("tapio.trace.confidence")
    assert inherited(node) == ("", None, None)


async def test_another_run_of_the_unit_inherits_nothing(kernel):
    """The unit was started anew before it logged anything."""
    agent = Agent()
    await agent.journal(0, "one", TRACEPARENT=f"00-{TRACE}-{SPAN}-01", _PID="41", _SYSTEMD_INVOCATION_ID="8" * 32)
    assert inherited(await agent.take(unit_failed(1))) == ("", None, None)


async def test_an_event_waits_for_a_line_that_is_read_later(kernel):
    """The kernel's event is there before the journal has been read; when the pipeline drains, it has the trace."""
    agent = Agent(propagation={"wait": "1h"})
    await agent.take(seen(kernel, OomKill(2 * SECOND, 42, "web", uid=0, cgroup=CgroupFacts(7, UNIT_PATH))))
    assert agent.exporter.events == []
    line = await agent.journal(1, "handling GET /report", TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
    await agent.pipeline.flush(final=True)
    assert agent.exporter.events[0].id == line.id
    assert inherited(agent.exporter.events[1]) == (TRACE, "propagated", line.id)


async def test_what_was_inherited_survives_a_recording(kernel):
    """Written to the event JSON and read again, in a pipeline that knows nothing of the line."""
    agent = Agent()
    await agent.journal(0, "one", TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
    failed = await agent.take(unit_failed(1))
    again = Agent()
    played = await again.take(from_json(to_json(failed)))
    other = await again.take(seen(kernel, OomKill(2 * SECOND, 42, "web", uid=0, cgroup=CgroupFacts(7, UNIT_PATH))))
    assert inherited(played) == inherited(failed)
    assert inherited(other) == ("", None, None)
