"""The OTLP exporters with a queue on disk, against real servers: nothing is lost between two of them, and all is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from tapio_otel.component import ComponentError, Kind
from tapio_otel.exporters.otlp import OtlpExporter
from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tapio_otel.exporting.signal import Signal
from tests.components import context
from tests.exporters.test_otlp import FAST_RETRY, Sent
from tests.exporting import traces
from tests.exporting.servers import GrpcServer, HttpServer, Step

DEAD = {OtlpExporter: "http://127.0.0.1:9", OtlpHttpExporter: "http://127.0.0.1:9"}


no_proxy, storage = traces.no_proxy, traces.storage


def exporter(storage, endpoint: str, type=OtlpHttpExporter, **options):
    """Return an exporter that tries again at once and keeps its queue in the storage."""
    surroundings = context(Kind.EXPORTER, type.type)
    surroundings.extension = {"file_storage": storage}.get
    queue = {"storage": "file_storage", "batch": {"flush_timeout": "1ms"}, **options.pop("sending_queue", {})}
    retry = {**FAST_RETRY, **options.pop("retry_on_failure", {})}
    config = type.Config(**{"endpoint": endpoint, "retry_on_failure": retry, "sending_queue": queue} | options)
    return type(surroundings, config)


@contextlib.asynccontextmanager
async def running(*arguments, **options):
    """Run an exporter meanwhile."""
    one = exporter(*arguments, **options)
    await one.start()
    try:
        yield one
    finally:
        await one.shutdown()


async def until(condition) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("type", [OtlpExporter, OtlpHttpExporter], ids=lambda type: type.type)
async def test_a_batch_counts_as_delivered_once_it_is_on_disk_and_is_sent_after_a_restart(storage, type):
    """With a dead backend; the next exporter of that name sends it, once, and counts what it found."""
    sent = Sent()
    async with running(storage, DEAD[type], type) as one:
        await one.consume(sent.batch("a", "b"))
        await until(lambda: sent.settled == [1])
    assert one.context.counters.counts["sent"] == 0
    backend = GrpcServer() if type is OtlpExporter else HttpServer()
    async with backend as server, running(storage, f"http://127.0.0.1:{server.port}", type) as one:
        await one.consume(sent.batch("c"))
    assert server.received.bodies == {"a": 1, "b": 1, "c": 1}
    assert (one.context.counters.counts["restored"], one.context.counters.counts["sent"]) == (2, 3)
    assert sent.settled == [1, 1]


async def test_it_is_tried_for_ever_unless_the_user_set_an_end(storage):
    """The default of max_elapsed_time is not for a queue on disk."""
    async with running(storage, DEAD[OtlpHttpExporter]) as patient:
        assert patient._senders[Signal.LOGS]._options.max_elapsed_time == 0
    async with running(storage, DEAD[OtlpHttpExporter], retry_on_failure={"max_elapsed_time": "50ms"}) as impatient:
        await impatient.consume(Sent().batch("a"))
        await until(lambda: impatient.context.counters.counts["failed:retries_exhausted"] == 1)


@pytest.mark.parametrize("encoding", ["proto", "json"])
async def test_what_is_refused_for_good_becomes_a_dead_letter(storage, tmp_path, encoding):
    """With the server's words; partly rejected requests, too. It leaves the queue, and what follows is sent."""
    path = tmp_path / "dead.jsonl"
    steps = (Step(400, "no such tenant"), Step(200, "too old", rejected=1))
    retry = {"dead_letter": {"path": str(path)}}
    async with HttpServer(*steps) as server, running(storage, server.url, retry_on_failure=retry, encoding=encoding) as one:
        for title in ("a", "b", "c"):
            await one.consume(Sent().batch(title))
            one._batcher.flush()
            await until(lambda: not one._queue.requests)
    letters = [json.loads(line)["deadLetter"] for line in path.read_text().splitlines()]
    assert [(letter["reason"], letter["count"]) for letter in letters] == [("permanent", 1), ("rejected", 1)]
    assert "no such tenant" in letters[0]["message"]
    assert letters[1]["message"] == "too old"
    assert server.received.bodies == {"b": 1, "c": 1}
    counts = one.context.counters.counts
    assert (counts["failed"], counts["sent"], counts["dead_lettered"]) == (2, 1, 2)


