"""The receiver over stand-ins for feeds: what it does when they fail, come back, or cannot be opened at all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tapio_otel.component import ComponentError, SourceUnavailable
from tapio_otel.receivers.ebpf import EbpfConfig, EbpfReceiver
from tapio_otel.receivers.ebpf import receiver as module
from tapio_otel.receivers.ebpf.fallback.kmsg import KmsgFeed
from tapio_otel.receivers.ebpf.feed import Feed, ObservedBy, ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.observations import Flow, Observation, OomKill, PacketDrop
from tapio_otel.receivers.ebpf.ways import OpenedProbes, Way
from tests.collect import CollectingOutput, context

OOM, DROP = ProbeName.OOM, ProbeName.NET_DROP
WAYS = {"libbpf": ObservedBy.LIBBPF, "kmsg": ObservedBy.KMSG, "proc/net": ObservedBy.PROC_NET}


class StandIn:
    """Be a feed that gives a kill a reading, or fails as its machine says."""

    interval = 0.0
    notes: Sequence[str] = ()

    def __init__(self, way: str, machine: Machine) -> None:
        self.observed_by = WAYS[way]
        self.skipped = machine.skipped if way == "libbpf" else []
        self._way, self._machine = way, machine

    def fileno(self) -> int | None:
        return None

    def read(self) -> list[Observation]:
        if self._way in self._machine.unreadable:
            raise OSError("the ring is gone")
        self._machine.readings += 1
        return [OomKill(self._machine.readings, 1, "a")]

    def lost(self) -> Mapping[str, int]:
        if self._way in self._machine.uncounted:
            raise OSError("the map is gone")
        return {}

    def close(self) -> None:
        self._machine.open -= 1


class Machine:
    """Say which ways can be opened and read, and count what is open."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.unreadable: set[str] = set()
        self.uncounted: set[str] = set()
        self.skipped: list[str] = []
        self.open = self.tries = self.readings = 0

    def way(self, name: str) -> Way:
        """Return a way of looking on this machine."""

        def open_one(probe: ProbeName) -> Feed:
            self.tries += 1
            cause = self.refused.get(name) or self.refused.get(f"{name} {probe}")
            if cause:
                raise ProbeUnavailable(cause, "Do this")
            self.open += 1
            return StandIn(name, self)

        return Way(name, open_one)


@pytest.fixture
def machine() -> Machine:
    """Give a test a machine on which everything works."""
    return Machine()


def receiver(machine: Machine, ways: Mapping[ProbeName, Sequence[str]], **options: object) -> EbpfReceiver:
    """Return a receiver whose probes have these ways, and which notes in `problems` what it reports."""
    surroundings = context("ebpf")
    made = EbpfReceiver(surroundings, EbpfConfig.model_validate({"poll_interval": "10ms", **options}))
    made.problems = []  # type: ignore[attr-defined]
    surroundings.report = made.problems.append  # type: ignore[attr-defined]
    made._probes = OpenedProbes({name: [machine.way(way) for way in found] for name, found in ways.items()})
    return made


@contextlib.asynccontextmanager
async def running(one: EbpfReceiver, output: CollectingOutput):
    """Run a started receiver meanwhile."""
    task = asyncio.create_task(one.run(output))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.shutdown()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [f"{one.levelname} {one.getMessage()}" for one in caplog.records]


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_start_in_which_all_is_well_has_one_line(machine, caplog):
    """It says what is watched, and health has nothing to say."""
    one, output = receiver(machine, {OOM: ["libbpf"], DROP: ["libbpf"]}), CollectingOutput()
    await one.start()
    async with running(one, output):
        await output.until(lambda: len(output.events) > 3)
    assert lines(caplog) == ["INFO watching oom and net_drop by ebpf/libbpf"]
    assert one.problems == [None]
    assert machine.open == 0


