"""Send one request until it is answered for: back-off, what the server asks for, when to give up.

Which failures are retried follows the OTLP specification (sections "Failures", OTLP/gRPC and OTLP/HTTP); the transports say
so by raising `RetryableError` or `PermanentError`. Whatever else they raise is taken as retryable.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tapio_otel.component import ComponentContext, ComponentError, PermanentError
from tapio_otel.exporting.options import RetryOptions
from tapio_otel.exporting.signal import WORDS, Signal
from tapio_otel.notices import Clock, Notices, Outage, quote

# A server's request to wait is honoured up to here, so that one wrong number does not silence the agent for ever.
LONGEST_WAIT: Final = 3600.0
Sleep = Callable[[float], Awaitable[None]]


class RetryableError(ComponentError):
    """Report a failure that may pass; `after` are the seconds the server asks to wait, if it does."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class NotServed(PermanentError):
    """Report that the server does not take requests of this kind at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what the server said to an accepted request: how many records it rejected all the same, and why."""

    rejected: int = 0
    message: str = ""


class Transport(Protocol):
    """Carry encoded requests to a server."""

    destination: str
    """The server as the log may name it."""

    async def open(self) -> None:
        """Get ready to send, without connecting; raises ComponentError."""

    async def encode(self, body: bytes) -> bytes:
        """Return the body as it travels (compressed), made without blocking the loop."""

    async def send(self, body: bytes) -> Answer:
        """Send one encoded body; raises RetryableError or PermanentError."""

    async def close(self) -> None:
        """Release every connection; safe without `open`."""


class Backoff:
    """Compute how long to wait before each further attempt of one request."""

    def __init__(self, options: RetryOptions, now: float, draw: Callable[[], float] = random.random) -> None:
        self._options = options
        self._interval = options.initial_interval
        self._started = now
        self._draw = draw

    def pause(self, now: float, after: float | None) -> float | None:
        """Return the seconds to wait, at least the `after` a server asks for; None when it is time to give up."""
        options = self._options
        if not options.enabled:
            return None
        spread = options.randomization_factor * self._interval
        wait = self._interval - spread + 2 * spread * self._draw()
        self._interval = min(self._interval * options.multiplier, max(options.max_interval, options.initial_interval))
        if after is not None:
            wait = max(wait, min(after, LONGEST_WAIT))
        if options.max_elapsed_time and now - self._started + wait > options.max_elapsed_time:
            return None
        return wait


class DeadLetterBox(Protocol):
    """Keep requests that are given up."""

    async def put(self, body: bytes, count: int, reason: str, message: str, signal: Signal = Signal.LOGS) -> None:
        """Keep a request of `count` events or spans; returns when it is kept, or cannot be."""


class Sender:
    """Carry requests of one signal to their end: delivered, or given up and counted, and kept as dead letters if wanted."""

    def __init__(
        self,
        context: ComponentContext,
        transport: Transport,
        options: RetryOptions,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
        dead_letters: DeadLetterBox | None = None,
        report: Callable[[str | None], None] | None = None,
        signal: Signal = Signal.LOGS,
        hopeless: asyncio.Event | None = None,
    ) -> None:
        self.hopeless = hopeless or asyncio.Event()
        """Set when an attempt has failed since `hurry` was called: there is no use in waiting for the others."""
        self._dead_letters = dead_letters
        self._counters = context.counters
        self._log = context.log
        self._transport = transport
        self._options = options
        self._sleep = sleep
        self._clock = clock
        self._notices = Notices(context.log, clock)
        self._outage = Outage(context.log, report or context.report, transport.destination, clock)
        self._hurry = asyncio.Event()
        self._signal = signal
        self._words = WORDS[signal]
        self._is_told_unserved = False

    def hurry(self) -> None:
        """End every pause now and try at once: the agent is shutting down."""
        self._hurry.set()

    async def deliver(self, body: bytes, count: int) -> None:
        """Return once `count` records or spans are delivered, or given up and counted as failed."""
        backoff = Backoff(self._options, self._clock())
        while (error := await self._attempt(body, count)) is not None:
            pause = backoff.pause(self._clock(), error.after)
            if pause is None:
                return await self._give_up(body, count, error)
            if self._hurry.is_set():
                self.hopeless.set()
            await self._pause(pause)
        return None

    async def _attempt(self, body: bytes, count: int) -> RetryableError | None:
        """Encode and send once; return the failure if it may pass."""
        try:
            answer = await self._transport.send(await self._transport.encode(body))
        except PermanentError as error:
            await self._refused(body, count, error)
        except RetryableError as error:
            self._outage.failed(str(error))
            return error
        except Exception as error:
            failure = RetryableError(f"{type(error).__name__}: {quote(str(error))}")
            self._outage.failed(str(failure))
            return failure
        else:
            await self._answered(body, count, answer)
        return None

    async def _answered(self, body: bytes, count: int, answer: Answer) -> None:
        rejected = min(answer.rejected, count)
        self._outage.succeeded()
        if rejected or answer.message:
            verdict = f"rejected {rejected} of {count} {self._words.items}" if rejected else "accepted a request with a warning"
            self._notices.warn("partial", f"{self._transport.destination} {verdict}: {quote(answer.message)}")
        if rejected:  # the server does not say which of them
            await self._keep(body, count, "rejected", answer.message)
            self._counters.add(self._words.failed, rejected, reason="rejected")
        if count > rejected:
            self._counters.add(self._words.sent, count - rejected)

    async def _refused(self, body: bytes, count: int, error: PermanentError) -> None:
        self._outage.succeeded()  # it answers: what it refuses is this request
        if self._signal is Signal.TRACES and isinstance(error, NotServed):
            self._tell_unserved(error)
        else:
            refused = f"refused {count} {self._words.items} for good: {error}"
            self._notices.warn("permanent", f"{self._transport.destination} {refused}")
        await self._keep(body, count, "permanent", str(error))
        self._counters.add(self._words.failed, count, reason="permanent")

    def _tell_unserved(self, error: NotServed) -> None:
        """Say once that there is nothing that takes traces: it is the same for every finding."""
        if not self._is_told_unserved:
            self._is_told_unserved = True
            self._log.warning(
                "%s takes no traces (%s): findings are sent as logs alone, and their spans are counted as failed. Send to a "
                "backend that takes traces (traces_endpoint of otlphttp), or set emit_traces: false in correlate",
                *(self._transport.destination, error),
            )

    async def _give_up(self, body: bytes, count: int, error: RetryableError) -> None:
        where = self._transport.destination
        limit = f"after {self._options.max_elapsed_time:g} s" if self._options.enabled else "as retry_on_failure is disabled"
        self._notices.warn("gave up", f"gave up sending {count} {self._words.items} to {where} {limit}: {error}")
        await self._keep(body, count, "retries_exhausted", str(error))
        self._counters.add(self._words.failed, count, reason="retries_exhausted")

    async def _keep(self, body: bytes, count: int, reason: str, message: str) -> None:
        """Put a request among the dead letters. It is counted afterwards: were this cancelled, it would still be queued."""
        if self._dead_letters is not None:
            await self._dead_letters.put(body, count, reason, message, self._signal)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until `hurry` is called; when in a hurry already, wait the whole time."""
        if self._hurry.is_set():
            return await self._sleep(seconds)
        waits = {asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._hurry.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)  # when this is interrupted, too, the interruption must go on
        return None
