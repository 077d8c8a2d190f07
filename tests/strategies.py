"""Hypothesis strategies for events, shared by every test that needs any event."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from tapio_otel.component import Scope
from tapio_otel.event import EntityReference, EntityType, Origin, Severity, UnifiedEvent
from tapio_otel.identity import event_id

settings.register_profile("events", deadline=None, max_examples=60)  # events are large, and machines busy: no deadline
settings.load_profile("events")

NANOSECONDS_MAX = 253402300799_999999999  # the end of the year 9999
NANOSECONDS_MIN = -62135596800_000000000  # the begin of the year 1

texts = st.text(max_size=30)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
identifiers = st.one_of(st.uuids().map(str), st.integers().map(event_id))
hex_trace = st.one_of(st.just(""), st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex))
hex_span = st.one_of(st.just(""), st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex))
times = st.integers(1, (1 << 63) - 1)
severities = st.sampled_from(list(Severity))
sources = st.sampled_from(["journald", "ebpf", "systemd", "kubernetes", "correlation", "my_plugin"])
types = st.sampled_from(["log", "log", "oom_kill", "service_state", "k8s_event", "my_type"])
scopes = st.sampled_from([Scope("tapio_otel.receivers.journald", "1"), Scope("other", ""), Scope("übung", "2.0")])

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.binary(max_size=20),
)
map_keys = st.one_of(names, st.sampled_from(["$bytes", "$map", "$float", "$int", "$", ""]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(map_keys, inner, max_size=3)),
    max_leaves=8,
)
known_keys = st.sampled_from(
    [
        *(
            "pid",
            "comm",
            "exe",
            "cmdline",
            "uid",
            "gid",
            "src_ip",
            "dst_port",
            "protocol",
            "reason",
            "exit_code",
            "trace_flags",
        ),
        *("SYSLOG_IDENTIFIER", "_TRANSPORT", "_HOSTNAME", "CODE_LINE", "REQUEST_ID", "MESSAGE_ID", "_SYSTEMD_UNIT", "_PID"),
        *("k8s.pod.name", "http.response.status_code", "service.name", "owner_kind", "owner_name", "source", "title", "count"),
        *("tapio.label.unit", "unit", "process.pid", "log.record.uid"),
    ]
)
attributes = st.dictionaries(st.one_of(known_keys, known_keys, names), values, max_size=6)
plain_texts = st.dictionaries(st.one_of(st.sampled_from(["unit", "hostname", "app"]), names), texts, max_size=3)

entity_types = st.one_of(st.sampled_from([str(kind) for kind in EntityType]), st.sampled_from(["deployment", "Job", "device"]))
entity_uids = st.one_of(texts, st.integers(0, 1 << 22).map(lambda pid: f"process-{pid}-99"))


@st.composite
def entities(draw: st.DrawFn, depth: int = 3) -> EntityReference:
    """Draw an entity with up to `depth` parents."""
    parent = draw(st.one_of(st.none(), entities(depth=depth - 1))) if depth else None
    kind, name, namespace, uid = draw(entity_types), draw(names), draw(texts), draw(entity_uids)
    return EntityReference(kind, name, namespace, uid, parent, draw(plain_texts))


@st.composite
def origins(draw: st.DrawFn) -> Origin:
    """Draw an origin that events may share."""
    return Origin(draw(entities()), draw(attributes), draw(plain_texts), draw(plain_texts))


@st.composite
def shared_events(
    draw: st.DrawFn, origin: st.SearchStrategy[Origin] | None = None, time: st.SearchStrategy[int] = times
) -> UnifiedEvent:
    """Draw an event that shares an origin."""
    event = UnifiedEvent.of_origin(
        *(
            draw(origins() if origin is None else origin),
            draw(identifiers),
            draw(time),
            draw(time),
            draw(sources),
            draw(types),
            draw(severities),
        ),
        *(draw(texts), draw(texts), draw(attributes)),
    )
    event.trace_id, event.span_id, event.parent_id = draw(hex_trace), draw(hex_span), draw(hex_span)
    return event


@st.composite
def events(draw: st.DrawFn, time: st.SearchStrategy[int] = times) -> UnifiedEvent:
    """Draw an event, sharing an origin or with content of its own."""
    event = draw(shared_events(time=time))
    if draw(st.booleans()):
        event.detach()
    return event
