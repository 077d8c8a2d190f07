"""The systemd receiver against systemd's own record in the journal: no transition lost, none told twice, however fast."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from tapio_otel.component import Kind
from tapio_otel.event import UnifiedEvent
from tapio_otel.normalizers import journald
from tapio_otel.processors.dedup import DedupConfig, DedupProcessor
from tapio_otel.processors.unit_transition import unit_transition
from tapio_otel.receivers.journald import JournaldConfig, JournaldReceiver
from tests.collect import CollectingOutput, context, running
from tests.components import context as component_context
from tests.integration.test_run import TAPIO, attribute
from tests.integration.transitions import (
    ENDED,
    LIBRARIES,
    STARTED,
    chained,
    journal_entries,
    settled,
    state,
    systemctl,
    told,
    watching,
)
from tests.integration.units import UNITS
from tests.lab import BootedSystemd, require_lab

CYCLES = 400
INSTANCES = 1000


@pytest.fixture
def lab() -> Iterator[BootedSystemd]:
    """Give a test a systemd with every unit."""
    require_lab()
    with BootedSystemd(UNITS) as lab:
        yield lab


def runs(lab: BootedSystemd, unit: str = "") -> dict[tuple[str, str], list[str]]:
    """Return by unit and invocation what the journal says became of it: `active`, then how it ended."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in journal_entries(lab, *([f"UNIT={unit}"] if unit else [])):
        message = entry.get("MESSAGE_ID", "")
        became = "active" if message == STARTED else ENDED.get(message)
        if became and "INVOCATION_ID" in entry:
            found.setdefault((entry["UNIT"], entry["INVOCATION_ID"]), []).append(became)
    return found


def told_runs(events: list[UnifiedEvent]) -> dict[tuple[str, str], list[str]]:
    """Return the same of events: by unit and invocation the states that the journal tells of as well."""
    found: dict[tuple[str, str], list[str]] = {}
    for event in events:
        if event.get("current_state") in {"active", "inactive", "failed"}:
            found.setdefault((event.entity.name, event.get("invocation_id")), []).append(event.get("current_state"))
    return found


async def flap(lab: BootedSystemd, unit: str, cycles: int) -> None:
    """Start and stop a unit without waiting for either, at distances of 0 to 30 ms."""
    pauses = random.Random(400)
    bus = await MessageBus(bus_address=lab.address).connect()
    try:
        for number in range(2 * cycles):
            reply = await bus.call(
                Message(
                    destination="org.freedesktop.systemd1",
                    path="/org/freedesktop/systemd1",
                    interface="org.freedesktop.systemd1.Manager",
                    member="StopUnit" if number % 2 else "StartUnit",
                    signature="ss",
                    body=[unit, "replace"],
                )
            )
            assert reply is not None and not reply.error_name, reply
            await asyncio.sleep(pauses.uniform(0, 0.03))
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def test_400_cycles_at_0_to_30_ms_are_all_told_by_both_libraries(lab: BootedSystemd) -> None:
    """Every run that the journal knows has begun and ended in the events, once; every event is of such a run."""
    async with watching(lab, LIBRARIES[0]) as one, watching(lab, LIBRARIES[1]) as other:
        await flap(lab, "flap.service", CYCLES)
        await settled(lab, one)
        await settled(lab, other)
    expected = runs(lab, "flap.service")
    assert len(expected) > CYCLES / 2, "most of the starts came to something"
    for output in (one, other):
        events = output.of("flap.service")
        assert told_runs(events) == expected
        assert chained(events)
        assert len({event.id for event in events}) == len(events)
        assert not any(told == after for told, after in zip(states(events), states(events)[1:], strict=False))
    assert states(one.of("flap.service")) == states(other.of("flap.service"))
    assert [event.id for event in one.of("flap.service")] == [event.id for event in other.of("flap.service")]


