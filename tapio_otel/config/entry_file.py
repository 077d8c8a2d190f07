"""Files of one list of named entries, as of patterns or rules: read with each fault and its line, found by name or path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from tapio_otel.config.compose import compose
from tapio_otel.config.explain import check, show
from tapio_otel.config.files import Unreadable, read_text
from tapio_otel.config.located import Located, plain
from tapio_otel.config.problem import Path as At
from tapio_otel.config.problem import Problem
from tapio_otel.config.suggest import nearest

BUILTIN: Final = "builtin"
PLUGINS: Final = "plugins"
_Options = TypeVar("_Options", bound=BaseModel)


class EntryFile(ABC):
    """Read a file that holds one list under one key; `problems` is all that is wrong with it, by line."""

    top = ""
    """The key that the list is under."""
    noun = ""
    """What an entry is called."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self.problems: list[Problem] = []
        self.names: dict[str, int | None] = {}
        """The names of all entries that are written, with their lines."""
        self.complete = False
        """Whether the file could be read to its end, so that a name which is not among `names` is not there."""
        try:
            self._read(read_text(path))
        except Unreadable as error:
            self.problems.append(Problem(self.file, error.line, "", str(error)))
        self.problems.sort(key=lambda problem: problem.line or 0)

    @abstractmethod
    def _take(self, node: Located, path: At) -> None:
        """Take one entry; everything that can be said about it is said."""

    def _look_over(self, entries: Iterable[Located]) -> None:  # noqa: B027 - most have nothing to do
        """Look at all entries before the first is taken."""

    def _read(self, text: str) -> None:
        composed = compose(text, self.file)
        self.problems += composed.problems
        root = composed.root
        if root is None:
            if composed.complete:
                self.problems.append(Problem(self.file, None, "", f"the file is empty; write a list under {self.top}:"))
            return
        self.complete = composed.complete
        for name, node in root.members().items():
            if name != self.top:
                self._add(node, (name,), f"unknown key {name!r}; a {self.noun} file has the one key {self.top}")
        entries = root.child(self.top)
        if entries is None or not isinstance(entries.value, list):
            found = root if entries is None else entries
            message = f"expected a list under {self.top}:, found {show(found)}"
            self._add(found, () if entries is None else (self.top,), message)
            return
        self._look_over(entries.value)
        for index, node in enumerate(entries.value):
            self._take(node, (self.top, index))

    def _add(self, node: Located, path: At, message: str) -> None:
        self.problems.append(node.position.problem(path, message))

    def _validated(self, model: type[_Options], node: Located, path: At, bare: bool = False) -> _Options | None:
        """Validate an entry, and where it is not valid once more with every complaint explained."""
        try:
            return model.model_validate(plain(node, bare=bare))
        except ValidationError:
            checked = check(model, node, path)
        self.problems += checked.problems
        found: Any = checked.config
        return found  # type: ignore[no-any-return]

    def _check_name(self, node: Located, path: At) -> None:
        at = node.child("name")
        if at is None or not isinstance(at.value, str):
            return
        if at.value in self.names:
            message = f"a {self.noun} {at.value!r} is already at line {self.names[at.value]}; rename one"
            self._add(at, (*path, "name"), message)
        self.names.setdefault(at.value, at.position.line)


def path_of(entry: str, option: str, provided: Collection[str], problems: list[Problem]) -> Path | None:
    """Return the file or directory that a user wrote; where there is none, what is wrong is added to `problems`.

    `option` is where it is written, `provided` what plugins bring by name.
    """
    try:
        path = Path(entry).expanduser()
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        problems.append(Problem("", None, option, f"{entry!r} cannot be used as a path: {error}"))
        return None
    if there:
        return path
    near = nearest(entry, (BUILTIN, PLUGINS, *provided))
    meant = f"; did you mean {near!r}?" if near else "; check the path"
    known = ", ".join((BUILTIN, PLUGINS, *sorted(provided)))
    problems.append(Problem("", None, option, f"{entry!r} is none of {known}, and there is no such file{meant}"))
    return None


def files_of(path: Path, problems: list[Problem], may_be_empty: bool = False) -> list[Path]:
    """Return a file alone, or the YAML files of a directory in the order of their names."""
    if not path.is_dir():
        return [path]
    try:
        found = sorted(one for one in path.iterdir() if one.suffix in {".yaml", ".yml"})
    except OSError as error:
        problems.append(Problem(str(path), None, "", f"the directory cannot be read: {error.strerror}"))
        return []
    if not found and not may_be_empty:
        problems.append(Problem(str(path), None, "", "there is no *.yaml in this directory; check the path"))
    return found


def not_there(noun: str, name: str, option: str, known: Collection[str]) -> Problem:
    """Return the problem that an entry which is to be left out does not exist."""
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"tapio {noun}s list shows all"
    return Problem("", None, option, f"there is no {noun} {name!r} to leave out; {hint}")
