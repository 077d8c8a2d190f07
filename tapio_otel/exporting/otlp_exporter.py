"""What the two OTLP exporters have in common: batches become requests, requests wait in the queue, the sender sees them off.

Delivery: at least once. A batch is settled when the server has answered for every request with events of it, accepting or
refusing them for good, or when `retry_on_failure.max_elapsed_time` has passed; what failed is counted. Batches that are not
settled at shutdown stay so, and receivers that can resume read them again. With `sending_queue.storage` a batch is settled when
its requests are on disk, where they stay until the server has answered, across restarts; they are tried for ever, unless
`max_elapsed_time` is set.

A finding that asks for it is sent as a trace as well: by a transport and a sender of its own, which are used when the first one
comes, through the same queue.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from tapio_otel.component import Batch, ComponentContext, ComponentError, Delivery, Exporter
from tapio_otel.exporting.batcher import Batcher, Builder
from tapio_otel.exporting.dead_letter import DeadLetters
from tapio_otel.exporting.durable_queue import DurableQueue
from tapio_otel.exporting.late_transport import LateTransport
from tapio_otel.exporting.options import NetworkExporterConfig, QueueOptions, RetryOptions
from tapio_otel.exporting.queue import Queue, Request, SendingQueue
from tapio_otel.exporting.reencode import PROTO, count_spans
from tapio_otel.exporting.retry import Sender, Transport
from tapio_otel.exporting.signal import WORDS, Signal
from tapio_otel.exporting.traces import FindingTraces
from tapio_otel.notices import Notices, Problems
from tapio_otel.storage import Storage

C = TypeVar("C", bound=NetworkExporterConfig)


class RequestExporter(Exporter[C]):
    """Send events to an OTLP server; subclasses say by which transport and in which encoding."""

    encoding: str = PROTO

    def __init__(self, context: ComponentContext, config: C) -> None:
        super().__init__(context, config)
        self._notices = Notices(context.log)
        self._problems = Problems(context.report)
        self._transports: list[Transport] = []
        self._senders: dict[Signal, Sender] = {}
        self._traces: FindingTraces | None = None
        self._queue: Queue | None = None
        self._batcher: Batcher | None = None
        self._dead_letters: DeadLetters | None = None
        self._stopping = False
        self._hopeless = {signal: asyncio.Event() for signal in Signal}
        self._storage = self._find_storage()

    def make_transport(self, signal: Signal) -> Transport:
        """Return the transport that configuration and environment ask for; raises ComponentError."""
        raise NotImplementedError

    def make_builder(self, max_records: int, max_bytes: int) -> Builder:
        """Return an encoder for requests within these limits."""
        raise NotImplementedError

    async def start(self) -> None:
        """Get ready to send; connects with the first request. Raises ComponentError."""
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise

    async def _open(self) -> None:
        options = self.config.sending_queue
        retry = self._retry_options()
        transport = self.make_transport(Signal.LOGS)
        self._transports.append(transport)
        await transport.open()
        if retry.dead_letter is not None:
            letters = DeadLetters(retry.dead_letter, self.context, self.encoding)
            await letters.open()
            self._dead_letters = letters
        self._add_sender(Signal.LOGS, transport, retry)
        self._add_sender(Signal.TRACES, LateTransport(self.make_transport(Signal.TRACES)), retry)
        self._traces = FindingTraces(self.encoding, options.batch.max_bytes, self._notices)
        queue, limits = self._make_queue(options)
        self._queue = queue
        await queue.open()
        batcher = self._batcher = Batcher(options.batch, self.make_builder, queue.put, options.sizer)
        self.context.counters.gauge("queue_size", lambda: queue.size)
        self.context.counters.gauge("queue_items", lambda: queue.items + batcher.pending)
        self.context.counters.gauge("queue_capacity", lambda: limits.queue_size)
        queue.start()

    def _add_sender(self, signal: Signal, transport: Transport, retry: RetryOptions) -> None:
        report = self._problems.of(f"server for {signal}")
        self._senders[signal] = Sender(
            self.context,
            transport,
            retry,
            dead_letters=self._dead_letters,
            report=report,
            signal=signal,
            hopeless=self._hopeless[signal],
        )
        if transport not in self._transports:
            self._transports.append(transport)

    def _make_queue(self, options: QueueOptions) -> tuple[Queue, QueueOptions]:
        """Return the queue and the limits it keeps to; raises ComponentError."""
        context = self.context
        if self._storage is None:
            return SendingQueue(options, self._send, context.log, self._drop_request), options
        store = self._storage.request_store(context.kind, context.id, context.log, self._problems.of("disk"))
        limits = options.on_disk(store.max_bytes)
        return DurableQueue(limits, store, self._send, context, self.encoding, self._drop_request), limits

    def _find_storage(self) -> Storage | None:
        """Return the extension that keeps the queue; raises ComponentError."""
        wanted = self.config.sending_queue.storage
        if wanted is None:
            return None
        found = self.context.extension(wanted)
        if found is None:
            raise ComponentError(
                f"sending_queue.storage: there is no running extension {wanted!r}: "
                "define it under extensions, and list it in service.extensions"
            )
        if not isinstance(found, Storage):
            raise ComponentError(
                f"sending_queue.storage: the extension {wanted!r} keeps no queues: name one of type file_storage"
            )
        return found

    def _retry_options(self) -> RetryOptions:
        """Return the options of retry: a queue on disk is patient unless the user set an end."""
        options = self.config.retry_on_failure
        if self._storage is not None and "max_elapsed_time" not in options.model_fields_set:
            return options.model_copy(update={"max_elapsed_time": 0.0})
        return options

    async def consume(self, batch: Batch) -> None:
        """Take a batch; waits while the queue is full. After shutdown began the batch is left undelivered."""
        queue, batcher, traces, options = self._queue, self._batcher, self._traces, self.config.sending_queue
        if queue is None or batcher is None or traces is None:
            raise ComponentError(f"exporter {self.context.id} was given events before it was started")
        if queue.is_full and options.drop_oldest:
            await queue.make_room(self._drop_request)
        elif queue.is_full and not options.block_on_overflow:
            self._drop(len(batch.events))
            return batch.delivery.done()
        await (queue.kept() if options.drop_oldest else queue.room())
        bodies = await traces.requests(batch.events)
        if self._stopping:
            return None
        settled, delivery = asyncio.Event(), batch.delivery

        def settle() -> None:  # waits with the request: it must not keep the events themselves
            delivery.done()
            settled.set()

        part = Delivery(settle)
        batcher.add(batch, part)
        delivery.hold(len(bodies))
        for body in bodies:
            queue.put(Request(body, 0, [delivery], Signal.TRACES))
        batch.is_taken = True
        part.done()
        if not options.enabled:
            batcher.flush()
        if options.wait_for_result or not options.enabled:
            await settled.wait()
        return None

    def _drop_request(self, request: Request) -> None:
        if request.signal is Signal.LOGS:
            return self._drop(request.count)
        self.context.counters.add(WORDS[Signal.TRACES].dropped, count_spans(request.body), reason="queue_full")
        return self._notices.warn("full of traces", "the traces of findings cannot be sent fast enough: the oldest are dropped")

    def _drop(self, count: int) -> None:
        if count:
            self.context.counters.add("dropped", count, reason="queue_full")
            self._notices.warn("full", "the sending queue is full: events are dropped; raise queue_size or block_on_overflow")

    async def shutdown(self) -> None:
        """Send what is there, as long as the caller waits; what is not answered for stays undelivered."""
        self._stopping = True
        try:
            if self._batcher is not None and self._queue is not None:
                self._batcher.flush()
                for sender in self._senders.values():
                    sender.hurry()
                await self._queue.drain(self._hopeless[Signal.LOGS], self._hopeless[Signal.TRACES])
        finally:
            await self._close()

    async def _send(self, request: Request) -> None:
        count = request.count if request.signal is Signal.LOGS else count_spans(request.body)
        await self._senders[request.signal].deliver(request.body, count)

    async def _close(self) -> None:
        queue, self._queue = self._queue, None
        self._batcher = None
        if queue is not None:
            await queue.close()
            if queue.items:
                self.context.log.warning(self._left_over(), queue.items)
            if queue.traces:
                self.context.log.warning("stopped with the traces of %d findings undelivered", queue.traces)
        letters, self._dead_letters = self._dead_letters, None
        if letters is not None:
            await letters.close()
        transports, self._transports = self._transports, []
        for transport in transports:
            await transport.close()

    def _left_over(self) -> str:
        if self._storage is not None:
            return "stopped with %d events in the queue on disk: they are sent after the next start"
        return "stopped with %d events undelivered: receivers that can resume read them again"
