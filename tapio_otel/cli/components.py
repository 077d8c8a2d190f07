"""`tapio components`: list what can be configured, and where each part came from."""

from __future__ import annotations

import json
from typing import Any

import click

from tapio_otel.component import Kind
from tapio_otel.config.describe import options
from tapio_otel.registry import Registration, Registry


@click.command("components")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with each component's options as JSON Schema.")
def command(as_json: bool) -> None:
    """List every component with its stability, options and the distribution it came from."""
    registry = Registry.load()
    if as_json:
        click.echo(json.dumps(_as_json(registry), indent=2, ensure_ascii=False))
        return
    for kind in Kind:
        click.echo(f"{kind.value}:")
        for one in registry.registrations():
            if one.kind is kind:
                click.echo(_as_text(one))
    for problem in registry.problems:
        click.echo(f"warning: {problem}", err=True)


def _about(one: Registration) -> str:
    """Return the first sentence of the component's docstring."""
    return " ".join((one.component.__doc__ or "").split("\n\n")[0].split())


def _as_text(one: Registration) -> str:
    lines = [f"  {one.component.type}  [{one.component.stability}]  {one.distribution}"]
    if _about(one):
        lines.append(f"    {_about(one)}")
    for option in options(one.component.Config):
        default = "required" if option.default is None else f"default {option.default}"
        lines.append(f"      {option.path}: {option.description} ({default})")
    return "\n".join(lines)


def _as_json(registry: Registry) -> dict[str, Any]:
    listed: dict[str, Any] = {kind.value: [] for kind in Kind}
    for one in registry.registrations():
        listed[one.kind.value].append(
            {
                "type": one.component.type,
                "stability": str(one.component.stability),
                "distribution": one.distribution,
                "description": _about(one),
                "options": one.component.Config.model_json_schema(),
            }
        )
    return {**listed, "problems": [str(problem) for problem in registry.problems]}
