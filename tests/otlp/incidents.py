"""Findings that bring their members, as `correlate` tells them with `emit_traces`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tapio_otel.event import EntityReference, Severity, UnifiedEvent
from tapio_otel.event_json import to_dict
from tapio_otel.identity import event_id
from tapio_otel.otlp.semconv import EMIT_TRACE

START = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER_TRACE = "1" * 32
NODE = EntityReference("node", "node-1", uid="m" * 32)
SHOP = EntityReference("systemd_unit", "shop.service", parent=NODE)
CART = EntityReference("systemd_unit", "cart.service", parent=NODE)


def event(name: str, after: float, entity: EntityReference, severity: Severity = Severity.ERROR, **fields: Any) -> UnifiedEvent:
    """Return an event so many seconds after the beginning; its id is made of its name."""
    fields = {"type": name, "title": f"{name} of {entity.name}", "source": "systemd"} | fields
    return UnifiedEvent(
        id=event_id(name, entity.name, str(after)),
        timestamp=START + int(after * SECOND),
        entity=entity,
        severity=severity,
        observed=1,
        **fields,
    )


def members() -> list[UnifiedEvent]:
    """Return the root cause, then its witness, two consequences, and what attests one of these, by time."""
    return [
        event("oom_kill", 0, SHOP, Severity.CRITICAL, source="ebpf", attributes={"pid": 42, "memory_limit": 1 << 20}),
        event("log", 0.1, SHOP, source="journald", description="Out of memory: Killed process 42\nsecond line", title=""),
        event("service_restart", 2, SHOP, Severity.WARNING),
        event("log", 2.5, SHOP, Severity.INFO, title="Started shop", attributes={"n": 2}, type="log_started"),
        event("connection_failed", 3, CART, trace_id=TRACE, span_id=SPAN, attributes={"dst_port": 5432, "trace_flags": 1}),
    ]


def finding(told: list[UnifiedEvent] | None = None, **attributes: Any) -> UnifiedEvent:
    """Return a closed finding about these events, of which those that are no log lines are consequences."""
    told = members() if told is None else told
    impacts = [one.id for one in told[1:] if not one.type.startswith("log")]
    ids = [one.id for one in told]
    values: dict[str, Any] = {
        "rule": "oom_cascade",
        "confidence": 0.951,
        "root_cause": ids[0],
        "impacts": impacts,
        "members": ids,
        "entities": ["systemd_unit/shop.service", "systemd_unit/cart.service"],
        "sources": ["ebpf", "journald", "systemd"],
        "witnesses": len(told),
        "first_seen": "2026-01-01T00:00:00.000000000Z",
        "last_seen": "2026-01-01T00:00:03.000000000Z",
        "window": 30.0,
        "revision": 1,
        "state": "closed",
        "hint": "Check the memory limit of shop.service.",
        "traces": [TRACE, OTHER_TRACE],
        "left_out": 3,
        "superseded_by": "another",
        EMIT_TRACE: [to_dict(one) for one in told],
    }
    return UnifiedEvent(
        id=event_id("correlation", "oom_cascade", ids[0]),
        timestamp=told[0].timestamp,
        source="correlation",
        type="correlation",
        severity=Severity.CRITICAL,
        entity=told[0].entity,
        title="Memory ran out in shop.service",
        description="At 00:00:00 memory ran out in shop.service, which was restarted.",
        attributes={**values, **attributes},
        observed=START + 40 * SECOND,
    )


def values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as Python values; a repeated key is an error."""
    pairs = [(one.key, _value(one.value)) for one in attributes]
    found = dict(pairs)
    assert len(found) == len(pairs), f"an attribute key is repeated: {[key for key, _ in pairs]}"
    return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return values(value.kvlist_value.values)
    return getattr(value, kind) if kind else None
