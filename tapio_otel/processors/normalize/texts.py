"""What the texts of log events mean: patterns first, then classifiers, else the severity that was declared stays.

All patterns and the triggers of all classifiers are looked for in one pass. The first pattern by rank that speaks of texts by
this writer decides, and a structure (JSON, logfmt, klog) around its text adds its severity and attributes; without a pattern,
the classifiers whose trigger was found are asked in their order, then those that have none.

What is found sets type, title, entity and attributes, and raises the severity: never is it lower than the writer declared. To
`debug` it is lowered only where nothing was declared (standard output, which the journal takes for info, and sources without
journal fields). What an event says of itself is not overwritten: an extracted attribute that it has with another value is
called `subject_<key>`, and one of a classifier is left out. `pattern` or `classifier` says who decided, `category` the subject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
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

_NOTHING: Final[Mapping[str, AttributeValue]] = MappingProxyType({})
Report = Callable[[str, Exception], None]
_UNDECLARED: Final = frozenset(("stdout", ""))
"""Transports over which a severity of info means that none was declared."""


_CLAIMED: Final = "the first that understands it"


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
        self._structured = frozenset(self._count + index for index, one in order if one.structured)
        self._names = [*self.library.names, *self._classifiers]
        self._asked = [(name, one.classify) for name, one in self._classifiers.items()]

    def classify(self, events: Sequence[UnifiedEvent], report: Report) -> int:
        """Classify what is of type `log` in place; returns how many times a classifier failed."""
        try:
            found = self._found(events)
        except Exception:  # an event whose text is none
            return sum(self._classify_alone(event, report) for event in events)
        if not found:
            return 0
        try:
            return self._classify(found, report)
        except Exception:  # what was classified before the one at fault is left alone
            return sum(self._classify_alone(event, report) for event, _ in found)

    def _found(self, events: Sequence[UnifiedEvent]) -> list[tuple[UnifiedEvent, list[int]]]:
        hits, always, log = self._matcher.hits, bool(self._untriggered), EventType.LOG
        found: list[tuple[UnifiedEvent, list[int]]] = []
        for event in events:
            if event.type == log and ((indexes := hits(event.description)) or always):
                found.append((event, indexes))
        return found

    def _classify_alone(self, event: UnifiedEvent, report: Report) -> int:
        """Classify one event of a batch with one at fault; returns how many times something failed."""
        try:
            return self._classify(self._found([event]), report)
        except Exception as error:
            self._context.counters.add("failed", 1, source=str(event.source), reason=type(error).__name__)
            report(f"understanding of a text by {event.source!r}", error)
            return 1

    def _classify(self, found: list[tuple[UnifiedEvent, list[int]]], report: Report) -> int:
        deciders: list[int] = []
        failed, patterns = 0, self._count
        for event, hits in found:
            if event.get(PATTERN_KEY) is not None or event.get(CLASSIFIER_KEY) is not None:
                continue  # classified before
            if hits and hits[0] < patterns:
                index = self._matcher.first(hits, writer_of(event), event.severity)
                if index is not None:
                    self._apply(index, self.library.patterns[index], event)
                    deciders.append(index)
                    if hits[-1] >= patterns:
                        failed += self._add_structure(index, hits, event, report)
                    continue
            text = event.description
            if len(text) > MAX_TEXT:
                text = text[:MAX_TEXT]
            for candidate in (*hits, *self._untriggered) if self._untriggered else hits:
                if candidate < patterns:
                    continue
                name, classify = self._asked[candidate - patterns]
                try:
                    said = classify(text, event)
                    if said is None:
                        continue
                    _take(said, name, event)
                except Exception as error:
                    failed += self._failed(name, error, report)
                else:
                    deciders.append(candidate)
                    break
        self._count_classified(Counter(deciders))
        return failed

    def _add_structure(self, index: int, hits: Sequence[int], event: UnifiedEvent, report: Report) -> int:
        """Add what a structured text, which a pattern knows, says by name; returns how many classifiers failed."""
        failed = 0
        for candidate in hits:
            if candidate not in self._structured:
                continue
            name, classify = self._asked[candidate - self._count]
            try:
                said = classify(event.description[:MAX_TEXT], event)
                if said is None:
                    continue
                _take_beside(said, event, bool(self.library.patterns[index].title))
            except Exception as error:
                failed += self._failed(name, error, report)
            else:
                break
        return failed

    def _failed(self, name: str, error: Exception, report: Report) -> int:
        self._context.counters.add("failed", 1, classifier=name, reason=type(error).__name__)
        report(f"classifier {name!r}", error)
        return 1

    def _count_classified(self, deciders: Counter[int]) -> None:
        """Count what was classified, once for each category and each classifier."""
        counts: Counter[tuple[str, str]] = Counter()
        for index, count in deciders.items():
            if index < self._count:
                counts["category", self.library.patterns[index].category or "none"] += count
            else:
                counts["classifier", self._names[index]] += count
        for (kind, value), count in counts.items():
            self._context.counters.add("classified", count, **{kind: value})

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
        decided = self._names[chosen] if chosen is not None else ""
        for index in self._candidates(hits):
            name, classify = self._asked[index - self._count]
            reason = f"comes after {decided}, which decides"
            if not decided:
                reason = _answer(classify, event)
                decided = name if reason == _CLAIMED else ""
            told.append({"classifier": name, "chosen": name == decided, "reason": reason})
        return told


def _answer(classify: Callable[[str, UnifiedEvent], Classification | None], event: UnifiedEvent) -> str:
    """Ask a classifier, and tell what became of it."""
    try:
        return "does not understand it" if classify(event.description[:MAX_TEXT], event) is None else _CLAIMED
    except Exception as error:
        return f"fails: {type(error).__name__}: {error}"


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
        if fault := _fault(one):
            problems.append(Problem("", None, "classifiers", f"{fault[0]} of the classifier {name!r} {fault[1]}"))
    return chosen


def _fault(classifier: Classifier) -> tuple[str, str] | None:
    """Return which part of a classifier is wrong, and what is wrong with it."""
    if not callable(classifier.classify):
        return "`classify`", f"is {classifier.classify!r:.100}, expected a function of a text and its event"
    if not isinstance(classifier.trigger, str):
        return "the trigger", f"is {classifier.trigger!r:.100}, expected an expression in RE2's syntax, or an empty text"
    try:
        if classifier.trigger:
            check_expression(classifier.trigger)
    except Refused as refused:
        return "the trigger", str(refused)
    return None


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


def _take_beside(said: Classification, event: UnifiedEvent, titled: bool) -> None:
    """Take what a structure says of an event whose type a pattern knows; raises TypeError where that is no `Classification`."""
    severity, _, _, title, attributes = _checked(said)
    if severity is not None:
        _raise_severity(event, max(severity, event.severity))
    if title and not titled:
        event.title = title
    if attributes:
        _add(event, attributes)


def _checked(said: Classification) -> Classification:
    if not isinstance(said, Classification):
        raise TypeError(f"returned {said!r:.100}, expected a tapio_otel.Classification or None")
    return said


def _take(said: Classification, name: str, event: UnifiedEvent) -> None:
    """Take what the classifier of that name says of an event; raises TypeError where that is no `Classification`."""
    severity, type_name, category, title, attributes = said if type(said) is Classification else _checked(said)
    if severity is not None and (severity > event.severity or severity == Severity.DEBUG):
        _raise_severity(event, severity)
    if type_name:
        event.type = type_name
    if title:
        event.title = title
    if category:
        event.set(CATEGORY_KEY, category)
    if attributes:
        _add(event, attributes)
    event.set(CLASSIFIER_KEY, name)


def _add(event: UnifiedEvent, attributes: Mapping[str, AttributeValue]) -> None:
    """Set the attributes that the event does not have yet."""
    origin = event.shared
    own, common = (event.attributes, _NOTHING) if origin is None else (event.own, origin.attributes)
    for key, value in attributes.items():
        if own.get(key) is None and common.get(key) is None:
            own[key] = value
