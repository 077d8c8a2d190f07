"""`tapio timeline`: what happened to one entity, from an event store or from recorded events."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from tapio_otel.cli.incident import Told, WhenError, Window, of_files, of_store
from tapio_otel.cli.terminal import fail, say

if TYPE_CHECKING:
    from tapio_otel.cli.agent_settings import AgentSettings


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
@click.option(
    "--trace-url",
    metavar="URL",
    help="With html: where a trace is looked at, with {trace_id} in it, so that trace ids are links.",
)
@click.option(
    "--config",
    "-c",
    "configuration",
    multiple=True,
    metavar="FILE",
    help="The agent's configuration: which store it keeps, and the trace_url of its extension ui.",
)
def command(
    entity: str,
    store: Path | None,
    files: tuple[str, ...],
    since: str | None,
    until: str | None,
    form: str,
    correlate: bool,
    trace_url: str | None,
    configuration: tuple[str, ...],
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
    settings = _settings(configuration, trace_url, wants_store=not files and store is None)
    try:
        focus = Focus.parse(entity)
        window, beside = Window(since, until), form == "html"
        if files:
            told = of_files(files, focus, window, correlate=correlate, beside=beside)
        else:
            told = of_store(store or settings.store, focus, window, correlate=correlate, beside=beside)
        _show(told, form, settings.trace_url)
    except (FocusError, StoredEventError, EventStoreError, WhenError) as error:
        fail(error)
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads has seen enough, which is no error
            raise
        fail(f"output failed: {error.strerror or error}")


def _settings(configuration: tuple[str, ...], trace_url: str | None, *, wants_store: bool) -> AgentSettings:
    """Return what is set for the agent and what was asked for instead; exits with 1 where that makes no sense."""
    from tapio_otel.cli.agent_settings import AgentSettings, settings_of
    from tapio_otel.config.loader import state_directory

    found = AgentSettings(state_directory(None, os.environ) / "events", "")
    if configuration:
        found = settings_of(configuration, wants_store=wants_store)
    if trace_url is None:
        return found
    from tapio_otel.extensions.ui.trace_url import checked_trace_url

    try:
        return AgentSettings(found.store, checked_trace_url(trace_url))
    except ValueError as error:
        fail(f"--trace-url {trace_url!r}: {error}")


def _show(told: Told, form: str, trace_url: str) -> None:
    if form == "html":
        from tapio_otel.ui.html import page_of
        from tapio_otel.ui.incident import incident_of

        incident = incident_of(told.timeline, told.findings, told.events, around=told.around, trace_url=trace_url or None)
        click.echo(page_of(incident))
    elif form == "text":
        from tapio_otel.timeline.text import as_text

        say(as_text(told.timeline))
    else:
        from tapio_otel.exporting.event_text import inert_json
        from tapio_otel.timeline.text import as_dict

        click.echo(inert_json(orjson.dumps(as_dict(told.timeline), option=orjson.OPT_INDENT_2).decode()))
