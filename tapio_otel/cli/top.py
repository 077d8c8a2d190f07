"""`tapio top`: what the agent is doing, live: rates, queues, what is dropped, the latest findings and the worst events."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import click

from tapio_otel.cli.events import origin_of, origin_options
from tapio_otel.cli.terminal import fail
from tapio_otel.cli.told_events import Origin, ReadError
from tapio_otel.cli.top_figures import Reading, agent_reading, store_reading
from tapio_otel.config.types import parse_duration


@click.command("top")
@origin_options
@click.option("--interval", default="1s", show_default=True, metavar="DURATION", help="Time between two looks.")
@click.option("--once", is_flag=True, help="Print one look and end.")
def command(endpoint: str, store: str | None, interval: str, once: bool) -> None:
    """Show what the agent is doing, until Ctrl-C.

    Reads from a running agent whose extension ui is on, or with --store from the file that an agent's sqlite exporter keeps:
    then there are the findings, the worst events and how many events of each source there were.
    """
    try:
        seconds = max(parse_duration(interval), 0.2)
        _show(origin_of(endpoint, store), seconds, once)
    except ValueError as error:
        fail(f"--interval {interval!r}: {error}")
    except ReadError as error:
        fail(error)


def _look(origin: Origin) -> Reading:
    from tapio_otel.cli.told_events import RunningAgent, StoreFile

    if isinstance(origin, RunningAgent):
        return agent_reading(origin)
    assert isinstance(origin, StoreFile)
    return store_reading(origin)


def _look_again(origin: Origin, last: Reading) -> Reading:
    """Look once more; while that is not possible, show what there was, and why."""
    try:
        return _look(origin)
    except ReadError as error:
        return replace(last, problems=(("connection", str(error)),))


def _show(origin: Origin, seconds: float, once: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from tapio_otel.cli.top_view import screen

    before, now = None, _look(origin)
    console = Console()
    if once:
        time.sleep(seconds)
        before, now = now, _look(origin)
        console.print(screen(now, before))
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the terminal must be given back
    try:
        while not console.is_terminal:
            console.print(screen(now, before))
            time.sleep(seconds)
            before, now = now, _look_again(origin, now)
        with Live(screen(now, before), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(seconds)
                before, now = now, _look_again(origin, now)
                live.update(screen(now, before), refresh=True)
    except KeyboardInterrupt:
        return
