"""The library: rules gathered from the package, from plugins and from the user's files, by name.

A later entry's rule takes the place of an earlier one of the same name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

from tapio_otel.config.entry_file import BUILTIN, PLUGINS, files_of, not_there, path_of
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.config.suggest import nearest
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.rule_file import RuleFile

Provided = Mapping[str, "Path | Rule"]
"""What plugins provide, by name: files or directories of rules, and rules in Python."""


def load_rules(
    entries: Sequence[str] = (BUILTIN, PLUGINS), disabled: Collection[str] = (), provided: Provided | None = None
) -> tuple[Rule, ...]:
    """Return the rules of `entries` without the disabled ones; raises `ConfigError` with all problems at once.

    An entry is `builtin`, `plugins` (all that plugins provide), the name of one of these, or the path of a file or of a
    directory of `*.yaml`. A problem of a file names it; one of an entry or a disabled name has its option as path, no file.
    """
    loading = _Loading(provided or {})
    with as_file(files("tapio_otel.config") / "rules") as shipped:
        for index, entry in enumerate(entries):
            loading.load(entry, f"rules[{index}]", Path(shipped))
    loading.disable(list(disabled))
    loading.check_suppressed()
    if loading.problems:
        raise ConfigError(list(dict.fromkeys(loading.problems)))
    return tuple(loading.found.values())


@lru_cache(maxsize=64)
def _shipped_file(path: Path) -> RuleFile:
    """Read a file that does not change while the agent runs."""
    return RuleFile(path)


class _Loading:
    def __init__(self, provided: Provided) -> None:
        self.problems: list[Problem] = []
        self.found: dict[str, Rule] = {}
        self._provided = provided
        self._named: set[str] = set()
        self._complete = True

    def load(self, entry: str, option: str, shipped: Path) -> None:
        """Take what an entry stands for."""
        if entry == BUILTIN:
            self._path(shipped, is_shipped=True)
        elif entry == PLUGINS:
            for brought in self._provided.values():
                self._take(brought)
        elif entry in self._provided:
            self._take(self._provided[entry])
        elif (path := path_of(entry, option, self._provided, self.problems)) is not None:
            self._path(path)

    def _take(self, brought: Path | Rule) -> None:
        if isinstance(brought, Rule):
            self._named.add(brought.name)
            self.found[brought.name] = brought
        else:
            self._path(brought)

    def _path(self, path: Path, is_shipped: bool = False) -> None:
        for one in files_of(path, self.problems, may_be_empty=is_shipped):
            read = _shipped_file(one) if is_shipped else RuleFile(one)
            self.problems += read.problems
            self._named |= read.names.keys()
            self._complete &= read.complete
            self.found.update({rule.name: rule for rule in read.rules})

    def disable(self, disabled: Sequence[str]) -> None:
        """Take the disabled rules out; a name that does not exist is a problem, unless a file could not be read."""
        for index, name in enumerate(disabled):
            if name not in self._named and self._complete:
                self.problems.append(not_there("rule", name, f"disabled_rules[{index}]", self._named))
            self.found.pop(name, None)

    def check_suppressed(self) -> None:
        """Report what a user's rule means to suppress and nobody knows; a built-in rule that is disabled is known."""
        if not self._complete:
            return
        shipped = _shipped_names()
        known = self._named | shipped
        for rule in (one for one in self.found.values() if one.name not in shipped):
            for name in rule.suppresses:
                if name not in known:
                    near = nearest(name, known)
                    hint = f"did you mean {near!r}?" if near else "tapio rules list shows all"
                    self.problems.append(
                        Problem(rule.file, rule.line, f"rules.{rule.name}.suppresses", f"there is no rule {name!r}; {hint}")
                    )


def _shipped_names() -> set[str]:
    with as_file(files("tapio_otel.config") / "rules") as shipped:
        return {name for path in sorted(Path(shipped).glob("*.yaml")) for name in _shipped_file(path).names}