async def test_where_no_way_works_only_the_supervisor_tells(machine, caplog):
    """It writes the error's text; the same twice would be noise."""
    machine.refused = {"libbpf": "no rights", "kmsg": "no file"}
    one = receiver(machine, {OOM: ["libbpf", "kmsg"]})
    await one.start()
    tries = machine.tries
    with pytest.raises(SourceUnavailable, match=r"oom: no rights\. Do this; kmsg cannot look for oom: no file") as first:
        await one.run(CollectingOutput())
    assert machine.tries == tries  # the start has just tried
    with pytest.raises(SourceUnavailable) as second:
        await one.run(CollectingOutput())
    assert (machine.tries, str(second.value), lines(caplog)) == (2 * tries, str(first.value), [])


async def test_the_supervisor_gets_the_same_text_for_many_probes(machine):
    """However they are tried again, so that it writes it once."""
    machine.refused = {"libbpf": "no rights", "kmsg": "no file", "proc/net": "no counters"}
    one = receiver(machine, {OOM: ["libbpf", "kmsg"], DROP: ["libbpf", "proc/net"]})
    await one.start()
    said = set()
    for _ in range(4):
        with pytest.raises(SourceUnavailable) as error:
            await one.run(CollectingOutput())
        said.add(str(error.value))
    assert len(said) == 1


async def test_when_every_feed_fails_the_run_ends_and_the_next_opens_them_again(machine, caplog):
    """That is how the supervisor brings it back."""
    one, output = receiver(machine, {OOM: ["libbpf"], DROP: ["libbpf"]}), CollectingOutput()
    await one.start()
    async with running(one, output) as task:
        await output.until(lambda: bool(output.events))
        machine.unreadable = {"libbpf"}
        with pytest.raises(SourceUnavailable, match="oom, net_drop: OSError: the ring is gone"):
            await task
        assert machine.open == 0
        with pytest.raises(SourceUnavailable, match="the ring is gone"):
            await one.run(output)
        machine.unreadable, seen = set(), len(output.events)
        async with running(one, output):
            await output.until(lambda: len(output.events) > seen)
    assert lines(caplog) == ["INFO watching oom and net_drop by ebpf/libbpf"] * 2
    assert one.problems[-1] is None
    assert machine.open == 0


async def test_a_blind_probe_is_tried_again_and_told_only_when_it_sees(machine, caplog, monkeypatch):
    """Its lines do not grow, and come once."""
    monkeypatch.setattr(module, "REFRESH_INTERVAL", 0.0)
    machine.refused = {"libbpf net_drop": "no memory"}
    one, output = receiver(machine, {OOM: ["libbpf"], DROP: ["libbpf"]}), CollectingOutput()
    await one.start()
    blind = ["WARNING libbpf cannot look for net_drop: no memory. Do this", "WARNING not watched: net_drop"]
    async with running(one, output):
        await output.until(lambda: machine.tries > 6)
        assert lines(caplog) == blind
        machine.refused = {}
        await output.until(lambda: machine.open == 2 and one.problems[-1] is None)
    assert lines(caplog) == [*blind, "INFO watching oom and net_drop by ebpf/libbpf"]


async def test_a_probe_that_opens_but_cannot_be_read_is_not_told_again_and_again(machine, caplog, monkeypatch):
    """It is read at once after it was opened, and so are the lesser ways."""
    monkeypatch.setattr(module, "REFRESH_INTERVAL", 0.0)
    machine.unreadable = {"libbpf", "proc/net"}
    one, output = receiver(machine, {OOM: ["kmsg"], DROP: ["libbpf", "proc/net"]}), CollectingOutput()
    await one.start()
    async with running(one, output):
        await output.until(lambda: machine.tries > 8)
    assert lines(caplog) == [
        "WARNING libbpf cannot look for net_drop: OSError: the ring is gone",
        "WARNING proc/net cannot look for net_drop: OSError: the ring is gone",
        "WARNING not watched: net_drop",
    ]


