"""`tapio version`: print the version."""

from __future__ import annotations

import platform

import click

from tapio_otel.version import VERSION


@click.command("version")
def command() -> None:
    """Print the version."""
    click.echo(f"tapio {VERSION} (Python {platform.python_version()})")
