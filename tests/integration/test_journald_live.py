"""The journald receiver on a live journald, in a systemd of the test's own: rotation, vacuum, its own entries."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import SourceUnavailable
from tapio_otel.event import UnifiedEvent
from tapio_otel.normalizers.journald import normalize
from tapio_otel.receivers.journald import JournaldConfig, JournaldReceiver
from tests.collect import CollectingOutput, context, running
from tests.integration.journal_load import send
from tests.lab import BootedSystemd, booted_systemd, require_lab
from tests.receivers.isolation import isolation
from tests.requirements import require

__all__ = ["booted_systemd", "isolation"]

ROOT = Path(__file__).parents[2]

AGENT = r"""
import asyncio, json, sys
from pathlib import Path
from tapio_otel.normalizers.journald import normalize
from tapio_otel.receivers.journald import JournaldConfig, JournaldReceiver
from tests.collect import CollectingOutput, context, running

async def main():
    output = CollectingOutput()
    receiver = JournaldReceiver(context("journald"), JournaldConfig(start_at="beginning", read_interval="1ms"))
    async with running(receiver, output):
        print("the agent says hello", flush=True)
        await output.until(lambda: any(m.startswith("stop") for m in output.messages))
    normalize(output.events)
    found = [[e.description, e.entity.type, e.entity.name, dict(e.entity.attributes)] for e in output.events]
    Path("/run/lab/found.json").write_text(json.dumps(found))

asyncio.run(main())
"""


def sent(events: list[UnifiedEvent]) -> list[int]:
    """Return the numbers of the test's own entries among the events."""
    return [int(event.get("NUMBER")) for event in events if event.get("NUMBER") is not None]


def receiver(lab: BootedSystemd, **options: Any) -> JournaldReceiver:
    """Return a receiver of the lab's journal."""
    return JournaldReceiver(context("journald"), JournaldConfig(directory=lab.journal, read_interval="1ms", **options))


class GatedOutput(CollectingOutput):
    """Take nothing while the gate is closed, as a full queue does."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Wait for the gate, then keep the events."""
        await self.gate.wait()
        await super().emit(events, checkpoint)


async def test_tailing_through_rotations_loses_and_repeats_nothing(booted_systemd: BootedSystemd) -> None:
    """Ten rotations while 20,000 entries are written: each comes once and in order."""
    output = CollectingOutput()
    async with running(receiver(booted_systemd), output):
        await output.until(lambda: output.checkpoint is not None)
        for round_number in range(10):
            writing = asyncio.to_thread(send, booted_systemd, round_number * 2000, 2000)
            rotating = asyncio.to_thread(booted_systemd.run, "journalctl", "--rotate")
            await asyncio.gather(writing, rotating)
        await output.until(lambda: len(sent(output.events)) >= 20_000)
    assert sent(output.events) == list(range(20_000))
    assert {event.type for event in output.events} == {"log"}


async def test_vacuum_under_a_waiting_reader_is_reported_with_its_exact_size(booted_systemd: BootedSystemd) -> None:
    """What the vacuum took from a reader that could not go on is counted; what was left comes in order."""
    output = GatedOutput()
    output.gate.set()
    async with running(receiver(booted_systemd, batch_size=500), output):
        await output.until(lambda: output.checkpoint is not None)
        send(booted_systemd, 0, 1000)
        await output.until(lambda: len(sent(output.events)) >= 1000)
        output.gate.clear()
        for round_number in range(1, 9):
            await asyncio.to_thread(send, booted_systemd, round_number * 1000, 1000, 800)
            booted_systemd.run("journalctl", "--rotate")
        booted_systemd.run("journalctl", "--vacuum-files=2")
        output.gate.set()
        await asyncio.to_thread(send, booted_systemd, 9000, 1000)
        await output.until(lambda: 9999 in sent(output.events)[-1:])
    numbers = sent(output.events)
    gaps = [event for event in output.events if event.type == "journal_gap"]
    ids = [int(event.id.replace("-", "")[-15:], 16) for event in output.events if event.type == "log"]
    assert numbers == sorted(set(numbers)) and numbers[:1000] == list(range(1000)) and numbers[-1] == 9999
    assert len(gaps) == 1
    assert gaps[0].get("missing") > 3000
    assert ids[-1] - ids[0] + 1 == len(ids) + gaps[0].get("missing")


async def test_start_at_end_gives_the_next_entry_of_a_live_journal_first(booted_systemd: BootedSystemd) -> None:
    """Nothing that was there is replayed, nothing that comes is missed."""
    send(booted_systemd, 0, 500)
    booted_systemd.run("journalctl", "--sync")
    output = CollectingOutput()
    async with running(receiver(booted_systemd, matches=[{"PRIORITY": 5}]), output):
        await output.until(lambda: output.checkpoint is not None)
        send(booted_systemd, 500, 5)
        await output.until(lambda: len(sent(output.events)) >= 5)
    assert sent(output.events) == list(range(500, 505))


