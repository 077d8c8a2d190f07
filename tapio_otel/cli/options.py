"""What commands that read a configuration have in common: their options, loading, and how errors are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from tapio_otel.config.loader import Configuration, load
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.registry import Registry
from tapio_otel.service.defaults import default_sources
from tapio_otel.service.graph import StartError

F = TypeVar("F", bound=Callable[..., Any])


def config_options(command: F) -> F:
    """Add `--config` and `--set` to a command."""
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set one option, such as receivers.journald.start_at=beginning; may be given several times.",
    )(command)
    return click.option(
        "--config",
        "-c",
        "files",
        multiple=True,
        metavar="FILE",
        help="Configuration file; several are merged in order. Without one the embedded default pipeline is used.",
    )(command)


def load_or_exit(files: tuple[str, ...], overrides: tuple[str, ...], registry: Registry) -> Configuration:
    """Return the configuration with its warnings shown, or show every error and exit with 1."""
    try:
        sources = list(files) or default_sources(os.environ)
    except ValueError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    try:
        configuration = load(sources, list(overrides), registry)
    except ConfigError as error:
        show_problems(error.problems)
        sys.exit(1)
    for warning in configuration.warnings:
        click.echo(f"warning: {warning}", err=True)
    return configuration


def show_problems(problems: Sequence[Problem], where: str = "the configuration") -> None:
    """Print every problem as FILE:LINE: path: message, and how many there are."""
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(f"{len(problems)} error{'s' if len(problems) != 1 else ''} in {where}", err=True)


def show_start_error(error: StartError, configuration: Configuration) -> None:
    """Print why the service cannot start: each place that is wrong on a line of its own, or else the error and whose it is."""
    position = configuration.position_of(error.component)
    if error.problems:
        show_problems(error.problems)
    else:
        click.echo(position.problem((), str(error)) if position else f"error: {error}", err=True)
