"""`tapio patterns`: try the pattern library on lines, list it, and measure it on a corpus."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeVar

import click
import orjson

from tapio_otel.cli.log_lines import FORMATS, LineError, read_lines
from tapio_otel.cli.options import show_problems
from tapio_otel.cli.understanding import Understanding, Understood
from tapio_otel.config.problem import ConfigError
from tapio_otel.exporting.event_text import inert_json

F = TypeVar("F", bound=Callable[..., Any])


def _library_options(command: F) -> F:
    command = click.option(
        "--disable", "disabled", multiple=True, metavar="NAME", help="Leave out a pattern; may be given several times."
    )(command)
    return click.option(
        "--patterns",
        "entries",
        multiple=True,
        metavar="ENTRY",
        default=("builtin", "plugins"),
        show_default=True,
        help="What makes up the library, as in the normalize processor's option `patterns`; may be given several times.",
    )(command)


@click.group("patterns")
def command() -> None:
    """Try the pattern library on log lines, list it, and measure it on a corpus."""


@command.command("match")
@click.argument("files", nargs=-1, type=click.File("rb"))
@click.option("--format", "format", type=click.Choice(FORMATS), default="auto", show_default=True, help="What the input is.")
@click.option("--explain", is_flag=True, help="Add the key `explain`: every pattern that matches and why it was chosen or not.")
@click.option("--unmatched", is_flag=True, help="Print only what no pattern matches.")
@_library_options
def match(
    files: tuple[BinaryIO, ...],
    format: str,
    explain: bool,
    unmatched: bool,
    entries: tuple[str, ...],
    disabled: tuple[str, ...],
) -> None:
    """Tell what log lines say: one JSON object for each line or journal entry.

    Reads FILES or standard input: lines, the journal export format (journalctl -o export) or journal entries as JSON
    (journalctl -o json). Keys: line, pattern, classifier, type, severity, attributes, entity, trace_id, span_id; null where
    there is none. A line that begins as syslog, journalctl or dmesg write it is understood without that beginning.
    """
    understanding = _understanding(entries, disabled)
    try:
        for found in _understood(files or (sys.stdin.buffer,), format, understanding):
            if unmatched and found.pattern:
                continue
            row = found.row() | ({"explain": understanding.explain(found)} if explain else {})
            click.echo(_json(row))
    except LineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads has seen enough, which is no error
            raise
        click.echo(f"error: input or output failed: {error.strerror or error}", err=True)
        sys.exit(1)


def _understood(streams: Iterable[BinaryIO], format: str, understanding: Understanding) -> Iterator[Understood]:
    for stream in streams:
        yield from map(understanding.of, read_lines(stream, format))


def _json(row: Any) -> str:
    return inert_json(orjson.dumps(row, default=_printable).decode())


def _printable(value: Any) -> str:
    """Return what JSON has no form for: bytes of the journal."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@command.command("list")
@click.option("--markdown", "form", flag_value="markdown", help="Print the page of the reference documentation.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object for each pattern.")
@_library_options
def list_patterns(form: str | None, entries: tuple[str, ...], disabled: tuple[str, ...]) -> None:
    """List the patterns: name, event type, severity, category and what they extract."""
    from tapio_otel.cli import pattern_list

    forms = {"json": pattern_list.as_json, "markdown": pattern_list.as_markdown}
    write = forms.get(form or "", pattern_list.as_text)
    click.echo(write(_understanding(entries, disabled).library.patterns))


@command.command("evaluate")
@click.argument("corpora", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--wrong", is_flag=True, help="Print every line whose result is not the expected one, as JSON.")
@_library_options
def evaluate(corpora: tuple[str, ...], wrong: bool, entries: tuple[str, ...], disabled: tuple[str, ...]) -> None:
    """Print precision and recall, by event type, on corpora of lines with expected results.

    A corpus is JSON Lines: `line`, and as expected `type` (log for a line that no pattern may match), and optionally
    `severity` and `attributes` (those that must be among the extracted). Exits with 1 where a line of no interest is taken
    for critical or worse.
    """
    from tapio_otel.cli.evaluation import CorpusError, evaluate_files

    try:
        result = evaluate_files(corpora, _understanding(entries, disabled))
    except CorpusError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    if wrong:
        for row in result.wrong:
            click.echo(_json(row))
    click.echo(result.table())
    sys.exit(1 if result.false_alarms else 0)


def _understanding(entries: tuple[str, ...], disabled: tuple[str, ...]) -> Understanding:
    """Return what understands lines; shows every error of the library and exits with 1."""
    try:
        return Understanding(entries, disabled)
    except ConfigError as error:
        show_problems(error.problems, "the patterns")
        sys.exit(1)