async def test_files_that_journald_adds_later_are_followed(booted_systemd: BootedSystemd) -> None:
    """Entries of a user go to a file of its own, which appears while the receiver runs."""
    output = CollectingOutput()
    async with running(receiver(booted_systemd, poll_interval="60s"), output):
        await output.until(lambda: output.checkpoint is not None)
        for user in (4001, 4002):
            booted_systemd.run("setpriv", f"--reuid={user}", "--clear-groups", "systemd-cat", "echo", f"from {user}")
        await output.until(lambda: "from 4002" in output.messages)
    assert [m for m in output.messages if m.startswith("from")] == ["from 4001", "from 4002"]
    assert len(list(booted_systemd.journal.rglob("user-400?.journal"))) == 2
    assert "journal_gap" not in {event.type for event in output.events}


def say(lab: BootedSystemd, user: int, text: str) -> None:
    """Write an entry as a user, whose journal is a file of its own."""
    lab.run("setpriv", f"--reuid={user}", "--clear-groups", "systemd-cat", "echo", text)


def gaps(output: CollectingOutput) -> list[UnifiedEvent]:
    """Return the events that tell of lost entries."""
    return [event for event in output.events if event.type == "journal_gap"]


async def test_entries_of_system_and_users_in_turns_are_no_gaps(booted_systemd: BootedSystemd) -> None:
    """journald numbers the entries of all files together; neither while tailing nor over restarts is anything missing."""
    lab = booted_systemd
    for user in (4001, 4002):
        say(lab, user, "earlier")
    lab.run("journalctl", "--sync")
    output = CollectingOutput()
    expected = []
    for round_number in range(3):
        async with running(receiver(lab), output):
            await output.until(lambda: output.checkpoint is not None)
            for turn in range(4):
                text = f"turn {round_number} {turn}"
                say(lab, 4001 + turn % 3, text)
                send(lab, round_number * 100 + turn, 1)
                expected.append(text)
            await output.until(lambda last=round_number * 100 + 3: last in sent(output.events))  # type: ignore[misc]
        expected.append(f"stopped {round_number}")
        say(lab, 4002, expected[-1])
        send(lab, round_number * 100 + 50, 2)
        lab.run("journalctl", "--sync")
    async with running(receiver(lab), output):
        await output.until(lambda: 251 in sent(output.events))
    assert gaps(output) == []
    assert [m for m in output.messages if m.startswith(("turn", "stopped"))] == expected
    assert len({event.id for event in output.events}) == len(output.events)


async def test_a_vacuum_while_stopped_is_counted_exactly_beside_the_journals_of_users(booted_systemd: BootedSystemd) -> None:
    """What is missing is what no file has, whoever wrote it."""
    lab = booted_systemd
    output = CollectingOutput()
    say(lab, 4001, "earlier")
    async with running(receiver(lab), output):
        await output.until(lambda: output.checkpoint is not None)
        send(lab, 0, 5)
        await output.until(lambda: 4 in sent(output.events))
    for begin in (1000, 2000):
        send(lab, begin, 700, 100)
        say(lab, 4001, "to be lost")
        lab.run("journalctl", "--rotate")
    send(lab, 3000, 5)
    say(lab, 4001, "kept")
    lab.run("journalctl", "--vacuum-files=1")
    lab.run("journalctl", "--sync")
    async with running(receiver(lab), output):
        await output.until(lambda: 3004 in sent(output.events) and "kept" in output.messages)
    ids = [int(event.id.replace("-", "")[-15:], 16) for event in output.events if event.type == "log"]
    assert ids == sorted(set(ids))
    assert len(gaps(output)) == 1
    assert ids[-1] - ids[0] + 1 == len(ids) + gaps(output)[0].get("missing")


@pytest.mark.parametrize("name", ["system.journal", "*.journal"])
async def test_named_files_are_followed_through_a_rotation(booted_systemd: BootedSystemd, name: str) -> None:
    """A file put in the place of a named one is read on, and what was last written to the old one as well."""
    lab = booted_systemd
    send(lab, 0, 1)
    lab.run("journalctl", "--sync")
    (file,) = lab.journal.glob("*/system.journal")
    output = CollectingOutput()
    config = JournaldConfig(files=[file.with_name(name)], read_interval="1ms", poll_interval="100ms")
    async with running(JournaldReceiver(context("journald"), config), output):
        await output.until(lambda: output.checkpoint is not None)
        for begin in (0, 10, 20):
            send(lab, begin, 5)
            lab.run("journalctl", "--rotate")
            send(lab, begin + 5, 5)
            lab.run("journalctl", "--sync")
            await output.until(lambda last=begin + 9: last in sent(output.events))  # type: ignore[misc]
    assert sent(output.events) == list(range(30))