async def test_a_feed_that_fails_is_replaced_in_the_same_reading(machine, caplog):
    """Also where only its counts of losses cannot be read any more."""
    one, output = receiver(machine, {OOM: ["libbpf", "kmsg"]}), CollectingOutput()
    await one.start()
    async with running(one, output):
        await output.until(lambda: bool(output.events))
        machine.uncounted = {"libbpf"}
        await output.until(lambda: output.events[-1].attributes["observed_by"] == "kmsg")
    assert lines(caplog)[1:] == [
        "WARNING libbpf cannot look for oom: OSError: the map is gone",
        "WARNING watched in a lesser way: oom by kmsg",
    ]
    assert one.problems == [None, "watched in a lesser way: oom by kmsg"]
    assert machine.open == 0


async def test_a_skipped_program_shows_in_health(machine, caplog):
    """The probe goes on with the others."""
    machine.skipped = ["'tcp_receive_reset' is refused. Do this"]
    one, output = receiver(machine, {OOM: ["libbpf"]}), CollectingOutput()
    await one.start()
    async with running(one, output):
        await output.until(lambda: bool(output.events))
    assert lines(caplog) == [
        "WARNING libbpf looks for oom without one of its programs: 'tcp_receive_reset' is refused. Do this",
        "WARNING watched in part: oom by ebpf/libbpf",
    ]
    assert one.problems == ["watched in part: oom by ebpf/libbpf"]


@pytest.mark.parametrize("skipped", [True, False])
async def test_required_programs_are_all_or_nothing(machine, skipped):
    """One program of two that is refused is one too many; nothing stays open."""
    if skipped:
        machine.skipped = ["'tcp_receive_reset' is refused. Do this"]
    else:
        machine.refused = {"libbpf": "no rights"}
    one = receiver(machine, {OOM: ["libbpf", "kmsg"]}, required=True)
    with pytest.raises(ComponentError, match="is refused" if skipped else "no rights") as error:
        await one.start()
    assert "kmsg" not in str(error.value)
    assert machine.open == 0


async def test_many_restarts_in_any_order_leave_nothing_open(machine):
    """Whatever fails meanwhile."""
    chance = random.Random(7)
    one = receiver(machine, {OOM: ["libbpf", "kmsg"], DROP: ["libbpf", "proc/net"]})
    await one.start()
    for _ in range(30):
        machine.unreadable = {way for way in WAYS if chance.random() < 0.5}
        machine.refused = {way: "no rights" for way in WAYS if chance.random() < 0.3}
        task = asyncio.create_task(one.run(CollectingOutput()))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert machine.open == len(one._probes.feeds)
    await one.shutdown()
    assert machine.open == 0


class Dropping(StandIn):
    """Be a feed that sees the same flow dropped at every reading, and keeps a kill for its last one."""

    def read(self) -> list[Observation]:
        self._machine.readings += 1
        return [PacketDrop(self._machine.readings, Flow("udp", "10.0.0.1", 1, "10.0.0.2", 2), reason_name="NO_SOCKET")]

    def finish(self) -> list[Observation]:
        return [*self.read(), OomKill(self._machine.readings, 7, "kept")]


class Deaf(CollectingOutput):
    """Be a pipeline that takes the first batch only."""

    async def emit(self, events, checkpoint=None):
        await super().emit(events, checkpoint)
        if len(self.batches) > 1:
            await asyncio.Event().wait()