def states(events: list[UnifiedEvent]) -> list[tuple[str, str, str]]:
    """Return what each event says came to be."""
    return [(event.get("current_state"), event.get("sub_state"), event.get("invocation_id")) for event in events]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_thousand_units_at_once_are_all_told(lab: BootedSystemd, library: str) -> None:
    """Each has its two transitions, and when they are gone the receiver holds nothing of them."""
    names = [f"many@{number}.service" for number in range(INSTANCES)]
    async with watching(lab, library) as output:
        followed = len(output.receiver._tracker.units())
        await systemctl(lab, "start", *names)
        await settled(lab, output)
        assert len(output.receiver._tracker.units()) <= followed + 2, "units that were unloaded are forgotten"
    expected = {key: value for key, value in runs(lab).items() if key[0].startswith("many@")}
    events = [event for event in output.events if event.entity.name.startswith("many@")]
    assert len({unit for unit, _ in expected}) == INSTANCES
    stories = Counter(tuple(output.story(name)) for name in names)
    assert stories == {("inactive → activating/start", "activating → inactive/dead"): INSTANCES}
    assert len({event.id for event in events}) == len(events) == 2 * INSTANCES
    assert {(event.entity.name, event.get("invocation_id")) for event in events} == set(expected)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_bus_that_dies_amid_a_flood_repeats_nothing(lab: BootedSystemd, library: str) -> None:
    """What was told before is not told again afterwards, and from then on nothing is missing."""
    names = [f"many@{number}.service" for number in range(200)]
    async with watching(lab, library) as output:
        for _ in range(3):
            await systemctl(lab, "start", "--no-block", "flap.service", *names)
            await asyncio.to_thread(lab.end_bus)
            await systemctl(lab, "reset-failed", "dbus.service")
            await settled(lab, output)
            await systemctl(lab, "stop", "flap.service")
        await systemctl(lab, "start", *names)
        await settled(lab, output)
        before = len(output.events)
        await systemctl(lab, "start", *names)
        await settled(lab, output)
    assert len({event.id for event in output.events}) == len(output.events)
    assert chained(output.of("flap.service"))
    last = [event for event in output.events[before:] if event.entity.name.startswith("many@")]
    assert Counter(event.entity.name for event in last) == dict.fromkeys(names, 2)
    assert not any(event.get("reconciled") for event in last)


async def test_the_invocation_is_the_one_that_the_journal_carries(lab: BootedSystemd) -> None:
    """What a unit writes, what systemd writes about it, and its transitions have one invocation id in common."""
    lab.add_unit("speaker.service", "[Service]\nExecStart=sh -c 'echo hello; exec sleep 600'\n")
    journal = CollectingOutput()
    options = JournaldConfig(directory=lab.journal, start_at="beginning", read_interval="1ms")
    async with watching(lab) as output, running(JournaldReceiver(context("journald"), options), journal):
        await systemctl(lab, "start", "speaker.service")
        await settled(lab, output)
        await asyncio.to_thread(lab.run, "journalctl", "--sync")
        await journal.until(lambda: {"hello", "Started speaker.service."} <= set(journal.messages))
    journald.normalize(journal.events)
    (event,) = output.of("speaker.service")
    invocation = event.get("invocation_id")
    (hello,) = [entry for entry in journal.events if entry.description == "hello"]
    (started,) = [entry for entry in journal.events if entry.description == "Started speaker.service."]
    assert len(invocation) == 32
    assert started.get("INVOCATION_ID") == invocation
    assert hello.entity.attributes["invocation_id"] == invocation
    assert event.entity.uid == hello.entity.uid == started.entity.uid


async def test_a_restarting_unit_is_told_as_the_journal_has_it(lab: BootedSystemd) -> None:
    """Each failed run and each successful one by its own invocation, the number of restarts rising by one."""
    async with watching(lab) as output:
        await systemctl(lab, "start", "again.service")
        for number in range(1, 11):
            await systemctl(lab, "kill", "--signal=KILL" if number % 2 else "--signal=TERM", "again.service")
            await state(lab, "again.service", str(number), "NRestarts")
            await state(lab, "again.service", "active")
        await systemctl(lab, "stop", "again.service")
        await settled(lab, output)
    events = output.of("again.service")
    restarts = [event.get("n_restarts") for event in events if event.type == "service_restart"]
    assert len(restarts) == 10
    assert [number for number, _ in groupby(event.get("n_restarts") for event in events)] == list(range(11))
    expected = runs(lab, "again.service")
    found = {key: value for key, value in told_runs(events).items() if key in expected}
    assert set(found) == set(expected) and len(expected) == 11
    for key, became in expected.items():
        assert [*dict.fromkeys(found[key])][: len(became)] == became


def dedup() -> DedupProcessor:
    """Return a dedup by `unit_transition` of both sources."""
    config = DedupConfig.model_validate(
        {"hash_function": "unit_transition", "conditions": [{"source": "systemd"}, {"source": "journald"}]}
    )
    surroundings = component_context(Kind.PROCESSOR, "dedup", {"hash_functions": {"unit_transition": unit_transition}})
    return DedupProcessor(surroundings, config)


def passed(events: list[UnifiedEvent]) -> list[UnifiedEvent]:
    """Return the events that dedup lets pass, without its summaries."""
    return [event for event in dedup().process(events) if event.get("dedup_count") is None]


async def test_dedup_across_sources_drops_no_transition_of_one_source(lab: BootedSystemd) -> None:
    """Reloads, restarts, refused starts, kills and flaps, of which one invocation enters a state more than once."""
    async with watching(lab, initial_state="all") as output:
        for arguments in (
            ("start", "oncemore.service"),
            ("start", "reload.service"),
            ("reload", "reload.service"),
            ("reload", "reload.service"),
            ("stop", "reload.service"),
            ("start", "stubborn.service", "limit.service", "needy.service", "tick.timer"),
        ):
            await systemctl(lab, *arguments)
        await state(lab, "stubborn.service", "active")
        await systemctl(lab, "stop", "stubborn.service")
        await flap(lab, "flap.service", 40)
        for unit, restarts in (("oncemore.service", "4"), ("limit.service", "3")):
            await state(lab, unit, restarts, "NRestarts")
            await state(lab, unit, "failed", "SubState")
        await systemctl(lab, "start", "limit.service")
        await systemctl(lab, "reset-failed")
        await settled(lab, output)
    assert {"service_restart", "restart_limit_hit", "service_crashed"} <= {event.type for event in output.events}
    kept = {event.id for event in passed(output.events)}
    assert [told(event) for event in output.events if event.id not in kept] == []


