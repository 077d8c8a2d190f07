"""`tapio run`: run the agent until its sources end or it is told to stop."""

from __future__ import annotations

import asyncio
import sys

import click

from tapio_otel.cli.options import config_options, load_or_exit, show_start_error
from tapio_otel.cli.progress import progress_display
from tapio_otel.cli.signals import Signals, end_process
from tapio_otel.config.loader import Configuration, load
from tapio_otel.registry import Registry
from tapio_otel.service import logs
from tapio_otel.service.graph import StartError
from tapio_otel.service.runner import Service


@click.command("run")
@config_options
def command(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Run the agent: read events, process them, ship them.

    Checks the configuration first. SIGTERM or Ctrl-C drains what is under way and ends; a second one ends at once. SIGHUP
    reads the configuration files again: what did not change goes on, and a configuration with errors changes nothing. SIGUSR1
    writes what became of every event so far to the log.
    Exits with 0 after a drain, 1 when the configuration is wrong or the start or a finite run failed.
    """
    registry = Registry.load()
    configuration = load_or_exit(files, overrides, registry)
    settings = configuration.service.telemetry.logs
    log = logs.set_up(settings.level, settings.encoding)
    for problem in registry.problems:
        log.warning("%s", problem)
    shown = any(id.type == "debug" for pipeline in configuration.service.pipelines.values() for id in pipeline.exporters)

    def load_again() -> Configuration:
        return load(list(files), list(overrides), registry)

    try:
        service = Service(configuration, registry, progress_display(shown), load_again if files else None, ", ".join(files))
        status = asyncio.run(_until_stopped(service))
    except StartError as error:
        show_start_error(error, configuration)
        status = 1
    sys.exit(status)


async def _until_stopped(service: Service) -> int:
    Signals(service.stop, service.reload, service.tell_balance).listen()
    status = await service.run()
    if service.left_behind:  # closing the loop would wait for what does not end
        end_process(status)
    return status
