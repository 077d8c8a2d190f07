"""The library: pattern files gathered from the package, from plugins and from the user, ranked.

A later entry's pattern takes the place of an earlier one of the same name. Where several patterns match a text, the rank
decides: the user's before plugins' before built-in ones; those that are `wrapped` after the others; those that ask for the
writer's fields before those that do not; the worse severity first; then the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

from tapio_otel.config.entry_file import BUILTIN, PLUGINS, files_of, not_there, path_of
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.patterns.file import PatternFile
from tapio_otel.patterns.pattern import Library, Pattern

_USER, _PLUGIN, _SHIPPED = range(3)


class _Entry(NamedTuple):
    """Be files of one origin: `tier` ranks it, `option` is where it is named."""

    tier: int
    path: Path
    option: str


class _Ranked(NamedTuple):
    """Hold a pattern with what its rank is made from besides itself."""

    tier: int
    place: tuple[int, int]
    pattern: Pattern


def load_library(
    entries: Sequence[str] = (BUILTIN, PLUGINS),
    disabled: Collection[str] = (),
    provided: Mapping[str, Path] | None = None,
) -> Library:
    """Return the patterns of `entries`, by rank, without the disabled ones; raises `ConfigError` with all problems at once.

    An entry is `builtin`, `plugins` (every set that plugins provide), the name of such a set, or the path of a file or of a
    directory of `*.yaml`. A problem of a file names it; one of an entry or a disabled name has its option as path, no file.
    """
    loading = _Loading(provided or {})
    with as_file(files("tapio_otel.config") / "patterns") as shipped:
        for index, entry in enumerate(entries):
            for found in loading.resolve(entry, f"patterns[{index}]", Path(shipped)):
                loading.load(found)
    loading.disable(list(disabled))
    if loading.problems:
        raise ConfigError(list(dict.fromkeys(loading.problems)))
    return Library(tuple(one.pattern for one in sorted(loading.found.values(), key=_rank)))


@lru_cache(maxsize=64)
def _shipped_file(path: Path) -> PatternFile:
    """Read a file that does not change while the agent runs, and that every pipeline with `normalize` needs."""
    return PatternFile(path)


def _rank(one: _Ranked) -> tuple[int, bool, bool, int, tuple[int, int]]:
    return one.tier, one.pattern.wrapped, one.pattern.fields is None, -one.pattern.severity, one.place


class _Loading:
    def __init__(self, provided: Mapping[str, Path]) -> None:
        self.problems: list[Problem] = []
        self.found: dict[str, _Ranked] = {}
        self._provided = provided
        self._named: set[str] = set()
        self._complete = True
        self._files = 0

    def resolve(self, entry: str, option: str, shipped: Path) -> Iterator[_Entry]:
        """Yield what an entry stands for."""
        if entry == BUILTIN:
            yield _Entry(_SHIPPED, shipped, option)
        elif entry == PLUGINS:
            for path in self._provided.values():
                yield _Entry(_PLUGIN, path, option)
        elif entry in self._provided:
            yield _Entry(_PLUGIN, self._provided[entry], option)
        elif (found := path_of(entry, option, self._provided, self.problems)) is not None:
            yield _Entry(_USER, found, option)

    def load(self, entry: _Entry) -> None:
        """Read one file or directory; what it has takes the place of what was there by the same names."""
        for path in files_of(entry.path, self.problems, may_be_empty=entry.tier == _SHIPPED):
            read = _shipped_file(path) if entry.tier == _SHIPPED else PatternFile(path)
            self.problems += read.problems
            self._named |= read.names.keys()
            self._complete &= read.complete
            self._files += 1
            for place, pattern in enumerate(read.patterns):
                self.found[pattern.name] = _Ranked(entry.tier, (self._files, place), pattern)

    def disable(self, disabled: Sequence[str]) -> None:
        """Take the disabled patterns out; a name that does not exist is a problem, unless a file could not be read."""
        for index, name in enumerate(disabled):
            if name not in self._named and self._complete:
                self.problems.append(not_there("pattern", name, f"disabled_patterns[{index}]", self._named))
            self.found.pop(name, None)
