"""Findings: the event that tells what a rule concludes from a group.

Its id is made of the rule, the root cause's event and the group's key, so that it is the same whenever the same is concluded;
each revision of a finding has the same id. All that it says comes from the events and from event time: nothing from the clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from tapio_otel.correlation.confidence import confidence
from tapio_otel.correlation.facts import Fact
from tapio_otel.correlation.group import Group, in_time
from tapio_otel.correlation.lineage import host_of
from tapio_otel.correlation.template import duration, template_of
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import AttributeValue, EventType, Severity, Source, UnifiedEvent
from tapio_otel.event_json import EventFormatError, to_dict
from tapio_otel.identity import event_id
from tapio_otel.otlp.semconv import EMIT_TRACE

OPEN: Final = "open"
CLOSED: Final = "closed"
MOST_LISTED: Final = 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000_000


def finding_id(group: Group, root: Fact) -> str:
    """Return the id of what a group concludes."""
    return event_id("correlation", group.rule.name, root.event.id, *map(str, group.key))


def make_finding(group: Group, now_ns: int, state: str, *, with_members: bool = False) -> UnifiedEvent:
    """Return the finding of a group that has fired, as it stands at a moment of event time.

    `with_members` puts the event JSON of its members into `tapio.emit_trace`, for exporters that send traces.
    """
    telling = _Telling(group)
    finding = telling.event(now_ns, state)
    if with_members:
        finding.set(EMIT_TRACE, telling.whole_members())
    return finding


class _Telling:
    """Gather what a finding says of its group."""

    def __init__(self, group: Group) -> None:
        assert group.root is not None, "the group has fired"
        self.group, self.rule = group, group.rule
        conclusion = group.conclusion
        self.root: Fact = group.root if conclusion is None or conclusion.root is None else conclusion.root
        self.facts = group.all_facts()
        self.impacts = self._impacts() if conclusion is None or conclusion.impacts is None else list(conclusion.impacts)
        self.members = _members(group)
        self._known: dict[tuple[str, str], Any] = {}
        """Values that the texts have asked for: title, description and hint mostly name the same."""

    def _impacts(self) -> list[Fact]:
        root_events = {one.event.id for one in self.root.witnesses}
        told: set[str] = set()
        found = []
        aliases = self.rule.impact_aliases
        several = {id(one): one for alias in aliases for one in self.group.facts.get(alias, ())}
        for fact in sorted(several.values(), key=in_time):
            identity = fact.event.id
            if identity == self.root.event.id or identity in told:
                continue
            if not fact.kind.follows and any(one.event.id in root_events for one in fact.witnesses):
                continue  # the same occurrence, by another class
            if self.group.may_follow(self.root, fact):
                told.add(identity)
                found.append(fact)
        return found

    def event(self, now_ns: int, state: str) -> UnifiedEvent:
        conclusion, rule = self.group.conclusion, self.rule
        severity = rule.severity or Severity(max(one.severity for one in self.members))
        title = (conclusion.title if conclusion is not None else "") or self._fill(rule.title)
        description = (conclusion.description if conclusion is not None else "") or self._fill(rule.description)
        return UnifiedEvent(
            id=self.group.id,
            timestamp=self.root.timestamp,
            observed=now_ns,
            source=Source.CORRELATION,
            type=EventType.CORRELATION,
            severity=severity,
            entity=self.root.entity,
            title=title,
            description=description,
            attributes=self._attributes(state),
        )

    def _attributes(self, state: str) -> dict[str, AttributeValue]:
        members, conclusion = self.members, self.group.conclusion
        hint = (conclusion.hint if conclusion is not None else "") or self._fill(self.rule.hint)
        attributes: dict[str, AttributeValue] = {
            "rule": self.rule.name,
            "confidence": self.confidence(),
            "root_cause": self.root.event.id,
            "impacts": _listed(fact.event.id for fact in self.impacts),
            "members": _listed(event.id for event in members),
            "entities": _listed(path(fact.entity) for fact in (self.root, *self.facts)),
            "sources": _listed(event.source for event in members),
            "witnesses": len(members),
            "first_seen": rfc3339(members[0].timestamp),
            "last_seen": rfc3339(members[-1].timestamp),
            "window": self.rule.window_ns / _SECOND,
            "revision": self.group.revision,
            "state": state,
        }
        if hint:
            attributes["hint"] = hint
        traces = _listed(event.trace_id for event in members if event.trace_id)
        if traces:
            attributes["traces"] = traces
        context = self._context()
        if context:
            attributes["context"] = context
        if self.group.overflow:
            attributes["left_out"] = self.group.overflow
        if self.group.superseded_by:
            attributes["superseded_by"] = self.group.superseded_by
        return attributes

    def _context(self) -> list[AttributeValue]:
        """Return the ids of what happened before the root cause by more than clocks differ, and that a rule asks for."""
        begun = self.root.timestamp - self.group.tolerance_ns
        roots = {one.event.id for one in self.root.witnesses}
        return _listed(fact.event.id for fact in self.facts if fact.timestamp < begun and fact.event.id not in roots)

    def confidence(self) -> float:
        conclusion = self.group.conclusion
        if conclusion is not None and conclusion.confidence is not None:
            return float(conclusion.confidence)
        further = len(self.root.sources) - 1
        further += max((len(fact.sources) - 1 for fact in self.impacts), default=0)
        missing = sum(not self.group.count(alias) for alias in self.rule.evidence)
        contradicted = any(fact.timestamp < self.root.timestamp for fact in self.impacts)
        return confidence(self.rule.confidence, further, missing, contradicted)

    def whole_members(self) -> list[AttributeValue]:
        """Return the members as event JSON, the root cause's event first; without those that no JSON can hold."""
        root = self.root.event
        found: list[AttributeValue] = []
        for event in (root, *(one for one in self.members if one.id != root.id)):
            with suppress(EventFormatError):  # a time beyond the year 9999, say
                found.append(to_dict(event))
        return found

    def _fill(self, text: str) -> str:
        return template_of(text).fill(self._value) if text else ""

    def _value(self, subject: str, name: str) -> Any:
        asked = subject, name
        if asked not in self._known:
            self._known[asked] = self._look_up(subject, name)
        return self._known[asked]

    def _look_up(self, subject: str, name: str) -> Any:
        if subject == "finding":
            return self._of_finding(name)
        facts = self._subject(subject)
        if subject in {"impacts", "members"} or name in _OF_MANY:
            return len(facts) if name == "count" and subject in {"impacts", "members"} else self._of_many(facts, name)
        return self._of_fact(facts[0], name) if facts else None

    def _subject(self, subject: str) -> list[Fact]:
        if subject == "root":
            return [self.root]
        if subject in {"impact", "impacts"}:
            return self.impacts
        if subject == "last":
            return self.impacts[-1:] or self.facts[-1:]
        return self.facts if subject == "members" else self.group.facts.get(subject, [])

    def _of_many(self, facts: list[Fact], name: str) -> Any:
        if name == "count":
            return len(facts) or None
        if name == "sources":
            return _told_by(source for fact in facts for source in fact.sources)
        if name == "targets":
            found = [_target(fact) for fact in facts]
        else:
            found = [spoken(fact.entity) for fact in facts] if name in {"entities", "others"} else []
            if name == "others":
                found = [one for one in found if one != spoken(self.root.entity)]
        return list(dict.fromkeys(filter(None, found))) or None

    def _of_finding(self, name: str) -> Any:
        if name == "sources":
            return _told_by(event.source for event in self.members)
        if name == "span":
            return duration(self.members[-1].timestamp - self.members[0].timestamp)
        if name == "window":
            return duration(self.rule.window_ns)
        if name == "entities":
            return list(dict.fromkeys(spoken(fact.entity) for fact in self.facts))
        return len(self.members) if name in {"witnesses", "events"} else None

    def _of_fact(self, fact: Fact, name: str) -> Any:
        if name == "entity":
            return spoken(fact.entity)
        if name == "Entity":
            return fact.entity.name if fact.entity.type == EntityType.SYSTEMD_UNIT else _capital(spoken(fact.entity))
        if name == "node":
            return f"node {host}" if (host := host_of(fact.event)) else None
        if name == "time":
            return clock_time(fact.timestamp)
        if name == "after":
            return duration(max(fact.timestamp - self.root.timestamp, 0))
        if name == "severity":
            return fact.severity.keyword
        if name == "sources":
            return _told_by(fact.sources)
        if name in {"title", "description", "type", "source"}:
            return getattr(fact.event, name)
        return fact.get(name)


