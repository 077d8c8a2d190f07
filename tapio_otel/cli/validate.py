"""`tapio validate`: check a configuration without running it."""

from __future__ import annotations

import sys

import click

from tapio_otel.cli.options import config_options, load_or_exit, show_problems, show_start_error
from tapio_otel.config.problem import Problem
from tapio_otel.registry import Registry
from tapio_otel.service.graph import StartError
from tapio_otel.service.runner import Service


@click.command("validate")
@config_options
def command(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Check a configuration without running it; opens no connection.

    Plugins that cannot be loaded, or that bring something unusable, are shown as warnings.
    Runs the examples of the pattern files and of the rule files, too. Prints every error as FILE:LINE: path: message and exits
    with 1, or exits with 0.
    """
    registry = Registry.load()
    for problem in registry.problems:
        click.echo(f"warning: {problem}", err=True)
    configuration = load_or_exit(files, overrides, registry)
    try:
        service = Service(configuration, registry)
    except StartError as error:
        show_start_error(error, configuration)
        sys.exit(1)
    if problems := _example_problems(service):
        show_problems(problems, "the examples")
        sys.exit(1)
    pipelines = ", ".join(map(str, configuration.service.pipelines))
    click.echo(f"the configuration is valid; pipelines: {pipelines}")


def _example_problems(service: Service) -> list[Problem]:
    """Return what is wrong with the examples of the patterns and rules that any pipeline uses, each once."""
    from tapio_otel.processors.correlate import CorrelateProcessor
    from tapio_otel.processors.normalize import NormalizeProcessor

    checked = [
        processor
        for pipeline in service.graph.pipelines
        for processor in pipeline.processors
        if isinstance(processor, NormalizeProcessor | CorrelateProcessor)
    ]
    return list(dict.fromkeys(problem for processor in checked for problem in processor.check()))
