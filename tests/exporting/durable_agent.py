"""A running agent with a queue on disk: killed, starved of disk space and started again, with a backend that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tapio_otel.storage.queue_file import QueueFile
from tapio_otel.storage.row import Totals
from tests.exporting.servers import Received
from tests.integration.agent import TAPIO
from tests.integration.test_reload import Reloadable

DEAD = "http://127.0.0.1:9"
MESSAGE = re.compile(r"message \d+")


class DurableAgent(Reloadable):
    """Run `tapio run` from a journal to an OTLP server, with a queue in `room/queues`."""

    def __init__(self, room: Path, exporter: str = "otlphttp") -> None:
        self.exporter = exporter
        self.queues = room / "queues"
        super().__init__(room)

    def aim(self, endpoint: str, storage: dict[str, Any] | None = None, **options: Any) -> None:
        """Configure where to send to; `options` are the exporter's."""
        queue = {"storage": "file_storage", "batch": {"flush_timeout": "20ms"}, **options.pop("sending_queue", {})}
        retry = {"initial_interval": "20ms", "max_interval": "100ms", **options.pop("retry_on_failure", {})}
        self.configure(
            extensions={"file_storage": {"directory": str(self.queues), **(storage or {})}},
            exporters={
                self.exporter: {
                    "endpoint": endpoint,
                    "sending_queue": queue,
                    "retry_on_failure": retry,
                    "timeout": "2s",
                    **options,
                }
            },
            service={"extensions": ["file_storage"], "shutdown_timeout": "20s"},
        )

    @property
    def file(self) -> Path:
        """Return the queue's file."""
        return self.queues / f"exporters.{self.exporter}.db"

    def queued(self) -> Totals:
        """Return what the queue has on disk at this moment, as a crash would leave it."""
        with tempfile.TemporaryDirectory(dir=self.room) as scratch:
            copy = Path(scratch) / "copy.db"
            for suffix in ("-wal", ""):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(f"{self.file}{suffix}", f"{copy}{suffix}")
            if not copy.exists():
                return Totals()
            file = QueueFile(copy)
            file.open()
            totals = file.totals()
            file.close()
        return totals

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; fails when the agent ends, and the test's own timeout ends a wait in vain."""
        assert self.process is not None
        while not condition():
            assert self.process.poll() is None, self.log()
            await asyncio.sleep(0.05)

    async def end(self) -> int:
        """Ask the agent to end, and return its status."""
        assert self.process is not None
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 40)

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextlib.asynccontextmanager
async def running(agent: DurableAgent) -> AsyncIterator[DurableAgent]:
    """Run the agent; it is ended in any case."""
    with agent.errors.open("ab") as errors:
        agent.process = subprocess.Popen([*TAPIO, "run", "--config", str(agent.path)], stdout=errors, stderr=errors)
    try:
        yield agent
    finally:
        agent.kill()


def messages(*received: Received) -> Counter[str]:
    """Count the journal's messages in what servers received."""
    return Counter(text for one in received for text in one.bodies.elements() if MESSAGE.fullmatch(text))


def expect_all(agent: DurableAgent, *received: Received) -> int:
    """Fail unless every entry written arrived; returns how many came more than once, each time with the same id."""
    wanted = {f"message {number}" for number in range(agent.written)}
    missing = wanted - set(messages(*received))
    assert not missing, f"{len(missing)} of {agent.written} are missing:\n{agent.log()}"
    ids: dict[str, set[str]] = {}
    repeats = 0
    for record in (record for one in received for record in one.records):
        found = ids.setdefault(record.body.string_value, set())
        repeats += bool(found)
        found.update(one.value.string_value for one in record.attributes if one.key == "log.record.uid")
    assert {len(found) for text, found in ids.items() if text in wanted} == {1}
    return repeats
