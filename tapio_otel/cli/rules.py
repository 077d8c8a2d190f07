"""`tapio rules`: list the rules of correlation, run their examples, and measure them on labelled scenarios."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from tapio_otel.cli.options import show_problems
from tapio_otel.config.problem import ConfigError
from tapio_otel.exporting.event_text import inert_json

if TYPE_CHECKING:
    from tapio_otel.correlation.rule import Rule

F = TypeVar("F", bound=Callable[..., Any])


def _rule_options(command: F) -> F:
    command = click.option(
        "--disable", "disabled", multiple=True, metavar="NAME", help="Leave out a rule; may be given several times."
    )(command)
    return click.option(
        "--rules",
        "entries",
        multiple=True,
        metavar="ENTRY",
        default=("builtin", "plugins"),
        show_default=True,
        help="What makes up the rules, as in the correlate processor's option `rules`; may be given several times.",
    )(command)


@click.group("rules")
def command() -> None:
    """List the rules of correlation, run their examples, and measure them on labelled scenarios."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each rule.")
@click.option("--classes", is_flag=True, help="List the classes of facts that rules are written with.")
@_rule_options
def list_rules(as_json: bool, classes: bool, entries: tuple[str, ...], disabled: tuple[str, ...]) -> None:
    """List the rules: name, window, confidence, what each looks for."""
    if classes:
        _list_classes(as_json)
        return
    for rule in _load(entries, disabled):
        facts = {name: list(one.classes or one.event_types) for name, one in rule.facts.items()}
        if as_json:
            row = {
                "name": rule.name,
                "title": rule.title,
                "window": rule.window_ns / 1e9,
                "confidence": rule.confidence,
                "facts": facts,
                "group_by": list(rule.group_by),
                "suppresses": list(rule.suppresses),
                "examples": len(rule.examples),
                "file": rule.file,
            }
            click.echo(inert_json(orjson.dumps(row).decode()))
        else:
            sought = ", ".join(
                f"{name} ({'|'.join(names)})" if names and names != [name] else name for name, names in facts.items()
            )
            click.echo(f"{rule.name:<44} {rule.window_ns / 1e9:>6g}s {rule.confidence:>5.2f}  {sought}")


def _list_classes(as_json: bool) -> None:
    from tapio_otel.correlation.classes import CLASSES

    for one in CLASSES.values():
        if as_json:
            click.echo(orjson.dumps({"name": one.name, "meaning": one.meaning, "types": list(one.types)}))
        else:
            click.echo(f"{one.name:<24} {one.meaning}")


@command.command("test")
@click.argument("files", nargs=-1, type=click.Path(exists=True))
@_rule_options
def test(files: tuple[str, ...], entries: tuple[str, ...], disabled: tuple[str, ...]) -> None:
    """Run the examples of rules: those of FILES, or of all. Exits with 1 when one does not hold."""
    from tapio_otel.correlation.examples import run_examples

    rules = _load(files or entries, disabled)
    results = [(rule, one) for rule in rules for one in run_examples(rule)]
    wrong = [(rule, one) for rule, one in results if one.problem]
    for rule, one in wrong:
        where = f"{rule.file}:{rule.line}: " if rule.file else ""
        click.echo(f"{where}{rule.name}: {one.example}: {one.problem}", err=True)
    bare = [rule.name for rule in rules if not rule.examples]
    if bare:
        click.echo(f"warning: without examples: {', '.join(bare)}", err=True)
    click.echo(f"{len(rules)} rules, {len(results)} examples, {len(wrong)} of them wrong")
    sys.exit(1 if wrong else 0)


@command.command("evaluate")
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--wrong", is_flag=True, help="Print every scenario with a result that is not the expected one, as JSON.")
@click.option(
    "--minimum",
    "--goal",
    "minimum",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="The least that precision, recall and root-cause accuracy must be each.",
)
@click.option("--format", "form", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@_rule_options
def evaluate(
    scenarios: tuple[str, ...], wrong: bool, minimum: float, form: str, entries: tuple[str, ...], disabled: tuple[str, ...]
) -> None:
    """Print precision, recall and root-cause accuracy of the rules on labelled scenarios: files, or directories of *.yaml.

    docs/correlation-quality.md tells how scenarios are written and what counts as right. Exits with 1 where a figure is below
    the minimum, or a scenario cannot be read.
    """
    from tapio_otel.cli.rule_evaluation import as_text, evaluate_files

    rules = _load(entries, disabled)
    try:
        result = evaluate_files(scenarios, rules)
    except ConfigError as error:
        show_problems(error.problems, "the scenarios")
        sys.exit(1)
    if wrong:
        for row in result.wrong:
            click.echo(inert_json(orjson.dumps(row).decode()))
    click.echo(as_text(result, form))
    sys.exit(0 if result.reaches(minimum) else 1)


def _load(entries: tuple[str, ...], disabled: tuple[str, ...]) -> tuple[Rule, ...]:
    """Return the rules; shows every error of them and exits with 1."""
    from tapio_otel.correlation.library import load_rules
    from tapio_otel.registry import Registry

    try:
        return load_rules(entries, disabled, Registry.load().provided("rules"))
    except ConfigError as error:
        show_problems(error.problems, "the rules")
        sys.exit(1)
