"""The commands: each is a module of its own, imported only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = {
    "run": "Run the agent: read events, process them, ship them.",
    "validate": "Check a configuration without running it; opens no connection.",
    "components": "List every component with its stability, options and the distribution it came from.",
    "schema": "Print the JSON Schema of the configuration, or of the event.",
    "print-config": "Print the merged configuration with secrets redacted.",
    "patterns": "Try the pattern library on log lines, list it, and measure it on a corpus.",
    "replay": "Run recorded events through processors again and print the findings.",
    "timeline": "Tell what happened to an entity.",
    "events": "Print what happened on this node, the newest event last.",
    "top": "Show what the agent is doing, until Ctrl-C.",
    "rules": "List the rules of correlation, run their examples, and measure them on labelled scenarios.",
    "version": "Print the version.",
}


class LazyGroup(click.Group):
    """Import a command's module when the command is called; the list of commands imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"tapio_otel.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named; an unknown one is an error that names the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.invoke(import_module("tapio_otel.cli.version").command)
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version.")
def main() -> None:
    """Tell what happened on a Linux node, and why: one stream of events, shipped as OTLP."""