async def stopped(machine: Machine, output: CollectingOutput) -> None:
    """Run a receiver over `Dropping` for some readings and cancel it."""
    receiver = EbpfReceiver(context("ebpf"), EbpfConfig.model_validate({"poll_interval": 0.01}))
    receiver._probes = OpenedProbes({DROP: [Way("libbpf", lambda _: Dropping("libbpf", machine))]})
    await receiver.start()
    task = asyncio.create_task(receiver.run(output))
    await output.until(lambda: machine.readings >= 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    await receiver.shutdown()


async def test_what_windows_hold_is_told_when_the_receiver_is_stopped(machine):
    """The counts of all events are what was seen, also of a window that was still open, and the last reading is taken."""
    output = CollectingOutput()
    await stopped(machine, output)
    assert sum(event.get("count", 0) for event in output.events if event.type == "network_drop") == machine.readings
    assert [event.get("comm") for event in output.events if event.type == "oom_kill"] == ["kept"]


async def test_a_pipeline_that_takes_nothing_does_not_keep_the_receiver_from_stopping(machine, monkeypatch):
    """The last events are offered for a short time only."""
    monkeypatch.setattr(module, "FINISH_TIMEOUT", 0.05)
    await stopped(machine, Deaf())


async def test_an_error_at_the_end_does_not_keep_the_receiver_from_stopping(machine, caplog):
    """It is told, and the cancellation goes on."""

    class Broken(Dropping):
        def finish(self) -> list[Observation]:
            raise OSError("the ring is gone")

    receiver = EbpfReceiver(context("ebpf"), EbpfConfig.model_validate({"poll_interval": "10ms"}))
    receiver._probes = OpenedProbes({DROP: [Way("libbpf", lambda _: Broken("libbpf", machine))]})
    receiver._flows[DROP].close = lambda: 1 / 0  # type: ignore[method-assign]
    await receiver.start()
    output = CollectingOutput()
    async with running(receiver, output) as task:
        await output.until(lambda: machine.readings >= 2)
    assert task.cancelled()
    assert any("cannot be told" in line for line in lines(caplog))


def of_log(machine: Machine, root: Path) -> EbpfReceiver:
    """Return a receiver whose kills are read from a stand-in for the kernel's log below `root`."""
    one = receiver(machine, {})
    one._probes = OpenedProbes({OOM: [Way("kmsg", lambda _name: KmsgFeed(root))]})
    return one


def killed(path: Path, *numbers: int) -> None:
    """Write a kill for each of these numbers of records."""
    with path.open("ab") as file:
        for number in numbers:
            file.write(b"3,%d,%d,-;Out of memory: Killed process %d (x) total-vm:1kB\n" % (number, 1000 * number, number))


@pytest.fixture
def kernel_log(tmp_path: Path) -> Path:
    """Make a stand-in for the kernel's log, and a boot."""
    for path in (tmp_path / "proc/sys/kernel/random/boot_id", tmp_path / "dev/kmsg"):
        path.parent.mkdir(parents=True)
        path.write_text("b1\n" if path.name == "boot_id" else "")
    return tmp_path / "dev/kmsg"


async def test_kills_of_the_log_are_told_that_happened_while_nobody_looked(machine, kernel_log, tmp_path):
    """A run goes on from the checkpoint of the one before, and what is told twice has one id."""
    first = CollectingOutput()
    one = of_log(machine, tmp_path)
    await one.start()
    async with running(one, first):
        killed(kernel_log, 1, 2)
        await first.until(lambda: len(first.events) == 2)
        before = first.checkpoint
        killed(kernel_log, 3)
        await first.until(lambda: len(first.events) == 3)
    killed(kernel_log, 4)
    second = CollectingOutput(before)  # the last batch was not delivered
    one = of_log(machine, tmp_path)
    await one.start()
    async with running(one, second):
        await second.until(lambda: len(second.events) == 2)
    assert [event.get("pid") for event in (*first.events, *second.events)] == [1, 2, 3, 3, 4]
    assert first.events[2].id == second.events[0].id and len({event.id for event in (*first.events, *second.events)}) == 4
    assert second.checkpoint == {"oom": {"boot": "b1", "sequence": 4}}


async def test_a_better_way_takes_the_logs_position_out_of_the_checkpoint(machine):
    """What it tells is not told again when the log is read once more."""
    output = CollectingOutput({"oom": {"boot": "b1", "sequence": 4}})
    one = receiver(machine, {OOM: ["libbpf"]})
    await one.start()
    async with running(one, output):
        await output.until(lambda: bool(output.events))
    assert output.checkpoint == {}


async def test_without_a_log_there_is_no_checkpoint(machine):
    """Nothing is written where nothing can be gone on from."""
    output = CollectingOutput()
    one = receiver(machine, {OOM: ["libbpf"]})
    await one.start()
    async with running(one, output):
        await output.until(lambda: bool(output.events))
    assert output.checkpoint is None
