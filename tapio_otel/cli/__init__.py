"""The command line. What is imported here is little, so that Ctrl-C is met by our own answer as early as can be."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # as `typing` has it, whose import would take longer than all the rest
if TYPE_CHECKING:
    from tapio_otel.cli.commands import COMMANDS as COMMANDS
    from tapio_otel.cli.commands import main as main


early_hangups: list[int] = []
"""Signals that ask `tapio run` to reload, from before it could."""


def entry() -> None:
    """Run the command line; Ctrl-C before a command has its own way to end is silent, with the status shells expect."""
    signal.signal(signal.SIGINT, lambda number, _frame: os._exit(128 + number))
    if sys.argv[1:2] == ["run"] and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda number, _frame: early_hangups.append(number))
    if sys.argv[1:2] == ["run"]:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # there is nothing to tell yet, and it must not end the agent
    from tapio_otel.cli.commands import main

    main(prog_name="tapio")


def __getattr__(name: str) -> object:
    """Import the group of commands when it is first asked for."""
    if name not in {"COMMANDS", "main"}:
        raise AttributeError(f"module 'tapio_otel.cli' has no attribute {name!r}")
    from tapio_otel.cli import commands

    return getattr(commands, name)
