"""Reading one pattern file: into patterns, or into everything that is wrong with it, each with its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Final

from tapio_otel.config.entry_file import EntryFile
from tapio_otel.config.located import Located, plain
from tapio_otel.config.problem import Path as At
from tapio_otel.config.suggest import suggestion
from tapio_otel.event import Severity
from tapio_otel.patterns.expressions import Refused, check_expression, group_names, suspects, unnamed_groups
from tapio_otel.patterns.pattern import Example, Extraction, FieldConditions, Pattern, SubjectRule
from tapio_otel.patterns.specification import (
    SUBJECTS,
    ExampleOptions,
    FieldOptions,
    PatternOptions,
    fault_of_subject,
)

_SHOWN: Final = 200
_ENTITY_KEYS: Final = frozenset((*SUBJECTS, "name", "namespace", "uid"))
_RESERVED: Final = frozenset(("pattern", "category", "classifier"))
"""Attributes that say how a text was classified, and cannot be extracted."""


class PatternFile(EntryFile):
    """Read a file; `patterns` are those without fault, in their order, `problems` all that is wrong."""

    top = "patterns"
    noun = "pattern"

    def __init__(self, path: Path) -> None:
        self.patterns: list[Pattern] = []
        self._suspects: frozenset[str] = frozenset()
        super().__init__(path)

    def _look_over(self, entries: Iterable[Located]) -> None:
        self._suspects = frozenset(suspects([str(at.value) for node in entries for _, at in _expressions_of(node)]))

    def _take(self, node: Located, path: At) -> None:
        before = len(self.problems)
        options = self._validated(PatternOptions, node, path)
        self._check_name(node, path)
        self._check_expressions(node, path)
        self._check_groups(node, path)
        self._check_subject(node, path)
        if options is not None and len(self.problems) == before:
            self.patterns.append(_made(options, node, self.file))

    def _check_expressions(self, node: Located, path: At) -> None:
        name = node.child("name")
        whose = f" of {name.value!r}" if name is not None and isinstance(name.value, str) else ""
        for inner, at in _expressions_of(node):
            if at.value not in self._suspects:
                continue
            try:
                check_expression(str(at.value))
            except Refused as refused:
                which = f"expression {int(inner[1]) + 1}" if len(inner) > 1 else "the expression"
                self._add(at, (*path, *inner), f"{which}{whose} {refused}; it is {_short(str(at.value))}")

    def _check_groups(self, node: Located, path: At) -> None:
        """Report what names a group that no expression has."""
        expressions = [str(at.value) for _, at in _expressions_of(node)]
        if not expressions:
            return
        names = {name: None for one in expressions for name in group_names(one)}
        extract = node.child("extract")
        positional = _texts(extract) if extract is not None else []
        if extract is not None and positional:
            unnamed = max(map(unnamed_groups, expressions))
            if len(positional) > unnamed:
                message = f"{len(positional)} names for {unnamed} unnamed groups; write one for each"
                self._add(extract, (*path, "extract"), message)
        known = {**names, **dict.fromkeys(positional)}
        for inner, at, name in (*_named(node), *self._titled(node, path)):
            if name not in known:
                there = suggestion(name, known, "its groups are")
                self._add(at, (*path, *inner), f"no expression has a group {name!r}; {there}")
        for name in sorted(_RESERVED & known.keys()):
            self._add(node, (*path, "pattern"), f"the group {name!r} says how a text was classified; name it otherwise")

    def _check_subject(self, node: Located, path: At) -> None:
        entity = node.child("entity")
        if entity is not None and isinstance(entity.value, dict):
            fault = fault_of_subject({key for key in entity.value if key in _ENTITY_KEYS})
            if fault:
                self._add(entity, (*path, "entity"), fault)

    def _titled(self, node: Located, path: At) -> Iterator[tuple[At, Located, str]]:
        title = node.child("title")
        if title is None or not isinstance(title.value, str):
            return
        try:
            parts = list(Formatter().parse(title.value))
        except ValueError as error:
            self._add(title, (*path, "title"), f"{error}; write {{{{ and }}}} for braces that are no group")
            return
        for _, name, form, conversion in parts:
            if name is None:
                continue
            if form or conversion or not name.isidentifier():
                self._add(title, (*path, "title"), f"{{{name}}} is more than a group's name; write {{group}} alone")
            else:
                yield ("title",), title, name


def _short(text: str) -> str:
    return " ".join((text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...").split("\n"))


def _texts(node: Located) -> list[str]:
    members = node.value if isinstance(node.value, list) else []
    return [one.value for one in members if isinstance(one.value, str)]


def _expressions_of(node: Located) -> list[tuple[At, Located]]:
    """Return every expression of an entry that is text, with its path in the entry."""
    at = node.child("pattern")
    if at is None:
        return []
    if isinstance(at.value, list):
        return [(("pattern", index), one) for index, one in enumerate(at.value) if isinstance(one.value, str) and one.value]
    return [(("pattern",), at)] if isinstance(at.value, str) and at.value else []


def _named(node: Located) -> Iterator[tuple[At, Located, str]]:
    """Yield the groups that `extract` and `entity` name, with their paths."""
    extract, entity = node.child("extract"), node.child("entity")
    for name, at in (extract.members() if extract is not None else {}).items():
        yield ("extract", name), at, name
    for key, at in (entity.members() if entity is not None else {}).items():
        if isinstance(at.value, str) and at.value:
            yield ("entity", key), at, at.value


def _made(options: PatternOptions, node: Located, file: str) -> Pattern:
    extract = options.extract
    positional = tuple(extract) if isinstance(extract, list) else ()
    return Pattern(
        name=options.name,
        expressions=_tuple(options.pattern),
        event_type=options.event_type,
        severity=Severity.from_keyword(options.severity),
        category=options.category,
        fields=_conditions(options.fields) if options.fields is not None else None,
        extract=Extraction(positional, {} if isinstance(extract, list) else dict(extract)),
        entity=_subject(options),
        title=options.title,
        wrapped=options.wrapped,
        examples=tuple(_examples(options.examples, node.child("examples"))),
        counter_examples=tuple(_examples(options.counter_examples, node.child("counter_examples"))),
        description=options.description,
        file=file,
        line=node.position.line,
    )


def _tuple(value: str | list[Any]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _conditions(options: FieldOptions) -> FieldConditions | None:
    made = FieldConditions(
        _tuple(options.identifier), _tuple(options.unit), _tuple(options.transport), _severities(options.priority)
    )
    return None if made == FieldConditions() else made


def _severities(priority: str | list[Any] | None) -> frozenset[Severity]:
    if isinstance(priority, str):
        return frozenset(one for one in Severity if one >= Severity.from_keyword(priority))
    return frozenset(map(Severity.from_keyword, priority or []))


def _subject(options: PatternOptions) -> SubjectRule | None:
    named: Mapping[str, str | None] = options.entity.model_dump() if options.entity is not None else {}
    for type in SUBJECTS:
        if group := named.get(type):
            return SubjectRule(type, group, named["name"] or "", named["namespace"] or "", named["uid"] or "")
    return None


def _examples(options: list[str | ExampleOptions], node: Located | None) -> Iterator[Example]:
    for index, one in enumerate(options):
        at = node.child(index) if node is not None else None
        line = at.position.line if at is not None else None
        if isinstance(one, str):
            yield Example(one, line)
            continue
        priority = Severity.from_keyword(one.priority) if one.priority else None
        attributes = plain(written) if at is not None and (written := at.child("attributes")) is not None else {}
        yield Example(one.text, line, one.identifier, one.unit, one.transport, priority, attributes, one.entity)
