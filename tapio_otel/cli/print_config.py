"""`tapio print-config`: print the merged configuration with secrets redacted."""

from __future__ import annotations

import click

from tapio_otel.cli.options import config_options, load_or_exit
from tapio_otel.config.redact import dump_yaml, redact
from tapio_otel.registry import Registry


@click.command("print-config")
@config_options
def command(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Print the merged configuration with secrets redacted: headers, tokens, keys, passwords in URLs."""
    click.echo(dump_yaml(redact(load_or_exit(files, overrides, Registry.load()))), nl=False)
