"""From YAML text to a located tree, with everything that YAML permits and a configuration must not contain refused.

Built on the parser's events and not on its documents: so every key has its line, duplicates are seen, and what aliases
would expand to is counted before anything is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml

from tapio_otel.config.located import Located, Position, Scalar
from tapio_otel.config.problem import Path, Problem
from tapio_otel.config.scalars import resolve

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_WEIGHT: Final = 50_000
"""How much a document may hold, aliases expanded: a value weighs 1, and 1 more for each 64 characters."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG: Final = "tag:yaml.org,2002:"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAB_INDENT = re.compile(r"^[ ]*\t")
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


class _Refused(Exception):
    """Stop reading a document at once."""

    def __init__(self, position: Position, path: Path, message: str) -> None:
        super().__init__(message)
        self.problem = position.problem(path, message)


@dataclass(slots=True)
class Composed:
    """Hold what a document says (None when nothing), its problems, whether it was read to its end, and its weight."""

    root: Located | None
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True
    weight: int = 0


def compose(text: str, file: str, *, lines: bool = True) -> Composed:
    """Read one YAML document. Never raises for what the text contains; `lines=False` leaves line numbers out."""
    bad = _UNPRINTABLE.search(text)
    if bad:
        place = Position(file, text.count("\n", 0, bad.start()) + 1 if lines else None)
        return Composed(None, [place.problem((), _unprintable(bad[0]))], complete=False)
    composer = _Composer(text, file, lines)
    try:
        root = composer.document()
    except _Refused as refused:
        return Composed(None, [*composer.problems, refused.problem], complete=False)
    except yaml.YAMLError as error:
        return Composed(None, [*composer.problems, _syntax(error, text, file, lines)], complete=False)
    return Composed(root, composer.problems, weight=composer.weight)


