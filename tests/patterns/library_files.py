"""Pattern files for tests: a library from YAML text, and a matcher of bare expressions."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from tapio_otel.event import Severity
from tapio_otel.patterns import Extraction, Library, Matcher, Pattern, load_library


def write(path: Path, text: str) -> str:
    """Write a pattern file; returns its path as an entry."""
    path.write_text(dedent(text))
    return str(path)


def library(tmp_path: Path, text: str) -> Library:
    """Return the library of one file."""
    return load_library([write(tmp_path / "patterns.yaml", text)])


def pattern(*expressions: str, name: str = "one", severity: Severity = Severity.ERROR, **more: object) -> Pattern:
    """Return a pattern with these expressions."""
    return Pattern(name, expressions, "something", severity, **more)  # type: ignore[arg-type]


def matcher(*expressions: str, **types: str) -> Matcher:
    """Return a matcher of one pattern for each expression."""
    made = [pattern(one, name=f"p{number}", extract=Extraction((), types)) for number, one in enumerate(expressions)]
    return Matcher(made)
