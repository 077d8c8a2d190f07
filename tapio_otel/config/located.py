"""The tree a configuration is read into: plain values, each of which knows where it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from tapio_otel.config.problem import Path, Problem, format_path
from tapio_otel.config.types import BareNumber

Scalar: TypeAlias = "str | bool | int | float | None"


@dataclass(frozen=True, slots=True)
class Position:
    """Say where something was written. `line` counts from 1; None where there are no lines."""

    file: str
    line: int | None

    def problem(self, path: Path, message: str) -> Problem:
        """Return a problem at this place."""
        return Problem(self.file, self.line, format_path(path), message)


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Hold a value with its place; a member of a mapping is placed where its key is.

    `text` is what was there before YAML gave it a type, kept where the writer could not quote it (substitutions, `--set`).
    `origin` names the substitution, `hidden` forbids to show the value, `broken` marks one already reported.
    """

    value: Scalar | dict[str, Located] | list[Located]
    position: Position
    text: str | None = None
    origin: str = ""
    hidden: bool = False
    broken: bool = False

    def child(self, part: object) -> Located | None:
        """Return the member of that key or index, if there is one."""
        if isinstance(self.value, dict):
            return self.value.get(part) if isinstance(part, str) else None
        if isinstance(self.value, list) and isinstance(part, int) and 0 <= part < len(self.value):
            return self.value[part]
        return None

    def members(self) -> dict[str, Located]:
        """Return a mapping's members; nothing for what is no mapping."""
        return self.value if isinstance(self.value, dict) else {}


def plain(node: Located, instead: Mapping[Path, Any] = MappingProxyType({}), path: Path = (), *, bare: bool = False) -> Any:
    """Return the value without places; at the paths of `instead`, what it has. `bare` marks floats as unitless numbers."""
    if path in instead:
        return instead[path]
    if isinstance(node.value, dict):
        return {key: plain(child, instead, (*path, key), bare=bare) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child, instead, (*path, index), bare=bare) for index, child in enumerate(node.value)]
    return BareNumber(node.value) if bare and isinstance(node.value, float) else node.value


def walk(node: Located, path: Path = ()) -> Iterator[tuple[Path, Located]]:
    """Yield every node with its path, parents first."""
    yield path, node
    children = enumerate(node.value) if isinstance(node.value, list) else node.members().items()
    for part, child in children:
        yield from walk(child, (*path, part))


def positions(root: Located) -> dict[str, Position]:
    """Return the places of everything in a tree by its path, but of the tree itself."""
    return {format_path(path): node.position for path, node in walk(root) if path}


def merge(base: Located, over: Located) -> Located:
    """Lay one tree over another: mappings are merged, everything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Located(merged, over.position)
