"""How well lines are understood: precision and recall on a corpus of lines with expected results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from tapio_otel.cli.log_lines import LogLine, line_of
from tapio_otel.cli.understanding import Understanding
from tapio_otel.config.suggest import suggestion
from tapio_otel.event import EventType, Severity

_KEYS: Final = frozenset(("line", "fields", "type", "severity", "attributes", "trace_id"))
_OTHER: Final = str(EventType.LOG)
_SEVERITIES: Final = tuple(severity.keyword for severity in Severity)


class CorpusError(ValueError):
    """Report a corpus that cannot be read: file, line, what was found, what to do."""


@dataclass(slots=True)
class Evaluation:
    """Hold what came of a corpus. A line is right when its type is the expected one."""

    lines: int = 0
    expected: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    severities: list[bool] = field(default_factory=list)
    attributes: list[bool] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    false_alarms: int = 0
    """Lines of type log that were taken for critical or worse."""

    def take(self, expected: dict[str, Any], found: dict[str, Any]) -> None:
        """Add one line."""
        self.lines += 1
        self.expected[expected["type"]] += 1
        self.found[found["type"]] += 1
        faults = [] if expected["type"] == found["type"] else ["type"]
        self.right[expected["type"]] += not faults
        faults += self._compare(expected, found)
        alarm = expected["type"] == _OTHER and Severity.from_keyword(found["severity"]) >= Severity.CRITICAL
        self.false_alarms += alarm and "severity" not in expected
        if faults:
            self.wrong.append({"wrong": faults, "expected": expected, "found": found})

    def _compare(self, expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
        if "severity" in expected:
            self.severities.append(expected["severity"] == found["severity"])
            if not self.severities[-1]:
                yield "severity"
        if "attributes" in expected:
            extracted = found["attributes"] or {}
            same = all(extracted.get(name) == value for name, value in expected["attributes"].items())
            self.attributes.append(same)
            if not same:
                yield "attributes"
        if "trace_id" in expected and expected["trace_id"] != found["trace_id"]:
            yield "trace_id"

    def table(self) -> str:
        """Return precision and recall of each type and of all, as text."""
        types = sorted({*self.expected, *self.found} - {_OTHER})
        rows = [f"{'type':<28}{'lines':>8}{'precision':>11}{'recall':>9}"]
        rows += [self._row(type, [type]) for type in types]
        rows.append(self._row("all", types))
        rows.append(f"{self.expected[_OTHER]} lines of no type: {self.expected[_OTHER] - self.right[_OTHER]} were given one, ")
        rows[-1] += f"{self.false_alarms} of them taken for critical or worse"
        rows.append(f"severity right in {_share(self.severities)}, attributes right in {_share(self.attributes)}")
        return "\n".join(rows)

    def _row(self, name: str, types: Iterable[str]) -> str:
        right, expected, found = (sum(counter[type] for type in types) for counter in (self.right, self.expected, self.found))
        return f"{name:<28}{expected:>8}{_ratio(right, found):>11}{_ratio(right, expected):>9}"


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _share(results: list[bool]) -> str:
    return f"{sum(results)} of {len(results)}"


def evaluate_files(corpora: Iterable[str], understanding: Understanding) -> Evaluation:
    """Return what comes of the corpora; raises `CorpusError`."""
    result = Evaluation()
    for path in corpora:
        for line, expected in _rows(Path(path)):
            result.take(expected, understanding.of(line).row())
    return result


def _rows(path: Path) -> Iterator[tuple[LogLine, dict[str, Any]]]:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise CorpusError(f"{path}: there is no *.jsonl in this directory; check the path")
    for file in files:
        for number, text in enumerate(_text(file).split("\n"), 1):
            if text.strip():
                expected = _row(text, f"{file}:{number}")
                yield line_of(expected["line"], expected.get("fields")), expected


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise CorpusError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{file}:{line}: byte 0x{error.object[error.start]:02x} is no UTF-8; save the file as UTF-8"
        ) from None


def _row(text: str, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CorpusError(f"{where}: {text[:80]!r} is no JSON: {error}") from None
    if not isinstance(row, dict) or not isinstance(row.get("line"), str) or not isinstance(row.get("type"), str):
        raise CorpusError(f"{where}: expected an object with `line` and `type`, found {text[:80]!r}")
    if unknown := sorted(set(row) - _KEYS):
        raise CorpusError(f"{where}: unknown keys {', '.join(unknown)}: expected some of {', '.join(sorted(_KEYS))}")
    _check_values(row, where)
    return row


def _check_values(row: dict[str, Any], where: str) -> None:
    """Raise `CorpusError` for an expectation that no line could meet."""
    fields, attributes, severity = row.get("fields", {}), row.get("attributes", {}), row.get("severity", "info")
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise CorpusError(f'{where}: `fields` must be an object of texts, such as {{"PRIORITY": "3"}}, found {fields!r:.80}')
    if not isinstance(attributes, dict):
        raise CorpusError(f"{where}: `attributes` must be an object, found {attributes!r:.80}")
    if severity not in _SEVERITIES:
        there = suggestion(str(severity), _SEVERITIES, "there are")
        raise CorpusError(f"{where}: there is no severity {severity!r}; {there}")
