"""Reading one rule file: into rules, or into everything that is wrong with it, each with its line.

What is most probably wrong, and may be right (a source, or a type of event, that nothing that ships has), is logged as a
warning with its line, and refuses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tapio_otel.config.entry_file import EntryFile
from tapio_otel.config.located import Located
from tapio_otel.config.problem import Path as At
from tapio_otel.config.problem import Problem, format_path
from tapio_otel.config.suggest import nearest, suggestion
from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.grammar import ConditionError, parse_condition
from tapio_otel.correlation.keys import RANKS
from tapio_otel.correlation.known_names import known_sources, known_types
from tapio_otel.correlation.rule import ADDRESS, ANY, EARLIEST, GROUP, FactSelector, Rule
from tapio_otel.correlation.rule_options import EarliestOf, FactOptions, RuleOptions
from tapio_otel.correlation.template import Template, TemplateError
from tapio_otel.event import Severity

_SUBJECTS: Final = ("root", "impact", "impacts", "last", "members", "finding")
_SECOND: Final = 1_000_000_000
_LOG: Final = logging.getLogger(__name__)
JOINS: Final = (GROUP, ADDRESS, ANY, *(rank for rank in RANKS if rank != ADDRESS))
"""What `join` may say."""
_RESERVED: Final = frozenset((*_SUBJECTS, EARLIEST, "and", "or", "not", "count", "distinct", "sequence", "absent"))


class RuleFile(EntryFile):
    """Read a file; `rules` are those without fault, in their order, `problems` all that is wrong, `warnings` what may be."""

    top = "rules"
    noun = "rule"

    def __init__(self, path: Path) -> None:
        self.rules: list[Rule] = []
        self.warnings: list[Problem] = []
        super().__init__(path)
        for warning in self.warnings:
            _LOG.warning("%s", warning)

    def _take(self, node: Located, path: At) -> None:
        before = len(self.problems)
        self._check_name(node, path)
        options = self._validated(RuleOptions, node, path, bare=True)
        if options is None:
            return
        for inner, message in (*_faults(options), *_template_faults(options)):
            self._add(_at(node, inner), (*path, *inner), message)
        for inner, message in _doubts(options):
            at = _at(node, inner).position
            self.warnings.append(Problem(self.file, at.line, format_path((*path, *inner)), message, "warning"))
        if len(self.problems) == before:
            self.rules.append(made(options, self.file, node.position.line))


def _at(node: Located, path: At) -> Located:
    """Return the node at a path, or the last one above it that is written."""
    for part in path:
        child = node.child(part)
        if child is None:
            return node
        node = child
    return node


def _faults(options: RuleOptions) -> Iterator[tuple[At, str]]:
    """Yield what is wrong beyond the types of the options, each with its path."""
    for alias, selector in options.facts.items():
        if alias in _RESERVED:
            yield ("facts", alias), f"{alias!r} has a meaning of its own in conditions and texts; name the alias otherwise"
        yield from ((("facts", alias, *inner), message) for inner, message in _selector_faults(selector))
    if options.condition:
        try:
            parse_condition(options.condition, options.facts)
        except ConditionError as error:
            yield ("condition",), str(error)
    for index, name in enumerate(options.group_by):
        if name not in RANKS and name != ANY and name not in options.aliases and not name.startswith("attributes."):
            known = (*RANKS, ANY, *options.aliases)
            yield ("group_by", index), f"there is no rank {name!r}; {suggestion(name, known, 'there are')}"
    roots = root_aliases(options)
    named = [("root", name) for name in roots if name != EARLIEST] + [("impacts", name) for name in options.impacts or ()]
    named += [("evidence", name) for name in options.evidence]
    named += [("aliases", name) for by_alias in options.aliases.values() for name in by_alias]
    for where, name in named:
        if name not in options.facts:
            yield (where,), f"there is no alias {name!r}; {suggestion(name, options.facts, 'there are')}"
    if EARLIEST in roots and len(roots) > 1:
        yield ("root",), f"{EARLIEST} stands alone; write it, or aliases"
    if options.name in options.suppresses:
        yield ("suppresses",), "a rule cannot suppress itself; remove it"


def _doubts(options: RuleOptions) -> Iterator[tuple[At, str]]:
    """Yield names that nothing that ships has, each with its path: misspelt ones, or those of a plugin or a pattern."""
    asked: list[tuple[At, str]] = [(("sources",), name) for name in options.sources]
    asked += [(("facts", alias, "source"), name) for alias, one in options.facts.items() for name in _tuple(one.source)]
    for at, name in asked:
        if name not in known_sources():
            yield at, _doubt("source", name, known_sources())
    for alias, one in options.facts.items():
        for name in _tuple(one.event_type):
            if name not in known_types():
                yield ("facts", alias, "event_type"), _doubt("type of event", name, known_types())


def _doubt(noun: str, name: str, known: frozenset[str]) -> str:
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else "a plugin or a pattern must bring it"
    return f"nothing that ships has the {noun} {name!r}; {hint}"


def _selector_faults(selector: FactOptions) -> Iterator[tuple[At, str]]:
    for name in _tuple(selector.fact_class):
        if name not in CLASSES:
            yield ("class",), f"there is no class {name!r}; {suggestion(name, CLASSES, 'there are')}"
    if selector.join not in JOINS:
        yield ("join",), f"there is no join {selector.join!r}; {suggestion(selector.join, JOINS, 'there are')}"
    if selector.fact_class is not None and selector.event_type is not None:
        yield ("event_type",), "give class or event_type, not both; a second alias takes the other"
    if selector.fact_class is None and selector.event_type is None and not (selector.has_pattern or selector.where):
        yield (), "this chooses every event; give class, event_type, has_pattern or where"
    if selector.has_pattern:
        from tapio_otel.conditions.regexp import compiled

        try:
            compiled(selector.has_pattern)
        except ValueError as error:
            yield ("has_pattern",), f"RE2 cannot read {selector.has_pattern!r}: {error}"
    if selector.where:
        from tapio_otel.conditions import Condition, ConditionError

        try:
            Condition.compile(selector.where)
        except ConditionError as error:
            yield ("where",), str(error)


def _template_faults(options: RuleOptions) -> Iterator[tuple[At, str]]:
    for name in ("title", "description", "hint"):
        try:
            template = Template(getattr(options, name))
        except TemplateError as error:
            yield (name,), str(error)
            continue
        known = (*_SUBJECTS, *options.facts)
        for subject, value in template.values:
            if subject not in known:
                yield (name,), f"{{{subject}.{value}}}: there is no {subject!r}; {suggestion(subject, known, 'there are')}"


def _tuple(names: str | Iterable[str] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)


def root_aliases(options: RuleOptions) -> tuple[str, ...]:
    """Return the aliases that `root` names, or `earliest`."""
    root = options.root
    return tuple(root.earliest) if isinstance(root, EarliestOf) else _tuple(root)


def _ns(seconds: float) -> int:
    return round(seconds * _SECOND)


def made(options: RuleOptions, file: str = "", line: int | None = None) -> Rule:
    """Return the rule that checked options describe."""
    return Rule(
        name=options.name,
        facts={alias: _selector(selector) for alias, selector in options.facts.items()},
        window_ns=_ns(options.window),
        title=options.title,
        description=" ".join(options.description.split()),
        confidence=options.confidence,
        hint=" ".join(options.hint.split()),
        severity=_severity(options.severity),
        sources=frozenset(options.sources),
        min_events=options.min_events,
        condition=parse_condition(options.condition, options.facts) if options.condition else None,
        group_by=tuple(options.group_by),
        aliases=options.aliases,
        root=root_aliases(options),
        earliest=isinstance(options.root, EarliestOf),
        impacts=None if options.impacts is None else tuple(options.impacts),
        evidence=tuple(options.evidence),
        suppresses=tuple(options.suppresses),
        repeats_ns=_ns(options.repeats),
        examples=tuple(options.examples),
        file=file,
        line=line,
    )


def _selector(options: FactOptions) -> FactSelector:
    return FactSelector(
        classes=_tuple(options.fact_class),
        event_types=_tuple(options.event_type),
        pattern=options.has_pattern or "",
        having=tuple(options.having),
        where=options.where or "",
        severity=_severity(options.severity),
        sources=frozenset(_tuple(options.source)),
        optional=options.optional,
        join=options.join,
        before_ns=_ns(options.before),
    )


def _severity(keyword: Any) -> Severity | None:
    return None if keyword is None else Severity.from_keyword(keyword)
