"""Substitution of `${env:NAME}`, `${env:NAME:-default}`, `${NAME}` and `${file:PATH}`, by the collector's rules.

A value that is nothing but one substitution is read as YAML, so it may be a number, a list or a mapping; its text is kept for
options that want text. What was put in is never searched again, so a variable cannot bring in another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Final

from tapio_otel.config.compose import MAX_BYTES, MAX_WEIGHT, compose
from tapio_otel.config.files import Unreadable, read_text
from tapio_otel.config.located import Located, Position
from tapio_otel.config.problem import Path, Problem
from tapio_otel.config.scalars import resolve
from tapio_otel.config.secrecy import is_secret_name

MAX_TOTAL: Final = MAX_BYTES
"""How many characters all substitutions of a configuration may bring in together."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET_DIRECTORY = re.compile(r"(?:^|[/._-])(?:secrets?|credentials?|tokens?|passwords?)(?:[/._-]|$)", re.IGNORECASE)


class _Impossible(Exception):
    """Say why a substitution cannot be made."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Hold what a reference stands for, its name for messages, and whether it looks secret."""

    text: str
    origin: str
    hidden: bool


class Substitution:
    """Substitute in whole trees, collecting problems on the way."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._env = env
        self._files: dict[str, str] = {}
        self._total = self._weight = 0

    def apply(self, node: Located, path: Path = ()) -> Located:
        """Return the tree with every reference replaced; one that cannot be becomes a broken node."""
        if isinstance(node.value, dict):
            return replace(node, value={key: self.apply(child, (*path, key)) for key, child in node.value.items()})
        if isinstance(node.value, list):
            return replace(node, value=[self.apply(child, (*path, index)) for index, child in enumerate(node.value)])
        if not isinstance(node.value, str) or "$" not in node.value:
            return node
        try:
            return self._scalar(node, list(_split(node.value)))
        except _Impossible as reason:
            self.problems.append(node.position.problem(path, str(reason)))
            return Located(None, node.position, broken=True)

    def _scalar(self, node: Located, parts: list[tuple[bool, str]]) -> Located:
        found = [self._resolve(part) if reference else part for reference, part in parts]
        references = [one for one in found if isinstance(one, _Found)]
        if not references:
            text = "".join(part for _, part in parts)
            return replace(node, value=text, text=node.text and text)
        hidden = node.hidden or any(one.hidden for one in references)
        if len(found) == 1:
            typed = self._typed(references[0].text, node.position, hidden)
            return replace(typed, text=references[0].text, origin=references[0].origin, hidden=hidden)
        whole = "".join(one.text if isinstance(one, _Found) else one for one in found)
        return Located(whole, node.position, origin=" and ".join(one.origin for one in references), hidden=hidden)

    def _typed(self, text: str, position: Position, hidden: bool) -> Located:
        """Read a substituted text as YAML; text that is a string, or no YAML, stays as it is."""
        composed = compose(text, position.file)
        root = composed.root
        if resolve(text.strip()) is None:
            return Located(None, position)
        if composed.problems or root is None or root.value is None or isinstance(root.value, str):
            return Located(text, position)
        self._weight += composed.weight
        if self._weight > MAX_WEIGHT:
            raise _Impossible(f"substitutions bring in more than {MAX_WEIGHT} values in all; make them smaller")
        return _moved(root, position, hidden)

    def _resolve(self, body: str) -> _Found:
        found = self._lookup(body)
        self._total += len(found.text)
        if self._total > MAX_TOTAL:
            raise _Impossible(f"substitutions bring in more than {MAX_TOTAL} characters in all; make the values smaller")
        return found

    def _lookup(self, body: str) -> _Found:
        scheme, colon, rest = body.partition(":")
        if scheme == "file" and colon:
            return self._file(rest)
        if scheme == "env" and colon:
            return self._variable(rest)
        if colon and not rest.startswith("-"):
            raise _Impossible(
                f"${{{scheme}:...}} is not supported; write ${{env:NAME}} or ${{file:PATH}}, or $${{ for the two characters"
            )
        return self._variable(body)

    def _variable(self, body: str) -> _Found:
        name, default_given, default = body.partition(":-")
        if not _NAME.fullmatch(name):
            raise _Impossible(
                f"{name[:60]!r} is no name of an environment variable; write ${{env:NAME}}, or $${{ for the two characters"
            )
        value = self._env.get(name, default if default_given else None)
        if value is None:
            raise _Impossible(self._undefined(name))
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise _Impossible(f"the environment variable {name} is not valid UTF-8; set it to UTF-8 text")
        return _Found(value, f"${{env:{name}}}", is_secret_name(name))

    def _undefined(self, name: str) -> str:
        near = get_close_matches(name, self._env, 1, 0.8)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"the environment variable {name} is not set; set it, or write ${{env:{name}:-default}}{hint}"

    def _file(self, path: str) -> _Found:
        origin = f"${{file:{path}}}"
        if path not in self._files:
            try:
                self._files[path] = _without_last_newline(read_text(FilePath(path)))
            except Unreadable as reason:
                raise _Impossible(f"{origin} cannot be put in: {reason}") from None
        hidden = is_secret_name(path.rpartition("/")[2]) or _SECRET_DIRECTORY.search(path) is not None
        return _Found(self._files[path], origin, hidden)


def _split(text: str) -> Iterator[tuple[bool, str]]:
    """Yield (is a reference, text or the reference's body); `$$` is one dollar sign."""
    literal, start = "", 0
    while (dollar := text.find("$", start)) >= 0:
        literal += text[start:dollar]
        following = text[dollar + 1 : dollar + 2]
        if following != "{":
            literal += "$"
            start = dollar + (2 if following == "$" else 1)
            continue
        if literal:
            yield False, literal
        literal, body = "", _body(text, dollar + 2)
        yield True, body
        start = dollar + 3 + len(body)
    if literal or start < len(text):
        yield False, literal + text[start:]


def _body(text: str, start: int) -> str:
    end = text.find("}", start)
    if end < 0:
        raise _Impossible("${ has no closing }; add it, or write $${ for the two characters")
    body = text[start:end]
    if "${" in body:
        raise _Impossible("substitutions cannot stand inside one another; use one ${...} here")
    return body


def _moved(node: Located, position: Position, hidden: bool) -> Located:
    if isinstance(node.value, dict):
        return Located({key: _moved(child, position, hidden) for key, child in node.value.items()}, position, hidden=hidden)
    if isinstance(node.value, list):
        return Located([_moved(child, position, hidden) for child in node.value], position, hidden=hidden)
    return Located(node.value, position, hidden=hidden)


def _without_last_newline(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")
