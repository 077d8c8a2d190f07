"""Watch a systemd of the test's own with the `systemd` receiver, and compare what came with what systemd's journal says.

`watching` gives an output once the receiver is subscribed; `settled` returns when everything that systemd did before the call
has come: the unit that it starts is a mark in the stream, which D-Bus keeps in order. No test needs to know how long anything
takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.normalizers.systemd import normalize
from tapio_otel.receivers.systemd import SystemdConfig, SystemdReceiver
from tests.collect import CollectingOutput, context, running
from tests.integration.units import UNITS
from tests.lab import BootedSystemd

LIBRARIES: Final = ("dbus_fast", "dbus_next")
SYSTEMCTL: Final = ("systemctl",)
_marks: Final = itertools.count(1)

STARTED: Final = "39f53479d3a045ac8e11786248231fbf"
ENDED: Final = {"7ad2d189f7e94e70a38c781354912448": "inactive", "d9b373ed55a64feb8242e02dbe79a49c": "failed"}
"""MESSAGE_ID of what systemd writes when an invocation ends (sd-messages.h: UNIT_SUCCESS, UNIT_FAILURE_RESULT)."""


class Watched(CollectingOutput):
    """Keep events as the pipeline would see them, normalized, and the receiver that they come from."""

    receiver: SystemdReceiver

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Normalize and keep."""
        normalize(events)
        await super().emit(events, checkpoint)

    def of(self, unit: str) -> list[UnifiedEvent]:
        """Return the events about a unit in the order in which they came."""
        return [event for event in self.events if event.entity.name == unit]

    def story(self, unit: str) -> list[str]:
        """Return a unit's transitions as `previous → current/sub`, with the type where it is not `service_state`."""
        return [told(event) for event in self.of(unit)]

    def units(self) -> set[str]:
        """Return the units that events came about, but for the marks of `settled`."""
        return {event.entity.name for event in self.events} - {"system-mark.slice"} - marks()


def marks() -> set[str]:
    """Return the names of the marks."""
    made = int(repr(_marks).removeprefix("count(").removesuffix(")"))
    return {f"mark@{number}.service" for number in range(1, made)}


def told(event: UnifiedEvent) -> str:
    """Return a transition in one line."""
    kind = "" if event.type == EventType.SERVICE_STATE else f" {event.type}"
    return f"{event.get('previous_state')} → {event.get('current_state')}/{event.get('sub_state')}{kind}"


def receiver(lab: BootedSystemd, library: str = "dbus_fast", **options: Any) -> SystemdReceiver:
    """Return a receiver of the lab's system bus that tells of nothing before the first transition."""
    settings = {"bus": lab.address, "library": library, "initial_state": "none", **options}
    return SystemdReceiver(context("systemd"), SystemdConfig.model_validate(settings))


@contextlib.asynccontextmanager
async def watching(
    lab: BootedSystemd,
    library: str = "dbus_fast",
    output: Watched | None = None,
    command: Sequence[str] = SYSTEMCTL,
    **options: Any,
) -> AsyncIterator[Watched]:
    """Run a receiver meanwhile; its output is given once it has seen a first mark, made by `command`."""
    output = output or Watched()
    output.receiver = receiver(lab, library, **options)
    async with running(output.receiver, output) as task:
        await settled(lab, output, task, command)
        yield output


async def settled(
    lab: BootedSystemd, output: Watched, task: asyncio.Task[None] | None = None, command: Sequence[str] = SYSTEMCTL
) -> None:
    """Wait until all that happened before this call has come out of the receiver; raises what its task ended with."""
    name = f"mark@{next(_marks)}.service"
    async with asyncio.timeout(30):
        while "inactive" not in [event.get("current_state") for event in output.of(name)]:
            if task is not None and task.done():
                task.result()
            await asyncio.to_thread(lab.run, *command, "start", name, check=False)
            with contextlib.suppress(TimeoutError):
                await output.until(lambda: bool(output.of(name)), 1)


async def systemctl(lab: BootedSystemd, *arguments: str) -> None:
    """Run systemctl inside without holding up the receiver; what it thinks of the outcome is no matter."""
    await asyncio.to_thread(lab.run, *SYSTEMCTL, *arguments, check=False)


async def state(lab: BootedSystemd, unit: str, wanted: str, property: str = "ActiveState") -> None:
    """Wait until systemd itself says that a property of a unit has the value wanted."""
    async with asyncio.timeout(30):
        while (await show(lab, unit, property)) != wanted:
            await asyncio.sleep(0.02)


async def show(lab: BootedSystemd, unit: str, property: str) -> str:
    """Return a property of a unit as systemctl gives it."""
    return (await asyncio.to_thread(lab.systemctl, "show", f"--property={property}", "--value", unit)).strip()


def reset(lab: BootedSystemd) -> None:
    """End every unit of the tests and forget how it ended."""
    names = [name for name in UNITS if "@" not in name]
    lab.systemctl("stop", *names, check=False)
    lab.systemctl("reset-failed", check=False)


def journal_entries(lab: BootedSystemd, *matches: str) -> Iterator[dict[str, str]]:
    """Yield what the lab's first process wrote to its journal."""
    lab.run("journalctl", "--sync")
    for line in lab.run("journalctl", "--output=json", "_PID=1", *matches).stdout.splitlines():
        yield json.loads(line)


def chained(events: list[UnifiedEvent]) -> bool:
    """Tell whether each transition of a unit begins where the one before ended."""
    return all(after.get("previous_state") == before.get("current_state") for before, after in itertools.pairwise(events))