_OF_MANY: Final = frozenset(("count", "entities", "others", "targets", "sources"))
_SPOKEN: Final = {"ebpf": "the kernel", "journald": "the journal", "systemd": "systemd", "kubernetes": "Kubernetes"}


def _told_by(sources: Iterable[str]) -> list[str]:
    """Return sources as people call them, each once."""
    return [_SPOKEN.get(source, source) for source in dict.fromkeys(sources)]


def _target(fact: Fact) -> str:
    """Return what a fact failed to reach, as its event names it."""
    name = fact.get("host") or fact.get("dst_ip") or fact.get("server_ip") or ""
    port = fact.get("port") or fact.get("dst_port") or fact.get("server_port")
    if not isinstance(name, str) or not name or not port:
        return str(name)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _listed(words: Iterable[str]) -> list[AttributeValue]:
    """Return the first words, each once."""
    found: list[AttributeValue] = list(dict.fromkeys(words))
    return found if len(found) <= MOST_LISTED else found[:MOST_LISTED]


def _members(group: Group) -> list[UnifiedEvent]:
    found = {**group.members}
    for other in group.subsumed:
        found |= other.members
    return sorted((one.event for one in found.values()), key=lambda event: (event.timestamp, event.id))


def path(entity: EntityReference) -> str:
    """Return an entity as type/namespace/name, without a namespace as type/name."""
    return "/".join(filter(None, (entity.type, entity.namespace, entity.name)))


def spoken(entity: EntityReference) -> str:
    """Return an entity as people say it: `web.service`, `pod prod/web-0`, `container app of pod prod/web-0`."""
    if entity.type == EntityType.SYSTEMD_UNIT:
        return entity.name
    where = f"{entity.namespace}/" if entity.namespace else ""
    if entity.type == EntityType.CONTAINER and entity.parent is not None and entity.parent.type == EntityType.POD:
        return f"container {entity.name} of {spoken(entity.parent)}"
    return f"{entity.type.replace('_', ' ')} {where}{entity.name}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def rfc3339(nanoseconds: int) -> str:
    """Return a time in RFC 3339, in UTC, with nanoseconds."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{_date_time(seconds)}.{rest:09d}Z"


def clock_time(nanoseconds: int) -> str:
    """Return a time of day in UTC, to the millisecond."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{_date_time(seconds).rpartition('T')[2]}.{rest // 1_000_000:03d} UTC"


@lru_cache(maxsize=256)
def _date_time(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
