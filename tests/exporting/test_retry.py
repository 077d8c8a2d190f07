"""How long a request is retried, with a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.component import Kind, PermanentError
from tapio_otel.exporting.options import RetryOptions
from tapio_otel.exporting.retry import LONGEST_WAIT, Answer, Backoff, RetryableError, Sender
from tests.components import context


class Timeline:
    """A clock that moves only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class ScriptedTransport:
    """Answer by script, then accept."""

    destination = "the backend"

    def __init__(self, *answers: Exception | Answer) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []

    async def open(self) -> None:
        pass

    async def encode(self, body: bytes) -> bytes:
        return b"<" + body + b">"

    async def send(self, body: bytes) -> Answer:
        self.sent.append(body)
        answer = self.answers.pop(0) if self.answers else Answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        pass


async def deliver(*answers: Exception | Answer, time: Timeline | None = None, **options):
    """Send one request of ten events; returns the surroundings, the transport and the timeline."""
    time = time or Timeline()
    surroundings, transport = context(Kind.EXPORTER), ScriptedTransport(*answers)
    sender = Sender(surroundings, transport, RetryOptions(**options), time.sleep, time.clock)
    await sender.deliver(b"body", 10)
    return surroundings, transport, time


def test_intervals_grow_to_the_maximum():
    """Without jitter: 5, 7.5, 11.25 … 30."""
    backoff = Backoff(RetryOptions(randomization_factor=0, max_elapsed_time=0), 0.0)
    assert [backoff.pause(0.0, None) for _ in range(7)] == [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0, 30.0]


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_jitter_stays_within_its_factor(draw, factor):
    """An interval is multiplied by at most 1 ± randomization_factor."""
    backoff = Backoff(RetryOptions(randomization_factor=factor), 0.0, lambda: draw)
    pause = backoff.pause(0.0, None)
    assert pause is not None
    assert 5 * (1 - factor) - 1e-9 <= pause <= 5 * (1 + factor) + 1e-9


def test_giving_up():
    """A pause that would end after max_elapsed_time is not begun; 0 never gives up; disabled gives up at once."""
    assert Backoff(RetryOptions(randomization_factor=0), 0.0).pause(295.1, None) is None
    assert Backoff(RetryOptions(randomization_factor=0), 0.0).pause(294.9, None) == 5.0
    assert Backoff(RetryOptions(randomization_factor=0, max_elapsed_time=0), 0.0).pause(1e9, None) == 5.0
    assert Backoff(RetryOptions(enabled=False), 0.0).pause(0.0, None) is None


def test_what_the_server_asks_for_is_a_minimum():
    """RetryInfo and Retry-After lengthen a pause, never shorten it; an absurd one is bounded."""
    options = RetryOptions(randomization_factor=0, max_elapsed_time=0)
    assert Backoff(options, 0.0).pause(0.0, 1.0) == 5.0
    assert Backoff(options, 0.0).pause(0.0, 60.0) == 60.0
    assert Backoff(options, 0.0).pause(0.0, 1e12) == LONGEST_WAIT


def test_a_maximum_below_the_first_interval_does_not_shrink_it():
    """max_interval bounds the growth only."""
    backoff = Backoff(RetryOptions(initial_interval="10s", max_interval="1s", randomization_factor=0), 0.0)
    assert [backoff.pause(0.0, None) for _ in range(3)] == [10.0, 10.0, 10.0]


async def test_a_request_is_sent_until_accepted():
    """Retries send the same bytes."""
    surroundings, transport, time = await deliver(RetryableError("a"), RetryableError("b", 20.0))
    assert transport.sent == [b"<body>"] * 3
    assert surroundings.counters.counts == {"sent": 10}
    assert time.slept[1] >= 20.0


async def test_errors_of_unexpected_kinds_are_retried_and_logged_with_their_kind(caplog):
    """An exception nobody thought of loses nothing."""
    surroundings, _transport, _time = await deliver(ZeroDivisionError("oops\x1b"), ZeroDivisionError("oops"))
    assert surroundings.counters.counts == {"sent": 10}
    assert "ZeroDivisionError: oops\\x1b; trying again" in caplog.text


async def test_permanent_errors_end_it():
    """What the server will never take is counted and not sent again."""
    surroundings, transport, _time = await deliver(PermanentError("no"))
    assert len(transport.sent) == 1
    assert surroundings.counters.counts == {"failed": 10, "failed:permanent": 10}