async def test_a_start_and_a_stop_are_told_once_by_both_sources_together(lab: BootedSystemd) -> None:
    """Whichever tells first."""
    journal = CollectingOutput()
    options = JournaldConfig(directory=lab.journal, start_at="end", read_interval="1ms", isolation="none")  # at its end at once
    async with watching(lab) as output, running(JournaldReceiver(context("journald"), options), journal):
        await systemctl(lab, "start", "plain.service")
        await systemctl(lab, "stop", "plain.service")
        await settled(lab, output)
        await asyncio.to_thread(lab.run, "journalctl", "--sync")
        await journal.until(lambda: "Stopped plain.service." in set(journal.messages))
    journald.normalize(journal.events)
    written = [event for event in journal.events if event.entity.name == "plain.service" and event.get("JOB_TYPE")]
    assert len(written) == 3
    transitions = output.of("plain.service")
    for order in ([*transitions, *written], [*written, *transitions]):
        now = time.time_ns()
        together = [copied(event, now) for event in order]
        assert [unit_transition(event)[3] for event in passed(together)] == ["active", "deactivating", "inactive"]


def copied(event: UnifiedEvent, timestamp: int) -> UnifiedEvent:
    """Return a copy of an event at another time."""
    again = event.copy()
    again.timestamp = timestamp
    return again


def configuration(tmp_path: Path, lab: BootedSystemd, library: str) -> Path:
    """Write a configuration from the lab's systemd to a file of OTLP."""
    document: dict[str, Any] = {
        "receivers": {"systemd": {"bus": lab.address, "library": library}},
        "processors": {"normalize": {}},
        "exporters": {"file": {"path": str(tmp_path / "out.json")}},
        "service": {
            "state_dir": str(tmp_path / "state"),
            "pipelines": {"logs": {"receivers": ["systemd"], "processors": ["normalize"], "exporters": ["file"]}},
        },
    }
    path = tmp_path / "tapio.yaml"
    path.write_text(json.dumps(document))
    return path


def exported(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield every log record of whole lines in an OTLP-JSON file with its resource."""
    text = path.read_text() if path.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        for resource in json.loads(line)["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                assert scope["scope"]["name"] == "tapio_otel.receivers.systemd"
                for record in scope["logRecords"]:
                    yield resource["resource"], record


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_agent_exports_transitions_as_otlp(lab: BootedSystemd, library: str, tmp_path: Path) -> None:
    """`tapio run` makes named records of them, each under the resource of its unit, and drains at SIGTERM."""
    command = [*TAPIO, "run", "--config", str(configuration(tmp_path, lab, library))]
    lab.systemctl("start", "unsuccessful.service", check=False)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as agent:
        while agent.poll() is None and "mark@0.service" not in units_in(tmp_path / "out.json"):
            lab.systemctl("start", "mark@0.service")
        lab.systemctl("start", "plain.service", "exit.service")
        lab.systemctl("stop", "plain.service")
        while agent.poll() is None and "mark@1.service" not in units_in(tmp_path / "out.json"):
            lab.systemctl("start", "mark@1.service")
        agent.send_signal(signal.SIGTERM)
        _, log = agent.communicate(timeout=60)
    assert agent.returncode == 0, log
    names: dict[str, list[str]] = {}
    for resource, record in exported(tmp_path / "out.json"):
        unit = attribute(resource, "systemd.unit.name")
        assert attribute(resource, "host.name")
        assert record["body"]["stringValue"].startswith(f"Service {unit}: ")
        names.setdefault(unit, []).append(record["eventName"])
        if unit == "exit.service" and record["eventName"] == "tapio.service_crashed":
            crash = resource, record
    assert names["plain.service"] == ["tapio.service_state"] * 3
    assert names["exit.service"] == ["tapio.service_state", "tapio.service_crashed"]
    assert names["unsuccessful.service"] == ["tapio.service_crashed"], "initial_state: failed is the default"
    resource, record = crash
    assert attribute(resource, "service.name") == "exit"
    assert int(attribute(record, "process.exit.code")) == 7
    assert attribute(record, "tapio.result") == "exit-code"
    assert len(attribute(record, "tapio.invocation_id")) == 32
    assert record["severityText"] == "critical" and record["severityNumber"] == 18


def units_in(path: Path) -> set[str]:
    """Return the units of the records in an OTLP-JSON file."""
    return {attribute(resource, "systemd.unit.name") for resource, _ in exported(path)}