async def test_dead_letters_are_kept_without_storage_as_well(tmp_path):
    """What is given up after max_elapsed_time is among them."""
    surroundings = context(Kind.EXPORTER, "otlphttp")
    retry = {**FAST_RETRY, "max_elapsed_time": "20ms", "dead_letter": {"path": str(tmp_path / "dead.jsonl")}}
    one = OtlpHttpExporter(surroundings, OtlpHttpExporter.Config(endpoint="http://127.0.0.1:9", retry_on_failure=retry))
    await one.start()
    sent = Sent()
    await one.consume(sent.batch("a"))
    await until(lambda: sent.settled == [1])
    await one.shutdown()
    assert json.loads((tmp_path / "dead.jsonl").read_text())["deadLetter"]["reason"] == "retries_exhausted"


async def test_dropping_the_oldest_is_counted_exactly(storage):
    """What was consumed is sent, dropped or in the queue; nobody waits."""
    options = {"num_consumers": 1, "queue_size": 5, "drop_oldest": True, "batch": {"min_size": 1}}
    async with running(storage, DEAD[OtlpHttpExporter], sending_queue=options) as one:
        sent = Sent()
        for number in range(50):
            await one.consume(sent.batch(str(number)))
            await until(lambda: all(sent.settled))
        dropped = one.context.counters.counts["dropped:queue_full"]
        assert dropped + one._queue.items == 50
        assert one._queue.requests == 5
    async with HttpServer() as server, running(storage, server.url) as one:
        pass
    assert len(server.received.records) == 50 - dropped


async def test_a_full_queue_makes_producers_wait(storage):
    """That is the default; they go on when the server takes something, and all arrives once."""
    async with HttpServer(*(Step(503) for _ in range(50))) as server:
        options = {"num_consumers": 1, "queue_size": 3, "batch": {"min_size": 1}}
        slow = {"initial_interval": "20ms", "max_interval": "20ms"}
        async with running(storage, server.url, sending_queue=options, retry_on_failure=slow) as one:
            async with asyncio.timeout(30):
                for number in range(20):
                    await one.consume(Sent().batch(str(number)))
                    assert one._queue.requests <= 3
    assert server.received.bodies == {str(number): 1 for number in range(20)}
    assert one.context.counters.counts["dropped"] == 0


async def test_an_exporter_can_be_ended_while_its_server_does_not_answer(storage):
    """Cancelling its shutdown leaves everything on disk, and no task."""
    async with HttpServer(Step(hang=True)) as server:
        one = exporter(storage, server.url)
        await one.start()
        await one.consume(Sent().batch("a"))
        await server.received.until(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await one.shutdown()
        async with running(storage, server.url):
            pass
    assert server.received.bodies["a"] in (1, 2)


async def test_a_request_that_the_shutdown_interrupts_is_not_lost(storage):
    """Many exporters, each with more than it can send, and a backend that is gone: every one of them ends."""
    sent = Sent()
    for _ in range(5):
        async with running(storage, DEAD[OtlpHttpExporter], sending_queue={"batch": {"min_size": 1}}) as one:
            for number in range(12):
                await one.consume(sent.batch(f"{len(sent.settled)}:{number}"))
    async with HttpServer() as server, running(storage, server.url):
        pass
    assert len(server.received.records) == 60
    assert set(server.received.bodies.values()) == {1}


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        ({}, "there is no running extension 'file_storage': define it under extensions, and list it in service.extensions"),
        ({"file_storage": object()}, "the extension 'file_storage' keeps no queues: name one of type file_storage"),
    ],
)
def test_a_storage_that_is_none_is_refused_at_creation(extensions, words):
    """The error says what to do."""
    surroundings = context(Kind.EXPORTER, "otlphttp")
    surroundings.extension = extensions.get
    config = OtlpHttpExporter.Config(sending_queue={"storage": "file_storage"})
    with pytest.raises(ComponentError, match=f"sending_queue.storage: {words}"):
        OtlpHttpExporter(surroundings, config)


async def test_a_dead_letter_file_that_cannot_be_opened_is_an_error_at_the_start(storage, tmp_path):
    """And leaves the queue free for the next exporter."""
    retry = {"dead_letter": {"path": str(Path(tmp_path) / "missing" / "dead.jsonl")}}
    with pytest.raises(ComponentError, match=r"missing/dead\.jsonl"):
        await exporter(storage, DEAD[OtlpHttpExporter], retry_on_failure=retry).start()
    async with running(storage, DEAD[OtlpHttpExporter]):
        pass
