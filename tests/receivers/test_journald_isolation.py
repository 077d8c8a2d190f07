"""The journal read in a process of its own: whatever ends that process, the agent goes on, and no entry is lost or repeated."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.component import ComponentError
from tapio_otel.receivers.journald import JournaldConfig, JournaldReceiver, child_feed, options, reading_process
from tapio_otel.receivers.journald.child_feed import ChildFeed, Crashes
from tapio_otel.receivers.journald.feed import DirectFeed
from tests.collect import CollectingOutput, context, running
from tests.journal import entries, write_journal
from tests.receivers import dying_reader
from tests.receivers.conftest import LARGE, SMALL

SIGNALS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP)


def receiver(directory: Path, **chosen: Any) -> JournaldReceiver:
    """Return a receiver that reads a directory in a process of its own."""
    chosen = {"start_at": "beginning", "follow": False, "read_interval": "1ms", **chosen}
    return JournaldReceiver(context("journald"), JournaldConfig(directory=directory, **chosen))


ELSEWHERE: set[int] = set()
"""Children of this process that were there before the test."""


@pytest.fixture(autouse=True)
def elsewhere() -> None:
    """Take note of the children that are there already: some tests may leave one behind for a while."""
    ELSEWHERE.clear()
    ELSEWHERE.update(children())


def children() -> list[int]:
    """Return the ids of the children this process got since the test began."""
    found = (int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
    return [pid for pid in found if pid not in ELSEWHERE]


async def kill(number: signal.Signals, task: asyncio.Task[None]) -> None:
    """End the reading process by a signal, once there is one; a stopped one is killed a little later."""
    while not children() and not task.done():
        await asyncio.sleep(0.005)
    await asyncio.sleep(random.uniform(0, 0.1))
    for pid in children():
        with contextlib.suppress(ProcessLookupError):  # it came to its end
            os.kill(pid, number)
            if number is signal.SIGSTOP:
                await asyncio.sleep(0.02)
                os.kill(pid, signal.SIGKILL)
        while pid in children():  # until the agent has noticed
            await asyncio.sleep(0.005)


def counted(receiver: JournaldReceiver) -> dict[str, int]:
    """Return what a receiver has counted."""
    return receiver.context.counters.values  # type: ignore[attr-defined, no-any-return]


def restarts(receiver: JournaldReceiver) -> dict[str, int]:
    """Return how many reading processes ended, by reason."""
    return {name.partition("/")[2]: count for name, count in counted(receiver).items() if name.startswith("restarts/")}


def sequence(output: CollectingOutput) -> list[int]:
    """Return the sequence numbers the ids were made from: their last 15 digits."""
    return [int(event.id.replace("-", "")[-15:], 16) for event in output.events]


class SlowOutput(CollectingOutput):
    """Take a while for each batch, so that there is time to die in."""

    async def emit(self, events: list[Any], checkpoint: Any | None = None) -> None:
        """Wait, then keep the events."""
        await asyncio.sleep(0.005)
        await super().emit(events, checkpoint)


async def test_killed_while_reading_a_large_journal_every_entry_comes_once(large_journal: Path) -> None:
    """Forty deaths by four signals, at random moments: all entries, in order, and each death is counted."""
    output, reading = SlowOutput(), receiver(large_journal)
    task = asyncio.create_task(reading.run(output))
    for turn, number in enumerate(SIGNALS * 10):
        if turn % 2:  # every other one has read something, else the receiver would fail on a slow machine
            seen = len(output.events)
            await output.until(lambda seen=seen: len(output.events) > seen or task.done())
        await kill(number, task)
    await task
    assert sequence(output) == list(range(1, LARGE + 1))
    assert set(restarts(reading)) <= {"SIGABRT", "SIGSEGV", "SIGKILL"} and sum(restarts(reading).values()) > 10
    assert set(counted(reading)) == {f"restarts/{name}" for name in restarts(reading)}


async def test_killed_while_entries_are_written_every_entry_comes_once(tmp_path: Path) -> None:
    """Following a journal that grows, the reading process dies again and again."""
    directory = write_journal(tmp_path / "j", entries(10))
    output, reading = CollectingOutput(), receiver(directory, follow=True, poll_interval="50ms")
    async with running(reading, output) as task:
        for turn in range(30):
            writing = asyncio.to_thread(write_journal, directory, list(entries(20, 10 + turn * 20)))
            await asyncio.gather(writing, kill(SIGNALS[turn % 4], task))
            if turn % 5 == 4:  # so that not all die before they have read anything, on a slow machine
                await output.until(lambda turn=turn: len(output.events) >= 30 + turn * 20)
        await output.until(lambda: len(output.events) >= 610)
    assert output.messages == [f"message {n}" for n in range(610)]
    assert sum(restarts(reading).values()) == 30


async def test_a_waiting_process_that_is_killed_costs_no_entry(tmp_path: Path) -> None:
    """It was not reading when it died, however often that happens: the next entry is not to blame."""
    directory = write_journal(tmp_path / "j", entries(5))
    output, reading = CollectingOutput(), receiver(directory, follow=True, poll_interval="50ms")
    async with running(reading, output) as task:
        await output.until(lambda: len(output.events) == 5)
        for count in range(1, 6):
            await kill(signal.SIGKILL, task)
            while sum(restarts(reading).values()) < count or not children():
                await asyncio.sleep(0.01)
        write_journal(directory, entries(5, 5))
        await output.until(lambda: len(output.events) >= 10)
    assert output.messages == [f"message {n}" for n in range(10)]
    assert counted(reading) == {"restarts/SIGKILL": 5}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a reading process that does nothing ended after a second and a half."""
    monkeypatch.setattr(options, "SIGN_OF_LIFE", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_a_process_that_hangs_while_reading_is_replaced(large_journal: Path) -> None:
    """Stopped in the middle, for ever: another one reads on, and every entry comes once."""
    output, reading = SlowOutput(), receiver(large_journal, poll_interval="50ms")
    task = asyncio.create_task(reading.run(output))
    for count in (1000, 30_000):
        await output.until(lambda count=count: len(output.events) >= count)
        os.kill(children()[0], signal.SIGSTOP)
    await task
    assert sequence(output) == list(range(1, LARGE + 1))
    assert restarts(reading)["stuck"] >= 2 and children() == []


@pytest.mark.usefixtures("impatient")
async def test_a_process_that_hangs_while_waiting_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is written while it hangs comes with the next one, and the log says what happened."""
    directory = write_journal(tmp_path / "j", entries(5))
    output, reading = CollectingOutput(), receiver(directory, follow=True, poll_interval="50ms")
    async with running(reading, output):
        await output.until(lambda: len(output.events) == 5)
        os.kill(children()[0], signal.SIGSTOP)
        write_journal(directory, entries(5, 5))
        await output.until(lambda: len(output.events) >= 10)
    assert output.messages == [f"message {n}" for n in range(10)]
    assert counted(reading) == {"restarts/stuck": 1}
    assert "the journal reader did nothing any more and was ended; reading goes on" in caplog.text


async def test_killed_before_the_first_entry_of_an_empty_journal_nothing_is_missed(tmp_path: Path) -> None:
    """`start_at: end` of a journal without entries begins with whatever comes, also when it comes while nobody reads."""
    directory = write_journal(tmp_path / "j", entries(5))
    output, reading = CollectingOutput(), receiver(directory, follow=True, start_at="end", poll_interval="50ms")
    async with running(reading, output):
        await output.until(lambda: output.checkpoint is not None)
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        write_journal(directory, entries(5, 5))
        os.kill(pid, signal.SIGKILL)
        await output.until(lambda: len(output.events) >= 5)
    assert output.messages == [f"message {n}" for n in range(5, 10)]


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give what makes the reading process die at certain messages."""
    monkeypatch.setattr(reading_process, "COMMAND", dying_reader.COMMAND)
    monkeypatch.setattr(child_feed, "FIRST_PAUSE", 0.001)
    return lambda method, text: monkeypatch.setenv(dying_reader.DEATHS, f"{method} {text}")


@pytest.mark.parametrize("chosen", [{}, {"priority": "info"}], ids=["all", "filtered"])
async def test_what_is_whole_of_a_fatal_entry_is_delivered(small_journal: Path, deaths: Any, chosen: dict[str, Any]) -> None:
    """An entry that cannot be read as a whole is read by the names of its fields."""
    deaths("_get_all", "message 77")
    output, reading = CollectingOutput(), receiver(small_journal, **chosen)
    await reading.run(output)
    assert output.messages == [f"message {n}" for n in range(SMALL)]
    assert [event.description for event in output.events if event.get("TAPIO_DAMAGED")] == ["message 77"]
    assert counted(reading) == {"restarts/SIGABRT": 1 + child_feed.STRIKES}


@pytest.mark.parametrize("chosen", [{}, {"priority": "info"}], ids=["all", "filtered"])
async def test_a_fatal_entry_is_passed_over_and_counted(
    small_journal: Path, deaths: Any, chosen: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Two entries kill whoever reads any field of them: they are counted as damaged, and all others come."""
    deaths("_get", "message 55")
    output, reading = CollectingOutput(), receiver(small_journal, **chosen)
    await reading.run(output)
    lost = [n for n in range(SMALL) if f"message {n}".startswith("message 55")]
    assert output.messages == [f"message {n}" for n in range(SMALL) if n not in lost]
    assert counted(reading)["refused/damaged"] == len(lost)
    said = [record.getMessage() for record in caplog.records]
    assert any("ended by SIGABRT; reading goes on after the last entry handed over" in line for line in said)
    assert "the journal reader says: Assertion 'o' failed. Aborting." in said


async def test_what_cannot_even_be_stepped_over_is_jumped_over(small_journal: Path, deaths: Any) -> None:
    """Where moving to an entry is fatal, reading goes on farther behind; what lies between is counted."""
    deaths("_next", "message 300")
    output, reading = CollectingOutput(), receiver(small_journal)
    await reading.run(output)
    missing = sorted(set(range(1, SMALL + 1)) - set(sequence(output)))
    assert 301 in missing and len(missing) <= 8
    assert sequence(output) == sorted(set(sequence(output)))
    assert counted(reading)["refused/damaged"] == len(missing)


async def test_a_process_that_always_dies_makes_the_receiver_fail(
    small_journal: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After some tries with ever longer pauses it is the supervisor's turn; of what is printed a part is logged."""
    monkeypatch.setattr(child_feed, "FIRST_PAUSE", 0.0001)
    noise = "import sys; [print('line', n) for n in range(100)]; print('x' * 10000, end=''); sys.exit(3)"
    monkeypatch.setattr(reading_process, "COMMAND", (sys.executable, "-S", "-c", noise))
    reading = receiver(small_journal)
    with pytest.raises(ComponentError, match=f"ended by exit 3, {child_feed.GIVE_UP + 1} times"):
        await reading.run(CollectingOutput())
    said = [record.getMessage() for record in caplog.records if "says" in record.getMessage()]
    assert len(said) == (reading_process.SAID_LINES + 1) * (child_feed.GIVE_UP + 1)
    assert said[-1] == "the journal reader says: (71 more lines)"
    assert children() == []


async def test_without_its_program_the_error_names_the_way_out(small_journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that cannot be executed is a problem of the receiver, and says what to set."""
    monkeypatch.setattr(reading_process, "COMMAND", ("/nonexistent/python",))
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(ComponentError, match=r"cannot be started: No such file or directory\. isolation: none does without"):
        await receiver(small_journal).run(CollectingOutput())
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("which", ["*@*.journal", "x.journal"], ids=["archived", "active"])
async def test_a_file_cut_off_under_the_reader_takes_nobody_down(
    large_journal: Path, tmp_path: Path, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading behind the end of a mapped file is SIGBUS: the agent lives, names the file, and delivers what is left."""
    directory = tmp_path / "j"
    directory.mkdir()
    for file in large_journal.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    (cut,) = directory.glob(which)
    output, reading = SlowOutput(), receiver(directory)
    task = asyncio.create_task(reading.run(output))
    await output.until(lambda: len(output.events) > 0)
    os.truncate(cut, 1 << 20)
    await task
    found = [number for number, event in zip(sequence(output), output.events, strict=True) if event.type == "log"]
    gaps = [event.get("missing") for event in output.events if event.type == "journal_gap"]
    assert restarts(reading) == {"SIGBUS": 1}
    assert found == sorted(set(found)) and len(found) + sum(gaps) == found[-1]
    assert any(f"{cut} is passed over: it is cut off" in record.getMessage() for record in caplog.records)


AGENT = """
import asyncio, os, sys
from pathlib import Path
from tapio_otel.receivers.journald import JournaldConfig, JournaldReceiver
from tests.collect import CollectingOutput, context, running

async def main():
    output = CollectingOutput()
    config = JournaldConfig(directory=Path(sys.argv[1]), start_at="beginning")
    async with running(JournaldReceiver(context("journald"), config), output):
        await output.until(lambda: len(output.events) > 0)
        print(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_when_the_agent_is_killed_its_reading_process_goes_too(small_journal: Path, stopped: bool) -> None:
    """No orphan is left, not even one that was stopped and cannot see that its agent is gone."""
    command = [sys.executable, "-c", AGENT, str(small_journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        agent.kill()
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_signals_for_the_whole_service_do_not_end_the_reading_process(tmp_path: Path) -> None:
    """SIGTERM and SIGINT reach it along with the agent, which still drains; it ends when the agent lets go."""
    directory = write_journal(tmp_path / "j", entries(5))
    output, reading = CollectingOutput(), receiver(directory, follow=True, poll_interval="50ms")
    async with running(reading, output):
        await output.until(lambda: len(output.events) == 5)
        (pid,) = children()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        write_journal(directory, entries(1, 5))
        await output.until(lambda: len(output.events) == 6)
        assert children() == [pid]
    assert children() == [] and counted(reading) == {}


async def test_the_reading_process_is_small(small_journal: Path) -> None:
    """It has none of the agent's large libraries in it."""
    feed = ChildFeed(JournaldConfig(directory=small_journal, start_at="beginning").reader_options(), context("journald"))
    try:
        await feed.open(None)
        status = Path(f"/proc/{feed.pid}/status").read_text()
        (own,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
    finally:
        await feed.close()
    assert own < 16_000
    heavy = "import sys; import tapio_otel.receivers.journald.child; print([m for m in sys.argv[1:] if m in sys.modules])"
    names = ["pydantic", "asyncio", "aiohttp", "grpc", "yaml", "msgspec", "logging", "tapio_otel.component", "tapio_otel.event"]
    found = subprocess.run([sys.executable, "-c", heavy, *names], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_option_decides_where_the_journal_is_read(small_journal: Path) -> None:
    """A process is the default."""
    assert isinstance(receiver(small_journal)._feed(CollectingOutput()), ChildFeed)
    assert isinstance(receiver(small_journal, isolation="none")._feed(CollectingOutput()), DirectFeed)


async def test_backpressure_holds_the_reading_process_back(large_journal: Path) -> None:
    """While nobody takes what it sends, it reads ahead no more than the socket holds."""
    feed = ChildFeed(JournaldConfig(directory=large_journal, follow=False).reader_options(), context("journald"))
    try:
        await feed.open(None)
        chunk = await feed.next(None)
        status = Path(f"/proc/{feed.pid}/stat")
        before = -1
        while before != (before := int(status.read_text().rpartition(")")[2].split()[11])):
            await asyncio.sleep(0.1)
        assert chunk is not None and status.read_text().rpartition(")")[2].split()[0] == "S"
        seen = len(chunk.entries)
        while not chunk.at_end:
            chunk = await feed.next(None)
            assert chunk is not None
            seen += len(chunk.entries)
    finally:
        await feed.close()
    assert seen == LARGE


def test_pauses_grow_while_there_is_no_progress_and_end_with_it() -> None:
    """One crash is followed by a new start at once; only one at the same place makes it wait."""
    crashes = Crashes()
    pauses = []
    for _ in range(12):
        crashes.note("a", False, 0.1)
        pauses.append(crashes.pause)
    assert pauses[0] == 0.0 and pauses == sorted(pauses) and pauses[-1] == child_feed.LONGEST_PAUSE
    assert crashes.skip is None
    crashes.note("b", False, 0.1)
    assert crashes.pause == 0.0
    crashes.note("b", False, 3600)
    assert crashes.pause == 0.0


def test_only_deaths_at_one_entry_in_the_act_make_it_be_skipped() -> None:
    """Three of them, and then ever harder."""
    crashes = Crashes()
    skips = []
    for trying in (False, True, True, True, True, True):
        crashes.note("a", trying, 0.1)
        skips.append(crashes.skip)
    assert skips == [None, None, None, 0, 1, 2]
    crashes.note("b", True, 0.1)
    assert crashes.skip is None
