"""Signals that a real systemd (252) sent, as they came, and their replay through a tracker."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tapio_otel.receivers.systemd.tracker import Tracker
from tapio_otel.receivers.systemd.transition import Kind, Transition

DIRECTORY: Final = Path(__file__).parent / "recorded"
NAMES: Final = tuple(sorted(path.stem for path in DIRECTORY.glob("*.json")))


class Recording(NamedTuple):
    """Hold a unit's signals in order: member and arguments."""

    unit: str
    signals: list[list[Any]]


def load(name: str) -> Recording:
    """Read a recording; what was bytes is bytes again."""
    document = json.loads((DIRECTORY / f"{name}.json").read_text(), object_hook=_bytes)
    return Recording(document["unit"], document["signals"])


def _bytes(found: dict[str, Any]) -> Any:
    return bytes.fromhex(found["hex"]) if set(found) == {"hex"} else found


def replay(unit: str, signals: Iterable[list[Any]], tracker: Tracker | None = None) -> list[Transition]:
    """Return the transitions that a tracker finds in signals."""
    tracker = tracker or Tracker()
    return [found for signal in signals if (found := _play(tracker, unit, *signal)) is not None]


def _play(tracker: Tracker, unit: str, member: str, *body: Any) -> Transition | None:
    if member == "PropertiesChanged":
        interface, changed = body
        if interface == "Unit":
            return tracker.unit_changed(unit, changed)
        tracker.type_changed(unit, changed)
    elif member == "JobRemoved":
        return tracker.job_removed(body[0], unit, body[1])
    elif member == "UnitNew":
        tracker.unit_new(unit)
    elif member == "UnitRemoved":
        tracker.unit_removed(unit)
    return None


def told(transition: Transition) -> str:
    """Return a transition in one line."""
    if transition.kind is Kind.JOB:
        return f"job {transition.job_result}"
    kind = "" if transition.type == "service_state" else f" {transition.type}"
    return f"{transition.previous_active} → {transition.state.active}/{transition.state.sub}{kind}"