class _Composer:
    def __init__(self, text: str, file: str, lines: bool) -> None:
        self.problems: list[Problem] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=LOADER)
        self._file, self._lines = file, lines
        self._anchors: dict[str, tuple[Located, int]] = {}
        self._open: set[str] = set()
        self.weight = 0
        self._path: list[str | int] = []

    def document(self) -> Located | None:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self._events))
        next(self._events)  # the document's end
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            self._report(following, "a second document starts here; write one document a file and give several files instead")
        return root

    def _position(self, event: Any) -> Position:
        return Position(self._file, event.start_mark.line + 1 if self._lines else None)

    def _report(self, event: Any, message: str) -> None:
        self.problems.append(self._position(event).problem(tuple(self._path), message))

    def _refuse(self, event: Any, message: str) -> _Refused:
        return _Refused(self._position(event), tuple(self._path), message)

    def _weigh(self, event: Any, amount: int) -> None:
        self.weight += amount
        if self.weight > MAX_WEIGHT:
            raise self._refuse(
                event, f"the document holds more than {MAX_WEIGHT} values once its aliases are expanded; make it smaller"
            )

    def _node(self, event: Any, position: Position | None = None) -> Located:
        position = position or self._position(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, position)
        before, anchor = self.weight, event.anchor
        self._open |= {anchor} if anchor else set()
        node = self._content(event, position)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = (node, self.weight - before)
        return node

    def _alias(self, event: Any, position: Position) -> Located:
        if event.anchor in self._open:
            raise self._refuse(
                event, f"the alias *{event.anchor} stands inside what it names, which would never end; remove it"
            )
        if event.anchor not in self._anchors:
            raise self._refuse(event, f"the alias *{event.anchor} has no anchor &{event.anchor} before it; define it first")
        node, weight = self._anchors[event.anchor]
        self._weigh(event, weight)
        return replace(node, position=position)

    def _content(self, event: Any, position: Position) -> Located:
        if isinstance(event, yaml.ScalarEvent):
            self._weigh(event, 1 + len(event.value) // 64)
            return self._scalar(event, position)
        self._weigh(event, 1)
        if len(self._path) >= MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels; no option needs that")
        mapping = isinstance(event, yaml.MappingStartEvent)
        node = Located(self._mapping() if mapping else self._sequence(), position)
        if event.tag in (None, "!", _TAG + ("map" if mapping else "seq")):
            return node
        return self._unknown_tag(event, position)

    def _scalar(self, event: Any, position: Position) -> Located:
        tag = event.tag
        if tag in (None, "!", _TAG + "str"):
            unquoted = tag is None and event.implicit[0]
            return Located(resolve(event.value) if unquoted else event.value, position)
        kinds = _KINDS.get(tag.removeprefix(_TAG)) if tag.startswith(_TAG) else None
        if kinds is None:
            return self._unknown_tag(event, position)
        value: Scalar = resolve(event.value)
        if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
            return Located(value, position)
        self._report(event, f"the value does not fit its tag !!{tag.removeprefix(_TAG)}; remove the tag or change the value")
        return Located(None, position, broken=True)

    def _unknown_tag(self, event: Any, position: Position) -> Located:
        shown = event.tag.replace(_TAG, "!!")
        self._report(event, f"the tag {shown} is not supported; write the plain value, or ${{env:NAME}} or ${{file:PATH}}")
        return Located(None, position, broken=True)

    def _sequence(self) -> list[Located]:
        items: list[Located] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(items))
            items.append(self._node(event))
            self._path.pop()
        return items

    def _mapping(self) -> dict[str, Located]:
        members: dict[str, Located] = {}
        merged: list[Located] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if _is_merge(event):
                merged += self._merge_sources(event)
            else:
                self._member(event, members)
        for source in merged:
            for key, node in source.members().items():
                members.setdefault(key, node)
        return members

    def _member(self, event: Any, members: dict[str, Located]) -> None:
        key = self._key(event)
        self._path.append("?" if key is None else key)
        node = self._node(next(self._events), self._position(event))
        if key in members:
            first = members[key].position
            self._report(event, f"this key is already there{_at(first)}; remove one of the two")
        elif key is not None:
            members[key] = node
        self._path.pop()

    def _key(self, event: Any) -> str | None:
        node = self._node(event)
        if isinstance(node.value, str) or node.broken:
            return node.value if isinstance(node.value, str) else None
        if isinstance(node.value, dict | list):
            kind = "mapping" if isinstance(node.value, dict) else "list"
            self._report(event, f"a {kind} is used as a key; a key must be text (text with braces or brackets needs quotes)")
            return None
        if isinstance(event, yaml.AliasEvent):
            self._report(event, "the alias used as a key does not name text; write the key out")
        else:
            word = event.value or "null"
            self._report(event, f"the key {word} is read as {_kind(node.value)}, and a key must be text; write it as {word!r}")
        return None

    def _merge_sources(self, event: Any) -> list[Located]:
        self._weigh(event, 1)
        self._path.append("<<")
        node = self._node(next(self._events))
        self._path.pop()
        sources = node.value if isinstance(node.value, list) else [node]
        if all(isinstance(source.value, dict) for source in sources):
            return sources
        self._report(event, "<< merges mappings only; give it an alias of a mapping, or a list of such")
        return []


def _is_merge(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.tag is None and bool(event.implicit[0])


def _at(position: Position) -> str:
    return "" if position.line is None else f" (line {position.line})"


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return "true or false" if isinstance(value, bool) else "a number"


def _unprintable(character: str) -> str:
    if 0xD800 <= ord(character) <= 0xDFFF:
        return "the text is not valid UTF-8; save it as UTF-8"
    return f"found the control character U+{ord(character):04X}; remove it, or write it as an escape in double quotes"


def _syntax(error: yaml.YAMLError, text: str, file: str, lines: bool) -> Problem:
    """Translate the parser's complaint; its words do not quote the text, which may hold secrets."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    number = mark.line if mark is not None else 0
    written = text.split("\n")
    number = min(number, max(len(written) - 1, 0))
    begun = getattr(error, "context_mark", None) or mark
    around = written[begun.line if begun is not None and begun.line < len(written) else 0] + written[number]
    message = f"not valid YAML: {_complaint(error)}{_advice(written[number], around)}"
    return Position(file, number + 1 if lines else None).problem((), message)


def _complaint(error: yaml.YAMLError) -> str:
    context, problem = getattr(error, "context", None), getattr(error, "problem", None)
    return " ".join(part for part in (context, problem) if part) or "it cannot be read"


def _advice(line: str, around: str) -> str:
    if _TAB_INDENT.match(line):
        return "; a tab indents this line, use spaces"
    if "${" in around:
        return '; put values with ${...} between braces or brackets in quotes, such as ["${env:NAME}"]'
    return "; check indentation, colons and quotes here and on the line before"
