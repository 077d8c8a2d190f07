"""`tapio events`: print events of a running agent or of a store's file, and go on as they come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from tapio_otel.cli.terminal import fail
from tapio_otel.cli.told_events import DEFAULT_ENDPOINT, Origin, ReadError, RunningAgent, StoreFile, Told
from tapio_otel.event import Severity, UnifiedEvent

F = TypeVar("F", bound=Callable[..., Any])


def origin_options(command: F) -> F:
    """Add `--endpoint` and `--store` to a command."""
    command = click.option(
        "--store",
        metavar="PATH",
        help="Read the store in this file or directory, such as /var/lib/tapio/events, without an agent.",
    )(command)
    return click.option(
        "--endpoint",
        default=DEFAULT_ENDPOINT,
        show_default=True,
        metavar="URL",
        help="Where the extension ui of a running agent listens; its token is taken from TAPIO_UI_TOKEN.",
    )(command)


def origin_of(endpoint: str, store: str | None) -> Origin:
    """Return where to read; raises `ReadError`."""
    return RunningAgent(endpoint) if store is None else StoreFile(store)


@click.command("events")
@origin_options
@click.option("--follow", "-f", is_flag=True, help="Go on with events as they come, until Ctrl-C.")
@click.option("--severity", type=click.Choice([one.keyword for one in Severity]), help="Only this severity or worse.")
@click.option("--entity", "-e", metavar="ENTITY", help="Only about this and its parts, pod/prod/web-0, or a part of a name.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; may be given several times.")
@click.option("--source", metavar="SOURCE", help="Only events of this source, such as kubernetes.")
@click.option("--text", metavar="WORDS", help="Only events with all these words.")
@click.option("--trace-id", metavar="ID", help="Only events of this trace.")
@click.option("--since", metavar="WHEN", help="Begin so long before now, such as 1h, or at a time in RFC 3339.")
@click.option("--until", metavar="WHEN", help="End so long before now, such as 10m, or at a time in RFC 3339.")
@click.option("--limit", "-n", type=click.IntRange(1, 1_000_000), help="At most so many events, the newest. [default: 100]")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True, help="What to print.")
@click.option("--colour/--no-colour", default=None, help="Colour lines by severity. [default: on a terminal]")
def command(
    endpoint: str,
    store: str | None,
    follow: bool,
    types: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int | None,
    form: str,
    colour: bool | None,
    **filters: str | None,
) -> None:
    """Print what happened on this node, the newest event last.

    Reads from a running agent whose extension ui is on, or with --store from the file that an agent's sqlite exporter keeps.
    """
    asked: dict[str, str | tuple[str, ...]] = {key: value for key, value in filters.items() if value}
    asked |= {"type": types, "since": _before(since), "until": _before(until)}
    most = limit or (1_000_000 if since and not follow else 100)
    write = _writer(form, sys.stdout.isatty() if colour is None else colour)
    try:
        origin = origin_of(endpoint, store)
        if not follow:
            _print(write, (("event", event) for event in origin.events(asked, most)))
        elif until:
            raise ReadError("--until: what is to come has no end: leave out --until or --follow")
        else:
            _print(write, origin.follow(asked, limit or (1000 if since else 10)))
    except ReadError as error:
        fail(error)


def _before(when: str | None) -> str:
    """Return a time for the API: a bare duration means so long ago."""
    return f"-{when}" if when and when[0].isdigit() and when[-1].isalpha() and "T" not in when else when or ""


def _print(write: Callable[[UnifiedEvent], str], told: Iterable[Told]) -> None:
    for name, content in told:
        if isinstance(content, UnifiedEvent):
            sys.stdout.write(write(content))
            sys.stdout.flush()
        elif name == "lost":
            click.echo(f"({content} events passed too fast to be told)", err=True)


def _writer(form: str, colour: bool) -> Callable[[UnifiedEvent], str]:
    """Return what writes one event."""
    from tapio_otel.event_json import to_json
    from tapio_otel.exporting.event_text import LineWriter, inert_json

    if form == "json":
        return lambda event: inert_json(to_json(event).decode()) + "\n"
    lines = LineWriter(colour)
    return lambda event: lines.text([event])
