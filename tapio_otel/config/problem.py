"""What can be wrong with a configuration, and how it is told: all of it at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"


def format_path(path: Path) -> str:
    """Write a path as `receivers.journald.matches[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


@dataclass(frozen=True, slots=True)
class Problem:
    """Say what is wrong where. `line` counts from 1; None where there are no lines, as on the command line."""

    file: str
    line: int | None
    path: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """Report every problem that a configuration has, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class UnknownComponent(LookupError):
    """Report that no component of a type can be had: the message says why and what to do.

    `broken` tells that a plugin is installed but cannot be used; the loader then only warns as long as no pipeline needs it.
    """

    def __init__(self, message: str, broken: bool = False) -> None:
        super().__init__(message)
        self.broken = broken


def in_order(problems: Iterable[Problem], files: Sequence[str]) -> list[Problem]:
    """Sort problems as the files were given, then by line, without repeats."""
    rank = {file: index for index, file in reversed(list(enumerate(files)))}
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: (rank.get(problem.file, len(rank)), problem.line or 0))
