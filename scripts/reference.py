"""Write docs/reference/ from the code: what the commands take, and what every component's options are.

    python scripts/reference.py            write the files
    python scripts/reference.py --check    exit with 1, naming them, if any is not what the code says

The Config models and the commands' own help are the only source, so the pages cannot differ from what the program does.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from tapio_otel.cli import COMMANDS, main
from tapio_otel.cli.pattern_list import as_markdown
from tapio_otel.component import Component, Kind
from tapio_otel.config.describe import Option, options
from tapio_otel.patterns import load_library
from tapio_otel.registry import Registry

PLACE = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Made by `make reference` from the code: do not edit. -->\n\n"
BUILT_IN = "tapio-otel"


def command_page() -> str:
    """Return the page that shows each command's help."""
    context = click.Context(main, info_name="tapio", terminal_width=100, help_option_names=["-h", "--help"])
    return NOTE + "# Commands\n" + "".join(command_section(name, main, context) for name in COMMANDS)


def command_section(name: str, group: click.Group, above: click.Context) -> str:
    """Return a command's help, and that of the commands below it."""
    command = group.get_command(above, name)
    assert command is not None
    own = click.Context(command, info_name=name, parent=above, terminal_width=100)
    text = f"\n## {own.command_path}\n\n```text\n{command.get_help(own)}\n```\n"
    below = command.list_commands(own) if isinstance(command, click.Group) else []
    return text + "".join(command_section(one, command, own) for one in below if isinstance(command, click.Group))


def component_page(kind: Kind, components: list[type[Component[Any]]]) -> str:
    """Return the page of one kind's components with their options."""
    title = kind.value.capitalize()
    names: dict[tuple[str, type[BaseModel]], list[str]] = {}
    for component in components:
        names.setdefault((component.__module__, component.Config), []).append(component.type)
    first = [one for one in components if names[one.__module__, one.Config][0] == one.type]
    return NOTE + f"# {title}\n" + "".join(section(one, names[one.__module__, one.Config]) for one in first)


def section(component: type[Component[Any]], names: list[str]) -> str:
    """Return one component's section, under all its names: what it says about itself, and its options."""
    rows = [row(option) for option in options(component.Config)]
    table = "\n".join(["| option | default | meaning |", "|---|---|---|", *rows]) if rows else "It has no options."
    return f"\n## {', '.join(names)}\n\nStability: {component.stability}.\n\n{about(component)}\n\n{table}\n"


def row(option: Option) -> str:
    """Return an option's row in the table."""
    default = "required" if option.default is None else f"`{cell(option.default)}`"
    return f"| `{option.path}` | {default} | {cell(option.description)} |"


def about(component: type[Component[Any]]) -> str:
    """Return the docstring of the component's module, or of the package it has become, without the name before it."""
    home = ".".join(component.__module__.split(".")[:3])
    text = inspect.cleandoc(import_module(home).__doc__ or component.__doc__ or "")
    name, colon, rest = text.partition(": ")
    return rest[:1].upper() + rest[1:] if colon and " " not in name else text


def cell(text: str) -> str:
    """Return text that fits into a table's cell."""
    return text.replace("|", "\\|")


def pages() -> dict[Path, str]:
    """Return every page by its path."""
    registered = [one for one in Registry.load().registrations() if one.distribution.split()[0] == BUILT_IN]
    found = {PLACE / "commands.md": command_page()}
    for kind in Kind:
        components = [one.component for one in registered if one.kind is kind]
        if components:
            found[PLACE / f"{kind.value}.md"] = component_page(kind, components)
    return {**found, PLACE / "patterns.md": NOTE + as_markdown(load_library(["builtin"]).patterns) + "\n"}


def stale() -> list[Path]:
    """Return the pages that are not what the code says."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        wrong = [str(path) for path in stale()]
        sys.exit(f"not current: {', '.join(wrong)}: run `make reference`" if wrong else 0)
    PLACE.mkdir(parents=True, exist_ok=True)
    for page, content in pages().items():
        page.write_text(content, "utf-8")