async def test_a_vacuum_of_what_a_filter_left_out_is_no_gap(booted_systemd: BootedSystemd) -> None:
    """Long after the last entry that matched, the files with it may go: everything up to there was read."""
    lab = booted_systemd
    output = CollectingOutput()
    lab.run("systemd-cat", "--identifier=rare", "echo", "rare")
    lab.run("journalctl", "--sync")
    options: dict[str, Any] = {"identifiers": ["rare"], "start_at": "beginning"}
    async with running(receiver(lab, **options), output):
        await output.until(lambda: "rare" in output.messages)
        send(lab, 0, 2000, 200)
        lab.run("journalctl", "--rotate")
        send(lab, 2000, 10)
        lab.run("journalctl", "--sync")
        (tail,) = (json.loads(lab.run("journalctl", "--output=json", "--lines=1").stdout)["__CURSOR"],)
        await output.until(lambda: output.checkpoint is not None and output.checkpoint["cursor"] == tail)
    lab.run("journalctl", "--vacuum-files=1")
    async with running(receiver(lab, **options), output):
        lab.run("systemd-cat", "--identifier=rare", "echo", "again")
        await output.until(lambda: "again" in output.messages)
    assert [m for m in output.messages if m in {"rare", "again"}] == ["rare", "again"]
    assert gaps(output) == []


def test_an_agent_that_is_a_service_leaves_out_what_it_writes_itself() -> None:
    """Run as a unit on this machine's own journal, it reads everything but its own output, and knows the units."""
    require_lab()
    agent = (
        f"[Service]\nEnvironment=PYTHONPATH={ROOT} PYTHONDONTWRITEBYTECODE=1\nWorkingDirectory={ROOT}\n"
        f"ExecStart={sys.executable} /run/lab/agent.py\nType=exec\n"
    )
    other = "[Service]\nType=oneshot\nExecStart=sh -c 'echo hello from a unit; sleep 0.5'\n"
    with BootedSystemd({"agent.service": agent, "other.service": other}) as lab:
        (lab.share / "agent.py").write_text(AGENT)
        lab.systemctl("start", "agent.service", "other.service")
        while "the agent says hello" not in lab.run("journalctl", "--output=cat").stdout:
            lab.run("journalctl", "--sync")
        lab.run("systemd-cat", "--priority=info", "echo", "stop")
        lab.systemctl("stop", "other.service")
        found_file = lab.share / "found.json"
        for _ in range(200):
            if found_file.exists() and found_file.stat().st_size:
                break
            lab.run("sleep", "0.05")
        found = json.loads(found_file.read_text())
    messages = [message for message, *_ in found]
    assert "the agent says hello" not in messages
    (hello,) = [one for one in found if one[0] == "hello from a unit"]
    assert hello[1:3] == ["systemd_unit", "other.service"]
    assert len(hello[3]["invocation_id"]) == 32 and hello[3]["slice"] == "system.slice"
    about = [one for one in found if one[2] == "other.service" and one[0] != "hello from a unit"]
    assert about, "what PID 1 says about a unit is about that unit"


async def test_a_namespace_is_read_by_its_name() -> None:
    """What a unit with LogNamespace= writes is found under that namespace, and only there."""
    require_lab()
    unit = Path("/lib/systemd/system")
    names = ("systemd-journald@.service", "systemd-journald@.socket", "systemd-journald-varlink@.socket")
    units = {name: (unit / name).read_text() for name in names if (unit / name).exists()}
    require("systemd", "systemd-journald@.service" in units, "this systemd has no journal namespaces: 246 or later is needed")
    # It stays active: once no unit needs the namespace, its journald and sockets go, and nobody answers --sync.
    units["apart.service"] = "[Service]\nType=oneshot\nRemainAfterExit=yes\nLogNamespace=apart\nExecStart=echo said apart\n"
    with BootedSystemd(units) as lab:
        lab.systemctl("start", "apart.service")
        lab.run("journalctl", "--namespace=apart", "--sync")
        (directory,) = lab.journal.glob("*.apart")
        output = CollectingOutput()
        options = JournaldConfig(directory=directory, start_at="beginning", follow=False)
        await JournaldReceiver(context("journald"), options).run(output)
        normalize(output.events)
        script = (
            "from tapio_otel.receivers.journald import JournaldConfig as C, missing\n"
            "from tapio_otel.receivers.journald.reader import JournalReader\n"
            "c = C(namespace='apart', start_at='beginning', follow=False); assert missing(c) is None\n"
            "r = JournalReader(c.reader_options()); r.open()\n"
            "print([f['MESSAGE'] for f, _ in r.read(100).entries]); r.close()\n"
        )
        inside = lab.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", script).stdout
    assert "said apart" in output.messages
    assert "b'said apart'" in inside


async def test_where_no_journal_is_the_receiver_says_so(tmp_path: Path) -> None:
    """On a machine without a journal the error names what to do."""
    with pytest.raises(SourceUnavailable) as raised:
        await JournaldReceiver(context("journald"), JournaldConfig(directory=tmp_path)).run(CollectingOutput())
    assert raised.value.remedy
