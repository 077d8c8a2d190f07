"""Reading one pattern file: into patterns, or into everything that is wrong with it, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Final

from pydantic import ValidationError

from tapio_otel.config.compose import compose
from tapio_otel.config.explain import check, show
from tapio_otel.config.files import Unreadable, read_text
from tapio_otel.config.located import Located, plain
from tapio_otel.config.problem import Path as At
from tapio_otel.config.problem import Problem
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

_TOP: Final = "patterns"
_SHOWN: Final = 200
_ENTITY_KEYS: Final = frozenset((*SUBJECTS, "name", "namespace", "uid"))
_RESERVED: Final = frozenset(("pattern", "category", "classifier"))
"""Attributes that say how a text was classified, and cannot be extracted."""


class PatternFile:
    """Read a file; `patterns` are those without fault, in their order, `problems` all that is wrong."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self.patterns: list[Pattern] = []
        self.problems: list[Problem] = []
        self.names: dict[str, int | None] = {}
        """The names of all patterns that are written, with their lines."""
        self.complete = False
        self._suspects: frozenset[str] = frozenset()
        try:
            self._read(read_text(path))
        except Unreadable as error:
            self.problems.append(Problem(self.file, error.line, "", str(error)))
        self.problems.sort(key=lambda problem: problem.line or 0)

    def _read(self, text: str) -> None:
        composed = compose(text, self.file)
        self.problems += composed.problems
        root = composed.root
        if root is None:
            if composed.complete:
                self.problems.append(Problem(self.file, None, "", f"the file is empty; write a list under {_TOP}:"))
            return
        self.complete = composed.complete
        for name, node in root.members().items():
            if name != _TOP:
                self._add(node, (name,), f"unknown key {name!r}; a pattern file has the one key {_TOP}")
        patterns = root.child(_TOP)
        if patterns is None or not isinstance(patterns.value, list):
            found = root if patterns is None else patterns
            self._add(found, () if patterns is None else (_TOP,), f"expected a list under {_TOP}:, found {show(found)}")
            return
        written = [str(at.value) for node in patterns.value for _, at in _expressions_of(node)]
        self._suspects = frozenset(suspects(written))
        for index, node in enumerate(patterns.value):
            self._pattern(node, (_TOP, index))

    def _add(self, node: Located, path: At, message: str) -> None:
        self.problems.append(node.position.problem(path, message))

    def _pattern(self, node: Located, path: At) -> None:
        """Take one entry; everything that can be said about it is said, whatever else is wrong with it."""
        before = len(self.problems)
        options = self._options(node, path)
        self._check_name(node, path)
        self._check_expressions(node, path)
        self._check_groups(node, path)
        self._check_subject(node, path)
        if options is not None and len(self.problems) == before:
            self.patterns.append(_made(options, node, self.file))

    def _options(self, node: Located, path: At) -> PatternOptions | None:
        """Validate an entry, and where it is not valid once more with every complaint explained."""
        try:
            return PatternOptions.model_validate(plain(node))
        except ValidationError:
            checked = check(PatternOptions, node, path)
        self.problems += checked.problems
        return checked.config

    def _check_name(self, node: Located, path: At) -> None:
        at = node.child("name")
        if at is None or not isinstance(at.value, str):
            return
        if at.value in self.names:
            self._add(at, (*path, "name"), f"a pattern {at.value!r} is already at line {self.names[at.value]}; rename one")
        self.names.setdefault(at.value, at.position.line)

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
