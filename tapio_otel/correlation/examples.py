"""Examples: events as rule files and scenarios write them, abbreviated, and whether findings are what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tapio_otel.config.types import parse_duration
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.rule_options import ExampleEvent, ExpectedFinding, RuleExample
from tapio_otel.entity import EntityReference
from tapio_otel.event import Severity, UnifiedEvent

BEGINNING: Final = 1_767_225_600_000_000_000
"""When examples begin: 2026-01-01T00:00:00Z."""
_SECOND: Final = 1_000_000_000
_NODE: Final = EntityReference("node", "node")


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """Say what came of an example: `problem` is empty where it is as it should be."""

    rule: str
    example: str
    problem: str


def example_events(events: Sequence[ExampleEvent]) -> tuple[list[UnifiedEvent], list[list[str]]]:
    """Return the events of an example, and for each index the ids of its events: several where it repeats."""
    made, ids = [], []
    for index, one in enumerate(events):
        at = BEGINNING + _nanoseconds(one.t)
        own = [one.id or f"{index:04d}", *(f"{one.id or f'{index:04d}'}-{more}" for more in range(1, one.repeat))]
        made += [_event(one, identity, at + round(one.every * _SECOND) * more) for more, identity in enumerate(own)]
        ids.append(own)
    return made, ids


def _nanoseconds(time: float | str) -> int:
    if isinstance(time, str):
        sign = -1 if time.startswith("-") else 1
        return sign * round(float(parse_duration(time.lstrip("-"))) * _SECOND)
    return round(time * _SECOND)


def _event(one: ExampleEvent, identity: str, at: int) -> UnifiedEvent:
    return UnifiedEvent(
        identity,
        at,
        one.source,
        one.type,
        Severity.from_keyword(one.severity),
        entity(one.entity),
        one.title,
        one.description,
        dict(one.attributes),
        one.trace_id,
        one.span_id,
        labels=dict(one.labels),
        annotations=dict(one.annotations),
        observed=at,
    )


def entity(written: str | Mapping[str, Any] | None) -> EntityReference:
    """Return an entity as examples write it: `pod/prod/web-0`, or the event JSON's form; what names no node is on `node`."""
    if written is None:
        return _NODE
    if isinstance(written, str):
        parts = written.split("/")
        if parts[0] == "node":
            return EntityReference("node", parts[-1])
        name, namespace = parts[-1], parts[1] if len(parts) > 2 else ""
        return EntityReference(parts[0], name, namespace, f"{namespace}/{name}" if namespace else name, _NODE)
    parent = written.get("parent")
    above = None if parent is None and written["type"] in {"node", "namespace"} else entity(parent)
    return EntityReference(
        written["type"],
        written["name"],
        written.get("namespace", ""),
        str(written.get("uid", "")),
        above,
        written.get("attributes"),
    )


def run_examples(rule: Rule, rules: Sequence[Rule] = ()) -> list[ExampleResult]:
    """Run the examples of a rule, beside other rules where these are given; its findings alone are compared."""
    results = []
    for example in rule.examples:
        events, ids = example_events(example.events)
        engine = Engine([rule, *(one for one in rules if one.name != rule.name)])
        found = last_revisions(replay(engine, events))
        own = [one for one in found if one.get("rule") == rule.name]
        results.append(ExampleResult(rule.name, example.name, _compared(example, own, ids)))
    return results


def replay(engine: Engine, events: Sequence[UnifiedEvent]) -> list[UnifiedEvent]:
    """Return all findings that an engine tells of events, each with its revisions."""
    engine.add(events)
    return engine.advance(0, final=True)


def last_revisions(findings: Sequence[UnifiedEvent]) -> list[UnifiedEvent]:
    """Return the last revision of each finding, without those that another one supersedes, in the order of their roots."""
    last = {one.id: one for one in findings}
    return sorted((one for one in last.values() if not one.get("superseded_by")), key=lambda one: (one.timestamp, one.id))


def _compared(example: RuleExample, found: Sequence[UnifiedEvent], ids: Sequence[Sequence[str]]) -> str:
    if len(found) != len(example.findings):
        told = "; ".join(one.title for one in found) or "none"
        return f"expected {len(example.findings)} findings, found {len(found)}: {told}"
    problems = [_difference(expected, one, ids) for expected, one in zip(example.findings, found, strict=True)]
    return "; ".join(filter(None, problems))


def _difference(expected: ExpectedFinding, found: UnifiedEvent, ids: Sequence[Sequence[str]]) -> str:
    """Return in what a finding is not what was expected; only what was written is compared."""
    wanted: dict[str, Any] = {}
    if expected.root_cause is not None:
        wanted["root_cause"] = ids[expected.root_cause][0]
    if expected.impacts is not None:
        wanted["impacts"] = [identity for index in expected.impacts for identity in ids[index]]
    if expected.members is not None:
        wanted["members"] = sorted(identity for index in expected.members for identity in ids[index])
    if expected.confidence is not None:
        wanted["confidence"] = expected.confidence
    if expected.title is not None:
        wanted["title"] = expected.title
    told = {**found.view().attributes, "title": found.title, "members": sorted(found.get("members"))}
    return "; ".join(f"{name} is {told[name]!r}, expected {value!r}" for name, value in wanted.items() if told[name] != value)
