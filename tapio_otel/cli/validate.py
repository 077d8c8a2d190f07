"""`tapio validate`: check a configuration without running it."""

from __future__ import annotations

import sys

import click

from tapio_otel.cli.options import config_options, load_or_exit
from tapio_otel.registry import Registry
from tapio_otel.service.graph import StartError
from tapio_otel.service.runner import Service


@click.command("validate")
@config_options
def command(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Check a configuration without running it; opens no connection.

    Prints every error as FILE:LINE: path: message and exits with 1, or exits with 0.
    """
    registry = Registry.load()
    configuration = load_or_exit(files, overrides, registry)
    try:
        Service(configuration, registry)
    except StartError as error:
        click.echo(f"{', '.join(files) or 'default.yaml'}: {error}", err=True)
        sys.exit(1)
    pipelines = ", ".join(map(str, configuration.service.pipelines))
    click.echo(f"the configuration is valid; pipelines: {pipelines}")
