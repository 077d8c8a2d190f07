"""The answers about the agent itself: health, metrics, what is listened to, settings."""

from __future__ import annotations

import time
from typing import Any, Final

from tapio_otel.entity import this_node
from tapio_otel.event_store import StoreStatistics
from tapio_otel.extensions.ui.moments import format_moment
from tapio_otel.service_view import ReceiverView, ServiceView
from tapio_otel.version import VERSION

LISTENING: Final = frozenset(("listening", "degraded"))
_HINTS: Final = {
    "off": "add it to receivers, and to the receivers of a pipeline",
    "failed": "correct what the reason says and start the agent again",
    "failing": "it is tried again by itself",
}
_REASONS: Final = {
    "off": "no pipeline of the configuration has it",
    "ended": "its source has come to an end",
    "failed": "it failed too often",
}


def health(service: ServiceView | None, store: StoreStatistics | None, kind: str, where: str) -> dict[str, Any]:
    """Return how the agent is: what is wrong, what its pipelines took in and passed on, and what its store holds."""
    problems = service.problems() if service is not None else {}
    started = service.started_ns if service is not None else 0
    return {
        "status": "degraded" if problems else "ok",
        "problems": [{"component": name, "problem": problem} for name, problem in problems.items()],
        "version": VERSION,
        "node": this_node().name,
        "started": format_moment(started),
        "uptime_seconds": max(time.time_ns() - started, 0) / 1e9 if started else 0.0,
        "pipelines": [
            {
                "id": one.id,
                "receivers": list(one.receivers),
                "processors": list(one.processors),
                "exporters": list(one.exporters),
                "received": one.received,
                "passed_on": one.passed_on,
            }
            for one in (service.pipelines() if service is not None else ())
        ],
        "store": {"kind": kind, "path": where or None, **_statistics(store)},
    }


def _statistics(store: StoreStatistics | None) -> dict[str, Any]:
    if store is None:
        return {"events": None, "findings": None, "entities": None, "bytes": None, "oldest": None, "newest": None}
    return {
        "events": store.events,
        "findings": store.findings,
        "entities": store.entities,
        "bytes": store.bytes,
        "oldest": format_moment(store.oldest_ns) if store.events else None,
        "newest": format_moment(store.newest_ns) if store.events else None,
    }


def metrics(service: ServiceView | None) -> dict[str, Any]:
    """Return the agent's own counters and gauges."""
    return {
        "time": format_moment(time.time_ns()),
        "metrics": [
            {
                "name": one.name,
                "kind": "counter" if one.monotonic else "gauge",
                "attributes": dict(one.attributes),
                "value": one.value,
            }
            for one in (service.metrics() if service is not None else ())
        ],
    }


def sources(service: ServiceView | None) -> dict[str, Any]:
    """Return what is listened to and what is not, and why."""
    return {"sources": [_source(one) for one in (service.receivers() if service is not None else ())]}


def _source(one: ReceiverView) -> dict[str, Any]:
    return {
        "id": one.id,
        "type": one.type,
        "state": one.state,
        "listening": one.state in LISTENING,
        "reason": one.reason or _REASONS.get(one.state),
        "hint": _HINTS.get(one.state),
        "events": one.events,
        "last": format_moment(one.last_event_ns) if one.last_event_ns else None,
    }


def settings(trace_url: str) -> dict[str, Any]:
    """Return what the page needs to know of the configuration."""
    return {"trace_url": trace_url or None, "node": this_node().name, "version": VERSION}
