"""`tapio validate`: check a configuration without running it."""

from __future__ import annotations

import click

from tapio_otel.cli.options import config_options, load_or_exit
from tapio_otel.registry import Registry


@click.command("validate")
@config_options
def command(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Check a configuration without running it; opens no connection.

    Prints every error as FILE:LINE: path: message and exits with 1, or exits with 0.
    """
    configuration = load_or_exit(files, overrides, Registry.load())
    pipelines = ", ".join(map(str, configuration.service.pipelines))
    click.echo(f"the configuration is valid; pipelines: {pipelines}")