async def test_retries_that_take_too_long_end_it(caplog):
    """After max_elapsed_time the request is counted as failed."""
    surroundings, transport, time = await deliver(*[RetryableError("down")] * 1000, max_elapsed_time="60s")
    assert surroundings.counters.counts == {"failed": 10, "failed:retries_exhausted": 10}
    assert time.now <= 1060
    assert 3 < len(transport.sent) < 20
    assert "gave up sending 10 events to the backend after 60 s: down" in caplog.text


async def test_a_rejected_count_beyond_the_request_is_not_believed():
    """A server cannot make us count more failures than events."""
    surroundings, _transport, _time = await deliver(Answer(99, "?"))
    assert surroundings.counters.counts == {"failed": 10, "failed:rejected": 10}


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog):
    """Two lines for any number of attempts; health says the same."""
    time, surroundings = Timeline(), context(Kind.EXPORTER)
    reports: list[str | None] = []
    surroundings.report = reports.append
    transport = ScriptedTransport(*[RetryableError("down")] * 8)
    sender = Sender(surroundings, transport, RetryOptions(max_elapsed_time=0), time.sleep, time.clock)
    await sender.deliver(b"", 1)
    await sender.deliver(b"", 1)
    assert len(caplog.records) == 2
    assert "works again after" in caplog.records[1].message
    assert "8 failed attempts" in caplog.records[1].message
    assert reports == ["cannot send to the backend: down", None]


async def test_single_failures_among_successes_do_not_fill_the_log(caplog):
    """A flapping backend costs one pair of lines a minute."""
    time, surroundings = Timeline(), context(Kind.EXPORTER)
    answers = [answer for _ in range(50) for answer in (RetryableError("flap"), Answer())]
    transport = ScriptedTransport(*answers)
    sender = Sender(surroundings, transport, RetryOptions(initial_interval="100ms"), time.sleep, time.clock)
    for _ in range(50):
        await sender.deliver(b"", 1)
    assert len(caplog.records) == 2


async def test_repeated_refusals_are_summed_up(caplog):
    """One line a minute, with the number of those not logged."""
    time, surroundings = Timeline(), context(Kind.EXPORTER)
    transport = ScriptedTransport(*[PermanentError("no")] * 11)
    sender = Sender(surroundings, transport, RetryOptions(), time.sleep, time.clock)
    for _ in range(10):
        await sender.deliver(b"", 1)
    time.now += 61
    await sender.deliver(b"", 1)
    assert [record.message for record in caplog.records] == [
        "the backend refused 1 events for good: no",
        "the backend refused 1 events for good: no (9 more like it since the last such line)",
    ]


async def test_hurry_ends_a_pause_at_once_and_only_once():
    """At shutdown a waiting request is tried at once; if that fails the pauses go on."""
    forever = asyncio.Event()
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            await forever.wait()

    transport = ScriptedTransport(RetryableError("a"), RetryableError("b"))
    sender = Sender(context(Kind.EXPORTER), transport, RetryOptions(), sleep)
    delivering = asyncio.create_task(sender.deliver(b"", 1))
    while not pauses:
        await asyncio.sleep(0)
    sender.hurry()
    await delivering
    assert len(transport.sent) == 3
    assert len(pauses) == 2


async def test_cancelling_during_a_pause_leaves_nothing_behind():
    """The waits of a cancelled request are gone with it."""
    sender = Sender(context(Kind.EXPORTER), ScriptedTransport(RetryableError("a")), RetryOptions())
    delivering = asyncio.create_task(sender.deliver(b"", 1))
    await asyncio.sleep(0.01)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("steps", range(6))
async def test_cancelling_while_a_pause_ends_is_not_lost(steps):
    """Whatever the moment between the end of a pause and the next attempt: who cancels does not wait for ever."""
    transport = ScriptedTransport(*(RetryableError("a") for _ in range(100)))
    sender = Sender(context(Kind.EXPORTER), transport, RetryOptions())
    delivering = asyncio.create_task(sender.deliver(b"", 1))
    while not transport.sent:
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    sender.hurry()
    for _ in range(steps):
        await asyncio.sleep(0)
    delivering.cancel()
    await asyncio.wait([delivering], timeout=5)
    assert delivering.cancelled()
