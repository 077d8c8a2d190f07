"""The sources of a configuration, read and laid over one another: files, texts that ship with the package, `--set`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Final, TypeAlias

from tapio_otel.config.compose import MAX_DEPTH, Composed, compose
from tapio_otel.config.files import Unreadable, read_text
from tapio_otel.config.located import Located, Position, merge
from tapio_otel.config.problem import Path, Problem
from tapio_otel.config.substitution import Substitution

Source: TypeAlias = "str | os.PathLike[str] | tuple[str, str]"
"""A file's path, or the (name, text) of a configuration that is at hand."""

SET: Final = "--set"
_SHAPE: Final = "write --set path=value, such as --set receivers.journald.follow=false (:: separates like a dot)"


@dataclass(slots=True)
class Reading:
    """Hold the merged tree (None when no source gave one), problems, and whether every source could be read."""

    root: Located | None = None
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True
    files: list[str] = field(default_factory=list)

    def add(self, composed: Composed) -> None:
        """Lay one more source over what was read so far."""
        self.problems += composed.problems
        self.complete = self.complete and composed.complete
        if composed.root is not None:
            self.root = composed.root if self.root is None else merge(self.root, composed.root)


def read(sources: Sequence[Source], overrides: Sequence[str] = (), env: Mapping[str, str] = os.environ) -> Reading:
    """Read all sources in order, then the overrides, and substitute. Never raises for what they contain."""
    reading = Reading()
    for source in sources:
        file = source[0] if isinstance(source, tuple) else os.fspath(source)
        reading.files.append(file)
        reading.add(_checked(_read(source, file), file))
    for override in overrides:
        reading.add(_override(override))
    reading.files.append(SET)
    if reading.root is not None:
        substitution = Substitution(env)
        reading.root = substitution.apply(reading.root)
        reading.problems += substitution.problems
    return reading


def _read(source: Source, file: str) -> Composed:
    if isinstance(source, tuple):
        return compose(source[1], file)
    try:
        return compose(read_text(FilePath(source)), file)
    except Unreadable as reason:
        return Composed(None, [Problem(file, reason.line, "", str(reason))], complete=False)


def _checked(composed: Composed, file: str) -> Composed:
    """Refuse what is no mapping."""
    root = composed.root
    if not composed.complete or (root is not None and isinstance(root.value, dict)):
        return composed
    if root is None or root.value is None:
        message = "there is no configuration in it; write the sections receivers, exporters and service"
    else:
        kind = "a list" if isinstance(root.value, list) else "a single value"
        message = f"expected a mapping with sections such as receivers and service, found {kind}"
    problem = Problem(file, root.position.line if root is not None and root.value is not None else 1, "", message)
    return Composed(None, [*composed.problems, problem], complete=False)


def _override(text: str) -> Composed:
    key, equals, written = text.partition("=")
    path: Path = tuple(key.strip().split("::" if "::" in key else "."))
    place = Position(SET, None)
    if not equals or not all(path) or len(path) > MAX_DEPTH:
        # What follows the equals sign may be a secret: it is not shown.
        return Composed(None, [place.problem((), f"{key.strip()[:200]!r} names no option; {_SHAPE}")], complete=False)
    composed = compose(written, SET, lines=False)
    if not composed.complete:
        return Composed(None, [replace(problem, path=key.strip()) for problem in composed.problems], complete=False)
    root = composed.root or Located(None, place)
    node = replace(root, text=written) if not isinstance(root.value, dict | list | str) else root
    for part in reversed(path):
        node = Located({str(part): node}, place)
    return Composed(node, [replace(problem, path=key.strip()) for problem in composed.problems])
