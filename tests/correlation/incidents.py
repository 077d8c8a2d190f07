"""Events, rules and engines for tests of correlation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tapio_otel.correlation.engine import SECOND, Engine
from tapio_otel.correlation.examples import BEGINNING, entity, last_revisions
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.rule_file import made
from tapio_otel.correlation.rule_options import RuleOptions
from tapio_otel.event import Severity, UnifiedEvent


def happening(seconds: float, source: str, type: str, about: Any = "systemd_unit/web.service", id: str = "", **told: Any):
    """Return an event so many seconds after the beginning; `about` as examples write entities."""
    at = BEGINNING + round(seconds * SECOND)
    severity = told.pop("severity", Severity.ERROR)
    trace = told.pop("trace_id", "")
    text = told.pop("text", "")
    return UnifiedEvent(
        id or f"{source}-{type}-{seconds}-{about}",
        at,
        source,
        type,
        severity,
        entity(about),
        title=text,
        description=text,
        attributes=told,
        trace_id=trace,
        observed=at,
    )


def oom(seconds: float = 0, about: Any = "systemd_unit/web.service", source: str = "ebpf", pid: int = 42, **told: Any):
    """Return the kernel's event of an OOM kill."""
    return happening(seconds, source, "oom_kill", about, pid=pid, severity=Severity.CRITICAL, **told)


def restart(seconds: float = 1, about: Any = "systemd_unit/web.service", source: str = "systemd", **told: Any):
    """Return the event of a unit's restart."""
    return happening(seconds, source, "service_restart", about, **told)


def refused(seconds: float, about: Any, source: str = "journald", **told: Any):
    """Return the event of a connection that failed."""
    return happening(seconds, source, "connection_failed", about, text="connection refused", **told)


def rule(name: str = "oom_cascade", **options: Any) -> Rule:
    """Return a rule of options as a file has them; by default an OOM kill with a restart of the same unit."""
    default = {
        "title": "{root.entity}",
        "description": "{impacts.count:impact|impacts}",
        "window": "30s",
        "facts": {"oom": {"class": "oom"}, "restart": {"class": "unit_restarted"}},
        "group_by": ["unit", "container", "pod", "owner"],
        "root": "oom",
        "confidence": 0.9,
    }
    if "facts" in options:
        default.pop("root")
    return made(RuleOptions.model_validate({"name": name, **default, **options}))


def engine(*rules: Rule, **options: Any) -> Engine:
    """Return an engine with these rules, or with the default one."""
    return Engine(rules or (rule(),), **options)


def told(engine: Engine, events: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
    """Return every finding, with its revisions, that an engine tells of events, and of their end."""
    engine.add(list(events))
    return engine.advance(0, final=True)


def concluded(events: Sequence[UnifiedEvent], *rules: Rule, **options: Any) -> list[UnifiedEvent]:
    """Return the last revision of each finding."""
    return last_revisions(told(engine(*rules, **options), events))


def at(seconds: float) -> int:
    """Return a time after the beginning in nanoseconds."""
    return BEGINNING + round(seconds * SECOND)
