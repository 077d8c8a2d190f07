"""How `tapio top` looks: figures as tables. Nothing of an event's text acts on the terminal."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tapio_otel.cli.top_figures import Key, Reading
from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.exporting.event_text import inert, label_of

_STYLES: Final = {
    Severity.DEBUG: "dim",
    Severity.INFO: "",
    Severity.NOTICE: "cyan",
    Severity.WARNING: "yellow",
    Severity.ERROR: "red",
    Severity.CRITICAL: "bold red",
    Severity.ALERT: "bold red",
    Severity.EMERGENCY: "bold white on red",
}
_STATES: Final = {
    "listening": "green",
    "stored": "",
    "degraded": "yellow",
    "failing": "red",
    "failed": "bold red",
    "off": "dim",
}
_CUT: Final = frozenset(("why", "entity", "what"))
"""Columns that are shortened where the terminal is narrow."""
_REMOVED: Final = ("dropped", "refused", "failed")


def screen(now: Reading, before: Reading | None) -> RenderableType:
    """Return all of it."""
    parts: list[RenderableType] = [Text(inert(now.title), style="bold"), *_store(now), *_problems(now), _sources(now, before)]
    if now.components:
        parts.append(_components(now, before))
    parts += [_events("Latest findings", now.findings, "none yet"), _events("Worst events", now.worst, "nothing bad happened")]
    return Group(*parts)


def _store(now: Reading) -> list[RenderableType]:
    stored = now.stored
    if not stored or stored.get("events") is None:
        return []
    size = f", {stored['bytes'] / 1024**2:,.1f} MiB" if stored.get("bytes") else ""
    return [
        Text(f"{stored['events']:,} events and {stored['findings']:,} findings in the {inert(str(stored['kind']))} store{size}")
    ]


def _problems(now: Reading) -> list[RenderableType]:
    return [
        Text(f"{inert(component)}: {inert(problem)}", style="yellow", overflow="fold") for component, problem in now.problems
    ]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, expand=False)
    for number, column in enumerate(columns):
        # A narrow terminal takes from the columns that may be cut, and only then from the others.
        is_cut = column in _CUT
        table.add_column(column, style="" if number else None, justify="left", overflow="ellipsis", no_wrap=not is_cut)
    return table


def _cut(text: str, style: str = "") -> Text:
    """Return what goes into a column that may be cut: one line, whatever its width."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _sources(now: Reading, before: Reading | None) -> Table:
    table = _table("Sources", "source", "state", "events/s", "events", "why")
    for one in now.sources:
        state = Text(inert(one.state), style=_STATES.get(one.state, ""))
        rate = _rate(now.source_rate(before, one.id) if one.state not in {"off", "stored"} else None)
        why = inert(one.reason) if one.state != "off" else "in no pipeline"
        table.add_row(Text(inert(one.id)), state, rate, Text(f"{one.events:,}"), _cut(why, "dim"))
    return table


def _components(now: Reading, before: Reading | None) -> Table:
    table = _table("Components", "component", "in/s", "out/s", "queue", "dropped", "refused", "failed")
    for key, counted in now.components.items():
        queue = Text(f"{counted['queue_size']:,.0f}" if "queue_size" in counted else "")
        if counted.get("queue_capacity"):
            queue.append(f" of {counted['queue_capacity']:,.0f}", style="dim")
        removed = [_removed(now, before, key, word) for word in _REMOVED]
        rates = (_rate(now.rate(before, key, word)) for word in ("accepted", "sent"))
        table.add_row(Text(inert(f"{key[0]} {key[1]}")), *rates, queue, *removed)
    return table


def _removed(now: Reading, before: Reading | None, key: Key, word: str) -> Text:
    """Return how many events a component did away with; in colour while it goes on."""
    count = now.components[key].get(word, 0)
    rate = now.rate(before, key, word) or 0
    return Text(
        f"{count:,.0f}" if count else "", style="bold red" if rate and word == "failed" else "yellow" if rate else "dim"
    )


def _rate(rate: float | None) -> Text:
    return Text("" if rate is None else f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}")


def _events(title: str, events: tuple[UnifiedEvent, ...], nothing: str) -> Table:
    table = _table(title, "when", "severity", "entity", "what")
    if not events:
        table.add_row(Text(nothing, style="dim"))
    for event in events:
        clock = time.strftime("%m-%d %H:%M:%S", time.localtime(event.timestamp // 1_000_000_000))
        what = inert((event.title or event.description)[:300])
        style = _STYLES[event.severity]
        table.add_row(Text(clock), Text(event.severity.keyword, style=style), _cut(label_of(event.entity)), _cut(what, style))
    return table
