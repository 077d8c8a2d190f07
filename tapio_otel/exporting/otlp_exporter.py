"""What the two OTLP exporters have in common: batches become requests, requests wait in the queue, the sender sees them off.

Delivery: at least once. A batch is settled when the server has answered for every request with events of it, accepting or
refusing them for good, or when `retry_on_failure.max_elapsed_time` has passed; what failed is counted. Batches that are not
settled at shutdown stay so, and receivers that can resume read them again.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from tapio_otel.component import Batch, ComponentContext, ComponentError, Delivery, Exporter
from tapio_otel.exporting.batcher import Batcher, Builder
from tapio_otel.exporting.options import NetworkExporterConfig
from tapio_otel.exporting.queue import Request, SendingQueue
from tapio_otel.exporting.retry import Sender, Transport
from tapio_otel.notices import Notices

C = TypeVar("C", bound=NetworkExporterConfig)


class RequestExporter(Exporter[C]):
    """Send events to an OTLP server; subclasses say by which transport and in which encoding."""

    def __init__(self, context: ComponentContext, config: C) -> None:
        super().__init__(context, config)
        self._notices = Notices(context.log)
        self._transport: Transport | None = None
        self._sender: Sender | None = None
        self._queue: SendingQueue | None = None
        self._batcher: Batcher | None = None
        self._stopping = False

    def make_transport(self) -> Transport:
        """Return the transport that the configuration and the environment ask for; raises ComponentError."""
        raise NotImplementedError

    def make_builder(self, max_records: int, max_bytes: int) -> Builder:
        """Return an encoder for requests within these limits."""
        raise NotImplementedError

    async def start(self) -> None:
        """Get ready to send; connects with the first request. Raises ComponentError."""
        options = self.config.sending_queue
        transport = self._transport = self.make_transport()
        await transport.open()
        self._sender = Sender(self.context, transport, self.config.retry_on_failure)
        queue = self._queue = SendingQueue(options, self._send, self.context.log)
        batcher = self._batcher = Batcher(options.batch, self.make_builder, queue.put, options.sizer)
        self.context.counters.gauge("queue_size", lambda: queue.size)
        self.context.counters.gauge("queue_items", lambda: queue.items + batcher.pending)
        self.context.counters.gauge("queue_capacity", lambda: options.queue_size)
        queue.start()

    async def consume(self, batch: Batch) -> None:
        """Take a batch; waits while the queue is full. After shutdown began the batch is left undelivered."""
        queue, batcher, options = self._queue, self._batcher, self.config.sending_queue
        if queue is None or batcher is None:
            raise ComponentError(f"exporter {self.context.id} was given events before it was started")
        if queue.is_full:
            if not options.block_on_overflow:
                self.context.counters.add("dropped", len(batch.events), reason="queue_full")
                self._notices.warn(
                    "full", "the sending queue is full: events are dropped; raise queue_size or block_on_overflow"
                )
                return batch.delivery.done()
            await queue.room()
        if self._stopping:
            return None
        settled = asyncio.Event()

        def settle() -> None:
            batch.delivery.done()
            settled.set()

        part = Delivery(settle)
        batcher.add(batch, part)
        part.done()
        if not options.enabled:
            batcher.flush()
        if options.wait_for_result or not options.enabled:
            await settled.wait()
        return None

    async def shutdown(self) -> None:
        """Send what is there, as long as the caller waits; what is not answered for stays undelivered."""
        self._stopping = True
        try:
            if self._batcher is not None and self._queue is not None and self._sender is not None:
                self._batcher.flush()
                self._sender.hurry()
                await self._queue.drain()
        finally:
            await self._close()

    async def _send(self, request: Request) -> None:
        assert self._sender is not None
        await self._sender.deliver(request.body, request.count)

    async def _close(self) -> None:
        queue, self._queue = self._queue, None
        self._batcher = None
        if queue is not None:
            await queue.close()
            if queue.items:
                self.context.log.warning(
                    "stopped with %d events undelivered: receivers that can resume read them again", queue.items
                )
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()
