"""Examples: every pattern shows texts that it knows and texts that it must not, and these are run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tapio_otel.config.problem import Problem
from tapio_otel.entities import EntityMapper
from tapio_otel.entity import EntityReference
from tapio_otel.event import Origin, Severity, Source, UnifiedEvent
from tapio_otel.patterns.matcher import Extracted, Matcher
from tapio_otel.patterns.pattern import Example, Library, Pattern
from tapio_otel.patterns.subject import make_subject
from tapio_otel.patterns.writer import writer_of

_NOWHERE: Final = EntityReference("node", "example")
_SHOWN: Final = 100


def check_examples(library: Library) -> list[Problem]:
    """Return what is wrong with the examples: those that their pattern does not match first, or that say something else."""
    matcher = Matcher(library.patterns)
    return [one for index in range(len(library)) for one in example_problems(matcher, index)]


def example_problems(matcher: Matcher, index: int) -> Iterator[Problem]:
    """Yield what is wrong with the examples of one pattern."""
    pattern = matcher.patterns[index]
    for number, example in enumerate(pattern.examples):
        for fault in _faults(matcher, index, example):
            yield _problem(pattern, example, f"examples[{number}]", fault)
    for number, example in enumerate(pattern.counter_examples):
        if index in _hits(matcher, example, index):
            message = f"{_short(example.text)} matches, and must not; narrow the expression"
            yield _problem(pattern, example, f"counter_examples[{number}]", message)


def _problem(pattern: Pattern, example: Example, which: str, message: str) -> Problem:
    return Problem(pattern.file, example.line or pattern.line, f"{pattern.name}.{which}", message)


def _hits(matcher: Matcher, example: Example, index: int) -> list[int]:
    """Return the hits in a text, the pattern's own only if it speaks of such a writer."""
    event = as_event(example)
    return [one for one in matcher.hits(example.text) if one != index or _speaks(matcher, one, event)]


def _speaks(matcher: Matcher, index: int, event: UnifiedEvent) -> bool:
    return matcher.first([index], writer_of(event), event.severity) == index


def _faults(matcher: Matcher, index: int, example: Example) -> Iterator[str]:
    event = as_event(example)
    hits = matcher.hits(example.text)
    first = matcher.first(hits, writer_of(event), event.severity)
    if index not in hits:
        yield f"{_short(example.text)} does not match; correct the expression or the example"
    elif not _speaks(matcher, index, event):
        yield f"{_short(example.text)} matches, but not by this writer; give the example the fields that the pattern asks for"
    elif first is not None and first != index:
        other = matcher.patterns[first]
        place = f"{other.file}, line {other.line}" if other.file else "elsewhere"
        yield f"{_short(example.text)} is taken by {other.name!r} ({place}), which ranks before; narrow one of the two"
    else:
        extracted = matcher.extract(index, example.text) or Extracted()
        yield from _wrong_attributes(extracted, example)
        yield from _wrong_entity(matcher.patterns[index], extracted, example, event)


def _wrong_attributes(extracted: Extracted, example: Example) -> Iterator[str]:
    for key, expected in example.attributes.items():
        found = extracted.attributes.get(key)
        if found != expected or isinstance(found, bool) != isinstance(expected, bool):
            yield f"{_short(example.text)} has {key} {_value(found)}, expected {_value(expected)}"


def _wrong_entity(pattern: Pattern, extracted: Extracted, example: Example, event: UnifiedEvent) -> Iterator[str]:
    if not example.entity:
        return
    made = make_subject(pattern, extracted.groups, event, EntityMapper(Path("/nonexistent")))
    for key, expected in example.entity.items():
        found = getattr(made, key, None) if key in {"type", "name", "namespace", "uid"} else None
        if found != expected:
            yield f"{_short(example.text)} is about an entity with {key} {_value(found)}, expected {_value(expected)}"


def as_event(example: Example) -> UnifiedEvent:
    """Return the event of an example, as the journal would give it where the writer's fields are given."""
    told = {"SYSLOG_IDENTIFIER": example.identifier, "_SYSTEMD_UNIT": example.unit, "_TRANSPORT": example.transport}
    record: dict[str, Any] = {name: value for name, value in told.items() if value}
    if record:
        record["_UID"] = "0"
    origin = Origin(EntityMapper(Path("/nonexistent")).node, record=record)
    severity = Severity.INFO if example.priority is None else example.priority
    title = example.text.partition("\n")[0][:_SHOWN]
    return UnifiedEvent.of_origin(origin, "example", 1, 1, Source.JOURNALD, "log", severity, title, example.text, {})


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _value(value: object) -> str:
    return "nothing" if value is None else repr(value)
