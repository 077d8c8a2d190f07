"""What the texts of log events mean: patterns first, then classifiers, else the severity that was declared stays.

All patterns and the triggers of all classifiers are looked for in one pass. The first pattern by rank that speaks of texts by
this writer decides; without one, the classifiers whose trigger was found are asked in their order, then those that have none.

What is found sets type, title, entity and attributes, and raises the severity: never is it lower than the writer declared. To
`debug` it is lowered only where nothing was declared (standard output, which the journal takes for info, and sources without
journal fields). What an event says of itself is not overwritten: an extracted attribute that it has with another value is
called `subject_<key>`, and one of a classifier is left out. `pattern` or `classifier` says who decided, `category` the subject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.component import ComponentContext
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.config.suggest import suggestion
from tapio_otel.event import AttributeValue, EventType, Severity, UnifiedEvent
from tapio_otel.patterns import MAX_TEXT, Library, Matcher, Pattern, Subjects, load_library, writer_of
from tapio_otel.patterns.expressions import Refused, check_expression

PATTERN_KEY: Final = "pattern"
CLASSIFIER_KEY: Final = "classifier"
CATEGORY_KEY: Final = "category"

Report = Callable[[str, Exception], None]
_UNDECLARED: Final = frozenset(("stdout", ""))
"""Transports over which a severity of info means that none was declared."""


class Texts:
    """Classify the texts of log events; raises `ConfigError` with all that is wrong with what it is told to use."""

    def __init__(
        self, context: ComponentContext, entries: Sequence[str], disabled: Sequence[str], classifiers: Sequence[str] | None
    ) -> None:
        self._context = context
        self.library, self._classifiers, problems = _loaded(context, entries, disabled, classifiers)
        self._matcher = _matcher(self.library.patterns, self._classifiers, problems)
        self._subjects = Subjects(context.entities)
        self._count = len(self.library)
        order = list(enumerate(self._classifiers.values()))
        self._untriggered = [self._count + index for index, one in order if not one.trigger]
        self._names = [*self.library.names, *self._classifiers]

    def classify(self, events: Sequence[UnifiedEvent], report: Report) -> int:
        """Classify what is of type `log` in place; returns how many times a classifier failed."""
        hits, always, log = self._matcher.hits, bool(self._untriggered), EventType.LOG
        found: list[tuple[UnifiedEvent, list[int]]] = []
        for event in events:
            if event.type == log and ((indexes := hits(event.description)) or always):
                found.append((event, indexes))
        if not found:
            return 0
        return self._classify(found, report)

    def _classify(self, found: list[tuple[UnifiedEvent, list[int]]], report: Report) -> int:
        counts: Counter[tuple[str, str]] = Counter()
        failed = 0
        for event, hits in found:
            if event.get(PATTERN_KEY) is not None or event.get(CLASSIFIER_KEY) is not None:
                continue  # classified before
            index = self._matcher.first(hits, writer_of(event), event.severity)
            if index is not None:
                pattern = self.library.patterns[index]
                self._apply(index, pattern, event)
                counts["category", pattern.category or "none"] += 1
                continue
            for candidate in self._candidates(hits):
                name = self._names[candidate]
                try:
                    if self._ask(name, event):
                        counts["classifier", name] += 1
                        break
                except Exception as error:
                    failed += 1
                    self._context.counters.add("failed", 1, classifier=name, reason=type(error).__name__)
                    report(f"classifier {name!r}", error)
        for (kind, value), count in counts.items():
            self._context.counters.add("classified", count, **{kind: value})
        return failed

    def _candidates(self, hits: Sequence[int]) -> Iterator[int]:
        """Yield the classifiers to be asked: those that were triggered, then those that have no trigger."""
        yield from (index for index in hits if index >= self._count)
        yield from self._untriggered

    def _apply(self, index: int, pattern: Pattern, event: UnifiedEvent) -> None:
        extracted = self._matcher.extract(index, event.description)
        if extracted is None:  # the set found it, so this cannot be
            return
        entity = self._subjects.of(pattern, extracted.groups, event)
        _raise_severity(event, pattern.severity)
        event.type = pattern.event_type
        event.title = extracted.title or event.title
        if entity is not None:
            event.entity = entity
        event.set(PATTERN_KEY, pattern.name)
        if pattern.category:
            event.set(CATEGORY_KEY, pattern.category)
        for key, value in extracted.attributes.items():
            _set_extracted(event, key, value)

    def _ask(self, name: str, event: UnifiedEvent) -> bool:
        """Ask a classifier, and take what it says; tells whether it said anything."""
        said = self._classifiers[name](event.description[:MAX_TEXT], event)
        if said is None:
            return False
        _take(said, event)
        event.set(CLASSIFIER_KEY, name)
        return True

    def explain(self, event: UnifiedEvent) -> list[dict[str, Any]]:
        """Tell what is found in an event's text, in the order of its rank, and why each is chosen or not."""
        hits = self._matcher.hits(event.description)
        chosen = self._matcher.first(hits, writer_of(event), event.severity)
        told: list[dict[str, Any]] = []
        for index in [one for one in hits if one < self._count]:
            reason = "ranks first"
            if self._matcher.first([index], writer_of(event), event.severity) is None:
                reason = f"asks for another writer: {_asked(self.library.patterns[index])}"
            elif index != chosen and chosen is not None:
                reason = f"ranks after {self._names[chosen]}"
            told.append({"pattern": self._names[index], "chosen": index == chosen, "reason": reason})
        for index in self._candidates(hits):
            reason = "a pattern decides" if chosen is not None else "asked in this order"
            told.append({"classifier": self._names[index], "reason": reason})
        return told


