"""The dead-letter file: requests that were refused for good or given up, with the reason, to be looked at and sent again.

One line is one OTLP/JSON ExportLogsServiceRequest with one more member, `deadLetter`, which readers of OTLP/JSON ignore; so a
line can be posted to a server as it is. Where the letter's `signal` is `traces` it is an ExportTraceServiceRequest. A request
leaves the sending queue only when its line is written, so that a crash loses neither. The file is bounded: it is put aside at a
size, and the oldest are removed. When it cannot be written (a full disk, no rights) that is reported once, and the sending goes
on: what it could not take is counted as `dead_letter_failed`.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any, Final

from tapio_otel.component import ComponentContext
from tapio_otel.exporting.background_writer import BackgroundWriter
from tapio_otel.exporting.file_sink import FileSink, RotationLimits
from tapio_otel.exporting.options import DeadLetterOptions
from tapio_otel.exporting.reencode import JSON, as_json
from tapio_otel.exporting.signal import WORDS, Signal

MOST_WAITING: Final = 8 * 1024 * 1024
PATIENCE: Final = 1.0
OWNER_ONLY: Final = 0o600


class DeadLetters:
    """Write requests to the file, in a thread of their own."""

    def __init__(self, options: DeadLetterOptions, context: ComponentContext, encoding: str) -> None:
        self._context = context
        self._encoding = encoding
        self._loop: asyncio.AbstractEventLoop | None = None
        rotation = RotationLimits(options.max_bytes, 0, options.max_backups)
        self._sink = FileSink(options.path, rotation=rotation, report=self._report, mode=OWNER_ONLY, waits=False)
        self._writer = BackgroundWriter(f"dead letters {context.id}", self._write, self._sink.close, MOST_WAITING)

    async def open(self) -> None:
        """Open the file; raises ComponentError."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._sink.open)
        self._writer.start()

    async def put(self, body: bytes, count: int, reason: str, message: str, signal: Signal = Signal.LOGS) -> None:
        """Keep a request of `count` events or spans; returns when it is written, or counted as not kept."""
        assert self._loop is not None
        tried: asyncio.Future[None] = self._loop.create_future()

        def end(problem: Exception | None) -> None:
            self._count(count, problem, signal)
            if not tried.done():
                tried.set_result(None)

        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        letter = {"time": now, "exporter": str(self._context.id), "reason": reason, "message": message, "count": count}
        if signal is not Signal.LOGS:
            letter["signal"] = signal.value
        import orjson

        await self._writer.put([orjson.dumps(letter), body], end)
        await tried

    async def close(self) -> None:
        """Write what waits, for a moment, and close the file."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._writer.drain()
        except TimeoutError:
            pass
        finally:
            await self._writer.stop(PATIENCE)

    def _write(self, chunks: list[bytes]) -> None:
        """Write pairs of letter and request; runs in the writer's thread."""
        import orjson

        pairs = zip(chunks[::2], chunks[1::2], strict=True)
        self._sink.write([orjson.dumps(_line(orjson.loads(letter), body, self._encoding)) + b"\n" for letter, body in pairs])

    def _count(self, count: int, problem: Exception | None, signal: Signal) -> None:
        words = WORDS[signal]
        self._context.counters.add(words.dead_letter_failed if problem else words.dead_lettered, count)
        if problem is not None:
            self._context.notices.warn("dead letter", f"{count} {words.items} did not get into the dead-letter file: {problem}")

    def _report(self, problem: str | None) -> None:
        """Log a problem of the file; called in the writer's thread."""
        if problem:
            self._context.log.error("dead-letter file: %s", problem)
        else:
            self._context.log.warning("the dead-letter file is written again")


def _line(letter: dict[str, Any], body: bytes, encoding: str) -> dict[str, Any]:
    """Return a request with the letter; what is no request is kept as base64."""
    import orjson

    try:
        signal = Signal(letter.get("signal", Signal.LOGS))
        request: Any = orjson.loads(body) if encoding == JSON else as_json(body, signal)
    except ValueError:
        return {"deadLetter": {**letter, "body": base64.b64encode(body).decode()}}
    return {**request, "deadLetter": letter}
