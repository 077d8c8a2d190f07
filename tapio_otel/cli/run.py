"""`tapio run`: run the agent until its sources end or it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from tapio_otel.cli.options import config_options, load_or_exit, show_start_error
from tapio_otel.cli.progress import progress_display
from tapio_otel.registry import Registry
from tapio_otel.service import logs
from tapio_otel.service.graph import StartError
from tapio_otel.service.runner import Service


@click.command("run")
@config_options
def command(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Run the agent: read events, process them, ship them.

    Checks the configuration first. SIGTERM or Ctrl-C drains what is under way and ends; a second one ends at once.
    Exits with 0 after a drain, 1 when the configuration is wrong or the start or a finite run failed.
    """
    registry = Registry.load()
    configuration = load_or_exit(files, overrides, registry)
    settings = configuration.service.telemetry.logs
    log = logs.set_up(settings.level, settings.encoding)
    for problem in registry.problems:
        log.warning("%s", problem)
    shown = any(id.type == "debug" for pipeline in configuration.service.pipelines.values() for id in pipeline.exporters)
    try:
        service = Service(configuration, registry, progress_display(shown))
        sys.exit(asyncio.run(_until_stopped(service)))
    except StartError as error:
        show_start_error(error, configuration)
        sys.exit(1)


async def _until_stopped(service: Service) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, service)
    return await service.run()


def _on_signal(service: Service) -> None:
    """Drain at the first signal; at the second let the system end the process at once."""
    service.stop()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(each)
        signal.signal(each, _end_now)


def _end_now(number: int, _frame: object) -> None:
    os._exit(128 + number)