def _asked(pattern: Pattern) -> str:
    fields = pattern.fields
    if fields is None:
        return ""
    named = {"identifier": fields.identifier, "unit": fields.unit, "transport": fields.transport}
    told = [f"{name} {' or '.join(values)}" for name, values in named.items() if values]
    if fields.severities:
        told.append(f"priority {' or '.join(one.keyword for one in sorted(fields.severities))}")
    return ", ".join(told)


def _loaded(
    context: ComponentContext, entries: Sequence[str], disabled: Sequence[str], names: Sequence[str] | None
) -> tuple[Library, Mapping[str, Classifier], list[Problem]]:
    """Return library and classifiers, and what is wrong with either."""
    problems: list[Problem] = []
    provided: Mapping[str, Path] = context.provided("patterns")
    library = Library()
    try:
        library = load_library(entries, disabled, provided)
    except ConfigError as error:
        problems += error.problems
    return library, _chosen(context.provided("classifiers"), names, problems), problems


def _chosen(known: Mapping[str, Classifier], names: Sequence[str] | None, problems: list[Problem]) -> dict[str, Classifier]:
    """Return the classifiers to use, in their order."""
    for index, name in enumerate(names or []):
        if name not in known:
            message = f"there is no classifier {name!r}; {suggestion(name, known, 'there are')}"
            problems.append(Problem("", None, f"classifiers[{index}]", message))
    chosen = {name: known[name] for name in (known if names is None else names) if name in known}
    for name, one in chosen.items():
        try:
            if one.trigger:
                check_expression(one.trigger)
        except Refused as refused:
            problems.append(Problem("", None, "classifiers", f"the trigger of the classifier {name!r} {refused}"))
    return chosen


def _matcher(patterns: Sequence[Pattern], classifiers: Mapping[str, Classifier], problems: list[Problem]) -> Matcher:
    """Return what looks for everything at once; raises `ConfigError` when there are problems."""
    if problems:
        raise ConfigError(problems)
    never = r"\z\A."  # in the place of a missing trigger, so that numbers are places in the chain
    return Matcher(patterns, [one.trigger or never for one in classifiers.values()])


def _raise_severity(event: UnifiedEvent, severity: Severity) -> None:
    """Raise a severity; lower it to debug where it was only taken for info as nothing was declared."""
    if severity > event.severity or (severity == Severity.DEBUG and event.severity == Severity.INFO and _undeclared(event)):
        event.severity = severity


def _undeclared(event: UnifiedEvent) -> bool:
    return writer_of(event).transport in _UNDECLARED


def _set_extracted(event: UnifiedEvent, key: str, value: AttributeValue) -> None:
    there = event.get(key)
    if there is None:
        event.set(key, value)
    elif there != value and str(there) != str(value) and event.get(f"subject_{key}") is None:
        event.set(f"subject_{key}", value)


def _take(said: Classification, event: UnifiedEvent) -> None:
    """Take what a classifier says of an event."""
    if said.severity is not None:
        _raise_severity(event, said.severity)
    event.type = said.type or event.type
    event.title = said.title or event.title
    if said.category:
        event.set(CATEGORY_KEY, said.category)
    for key, value in said.attributes.items():
        if event.get(key) is None:
            event.set(key, value)
