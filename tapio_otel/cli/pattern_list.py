"""The pattern library as text, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson

from tapio_otel.patterns import Pattern

_LONGEST: Final = 160
_INTRODUCTION: Final = """\
# Pattern library

What the `normalize` processor takes log texts for; how to write
patterns of your own is told in [log patterns](../log-patterns.md).
"""


def as_text(patterns: Sequence[Pattern]) -> str:
    """Return one line for each pattern, in the order in which they are tried."""
    width = max((len(pattern.name) for pattern in patterns), default=0) + 2
    lines = [f"{one.name:<{width}}{one.event_type:<28}{one.severity.keyword:<10}{one.category}" for one in patterns]
    return "\n".join([*lines, f"{len(patterns)} patterns"])


def as_json(patterns: Sequence[Pattern]) -> str:
    """Return one JSON object a line for each pattern, with its expressions and examples."""
    return "\n".join(orjson.dumps(_content(pattern)).decode() for pattern in patterns)


def as_markdown(patterns: Sequence[Pattern]) -> str:
    """Return a page with a table for each file."""
    parts = [_INTRODUCTION, f"{len(patterns)} patterns."]
    by_file = sorted(patterns, key=lambda one: (Path(one.file).stem, one.name))
    for stem, members in groupby(by_file, key=lambda one: Path(one.file).stem):
        parts.append(f"\n## {stem.replace('_', ' ').capitalize()}\n")
        parts.append("| pattern | event type | severity | extracts | example |\n|---|---|---|---|---|")
        parts += [_markdown_row(one) for one in members]
    return "\n".join(parts)


def extracted_names(pattern: Pattern) -> list[str]:
    """Return the names of the attributes that a pattern may extract."""
    import re2

    return sorted({*pattern.extract.positional, *(name for one in pattern.expressions for name in re2.compile(one).groupindex)})


def _markdown_row(pattern: Pattern) -> str:
    names = ", ".join(f"`{name}`" for name in extracted_names(pattern))
    example = _code(pattern.examples[0].text) if pattern.examples else ""
    return f"| `{pattern.name}` | `{pattern.event_type}` | {pattern.severity.keyword} | {names} | {example} |"


def _code(text: str) -> str:
    """Return the beginning of an example as code that a table can hold."""
    line = text.strip().split("\n", 1)[0]
    short = line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
    return "`` " + short.replace("|", "\\|").replace("``", "` `") + " ``"


def _content(pattern: Pattern) -> dict[str, Any]:
    return {
        "name": pattern.name,
        "patterns": list(pattern.expressions),
        "event_type": pattern.event_type,
        "severity": pattern.severity.keyword,
        "category": pattern.category,
        "attributes": extracted_names(pattern),
        "examples": [example.text for example in pattern.examples],
    }
