"""`tapio timeline`: what happened to one entity, from recorded events."""

from __future__ import annotations

import errno
import sys

import click
import orjson

from tapio_otel.config.types import parse_duration
from tapio_otel.event import EventType, UnifiedEvent

_SECOND = 1_000_000_000


@click.command("timeline")
@click.option("--entity", "-e", required=True, metavar="ENTITY", help="What it is about: pod/prod/web-0, unit/web.service.")
@click.option(
    "--events", "files", required=True, multiple=True, metavar="FILE", help="Events as JSON lines; .gz too, - is stdin."
)
@click.option("--since", metavar="WHEN", help="Begin so long before the end, such as 1h, or at a time in RFC 3339.")
@click.option("--until", metavar="WHEN", help="End so long before the last event, such as 10m, or at a time in RFC 3339.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True, help="What to print.")
@click.option("--correlate/--no-correlate", default=True, show_default=True, help="Find what the built-in rules conclude, too.")
def command(files: tuple[str, ...], entity: str, since: str | None, until: str | None, form: str, correlate: bool) -> None:
    """Tell what happened to an entity: events of all sources in the order of time, their impact, and patterns.

    Durations count from the last event of the files, not from now. What an entity is called: pod/NAMESPACE/NAME,
    unit/[MACHINE/]NAME, container/ID, node/NAME, service/NAMESPACE/NAME, deployment/NAMESPACE/NAME, process/PID,
    address/IP[:PORT].
    """
    from tapio_otel.timeline.focus import Focus, FocusError
    from tapio_otel.timeline.stored import StoredEventError

    try:
        focus = Focus.parse(entity)
        events = _read(files, correlate)
        last = max((one.timestamp for one in events), default=0)
        end = _moment(until, last, "--until")
        start = None if since is None else _moment(since, end, "--since")
        _print(events, focus, start, end, form)
    except (FocusError, StoredEventError, _WhenError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads has seen enough, which is no error
            raise
        click.echo(f"error: output failed: {error.strerror or error}", err=True)
        sys.exit(1)


class _WhenError(ValueError):
    """Report a time that cannot be understood."""


def _print(events: list[UnifiedEvent], focus: object, start: int | None, end: int, form: str) -> None:
    from tapio_otel.timeline.focus import Focus
    from tapio_otel.timeline.reconstruct import TimelineReconstructor
    from tapio_otel.timeline.text import as_dict, as_text

    assert isinstance(focus, Focus)
    timeline = TimelineReconstructor().reconstruct(events, focus, start, end)
    click.echo(as_text(timeline) if form == "text" else orjson.dumps(as_dict(timeline), option=orjson.OPT_INDENT_2))


def _read(files: tuple[str, ...], correlate: bool) -> list[UnifiedEvent]:
    """Return the events of all files, with findings unless findings were recorded with them."""
    from tapio_otel.timeline.stored import read_events

    events = [event for file in files for event in read_events(file)]
    if not correlate or any(event.type == EventType.CORRELATION for event in events):
        return events
    from tapio_otel.correlation.engine import Engine
    from tapio_otel.correlation.examples import last_revisions, replay
    from tapio_otel.correlation.library import load_rules

    engine = Engine(load_rules(("builtin",)))
    return events + last_revisions(replay(engine, sorted(events, key=lambda one: (one.timestamp, one.id))))


def _moment(when: str | None, before: int, option: str) -> int:
    """Return the time that is meant, in nanoseconds: so long before another, or as written."""
    if when is None:
        return before
    try:
        return before - round(parse_duration(when) * _SECOND)
    except ValueError:
        pass
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _WhenError(f"{option} {when!r}: write a duration such as 1h, or a time such as 2026-01-31T12:00:00Z")
    return int(moment.timestamp()) * _SECOND + moment.microsecond * 1000
