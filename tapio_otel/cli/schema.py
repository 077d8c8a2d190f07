"""`tapio schema`: print the JSON Schema of the configuration or of the event."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option("--events", is_flag=True, help="Print the schema of the event's JSON form instead.")
def command(events: bool) -> None:
    """Print the JSON Schema of the configuration, or of the event.

    A YAML editor that is given the first completes and checks configuration files.
    """
    if events:
        from tapio_otel.event_json import events_schema

        schema = events_schema()
    else:
        from tapio_otel.config.schema import json_schema
        from tapio_otel.registry import Registry

        schema = json_schema([one.component for one in Registry.load().registrations()])
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
