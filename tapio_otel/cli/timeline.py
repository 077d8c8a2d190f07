"""`tapio timeline`: what happened to one entity, from an event store or from recorded events."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import orjson

from tapio_otel.config.types import parse_duration
from tapio_otel.event import EventType, UnifiedEvent

if TYPE_CHECKING:
    from tapio_otel.event_store import EventStore
    from tapio_otel.timeline.focus import Focus
    from tapio_otel.timeline.model import Timeline

_SECOND = 1_000_000_000


@click.command("timeline")
@click.option("--entity", "-e", required=True, metavar="ENTITY", help="What it is about: pod/prod/web-0, unit/web.service.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Event store to read: the directory of a sqlite exporter, or its file. Default: that of the agent of this machine.",
)
@click.option(
    "--events", "files", multiple=True, metavar="FILE", help="Read JSON lines rather than a store; .gz too, - is stdin."
)
@click.option("--since", metavar="WHEN", help="Begin so long before the end, such as 1h, or at a time in RFC 3339.")
@click.option("--until", metavar="WHEN", help="End so long before the last event, such as 10m, or at a time in RFC 3339.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json", "html")),
    default="text",
    show_default=True,
    help="What to print; html is one file that shows the incident in any browser.",
)
@click.option("--correlate/--no-correlate", default=True, show_default=True, help="Find what the built-in rules conclude, too.")
def command(
    files: tuple[str, ...], store: Path | None, entity: str, since: str | None, until: str | None, form: str, correlate: bool
) -> None:
    """Tell what happened to an entity: events of all sources in the order of time, their impact, and patterns.

    Durations count from the last event of the store or files, not from now. What an entity is called: pod/NAMESPACE/NAME,
    unit/[MACHINE/]NAME, container/ID, node/NAME, service/NAMESPACE/NAME, deployment/NAMESPACE/NAME, process/PID,
    address/IP[:PORT].
    """
    from tapio_otel.event_store import EventStoreError
    from tapio_otel.timeline.focus import Focus, FocusError
    from tapio_otel.timeline.stored import StoredEventError

    if files and store is not None:
        raise click.UsageError("Name a store or files of events, not both.")
    try:
        focus = Focus.parse(entity)
        if files:
            asked = _of_files(files, focus, since, until, correlate)
        else:
            asked = _of_store(store or _default_store(), focus, since, until, correlate)
        click.echo(_shown(asked, form))
    except (FocusError, StoredEventError, EventStoreError, _WhenError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads has seen enough, which is no error
            raise
        click.echo(f"error: output failed: {error.strerror or error}", err=True)
        sys.exit(1)


class _WhenError(ValueError):
    """Report a time that cannot be understood."""


class _Asked(NamedTuple):
    """Hold a timeline, and events that its findings may refer to."""

    timeline: Timeline
    events: Sequence[UnifiedEvent]


def _default_store() -> Path:
    from tapio_otel.config.loader import state_directory

    return state_directory(None, os.environ) / "events"


def _of_store(path: Path, focus: Focus, since: str | None, until: str | None, correlate: bool) -> _Asked:
    from tapio_otel.event_store import EventStore
    from tapio_otel.timeline.reconstruct import TimelineReconstructor

    with EventStore(path) as store:
        held = store.statistics()
        start, end = _window(since, until, held.newest_ns)
        events = store.related(focus, start or 0, end)
        if correlate and not held.findings:
            events += _concluded(events)
        timeline = TimelineReconstructor().reconstruct(events, focus, start, end)
        return _Asked(timeline, _members(store, timeline))


def _members(store: EventStore, timeline: Timeline) -> list[UnifiedEvent]:
    findings = [entry.event for entry in timeline.entries if entry.event.type == EventType.CORRELATION]
    wanted = dict.fromkeys(id for one in findings for id in one.get("members") or () if isinstance(id, str))
    return list(store.events_by_id(list(wanted)).values())


def _of_files(files: Sequence[str], focus: Focus, since: str | None, until: str | None, correlate: bool) -> _Asked:
    """Reconstruct from all events of files, with findings unless findings were recorded with them."""
    from tapio_otel.timeline.reconstruct import TimelineReconstructor
    from tapio_otel.timeline.stored import read_events

    events = [event for file in files for event in read_events(file)]
    if correlate and not any(event.type == EventType.CORRELATION for event in events):
        events += _concluded(events)
    start, end = _window(since, until, max((one.timestamp for one in events), default=0))
    return _Asked(TimelineReconstructor().reconstruct(events, focus, start, end), events)


def _concluded(events: Iterable[UnifiedEvent]) -> list[UnifiedEvent]:
    from tapio_otel.correlation.engine import Engine
    from tapio_otel.correlation.examples import last_revisions, replay
    from tapio_otel.correlation.library import load_rules

    engine = Engine(load_rules(("builtin",)))
    return last_revisions(replay(engine, sorted(events, key=lambda one: (one.timestamp, one.id))))


def _shown(asked: _Asked, form: str) -> str:
    if form == "html":
        from tapio_otel.ui.html import page_of
        from tapio_otel.ui.incident import incident_of

        return page_of(incident_of(asked.timeline, events=asked.events))
    from tapio_otel.timeline.text import as_dict, as_text

    if form == "text":
        return as_text(asked.timeline)
    from tapio_otel.exporting.event_text import inert_json

    return inert_json(orjson.dumps(as_dict(asked.timeline), option=orjson.OPT_INDENT_2).decode())


def _window(since: str | None, until: str | None, last: int) -> tuple[int | None, int]:
    end = _moment(until, last, "--until")
    return (None if since is None else _moment(since, end, "--since")), end


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
