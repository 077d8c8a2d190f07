"""A running agent for fault scenarios: aimed, started, killed, ended, watched for its memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from tests.integration.agent import TAPIO
from tests.integration.test_reload import Reloadable

DEAD: Final = "http://127.0.0.1:9"
CONSUMERS: Final = 2
BATCH: Final = 100
"""Most events in a batch of the receiver and in a request."""
_CHECKOUT: Final = Path(__file__).parents[2]
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class Process(Protocol):
    """What is needed of a process."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...
    def terminate(self) -> None: ...
    def send_signal(self, number: int) -> None: ...


class Nursery:
    """Run the process that forks agents; see tests/faults/nursery.py."""

    def __init__(self, config: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_CHECKOUT,
            text=True,
        )
        assert self._answer() == "ready"

    def order(self, *words: Any) -> int:
        """Give an order, and return what it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def close(self) -> None:
        """End it, and with it all agents."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the process that forks agents has ended"
        return line


class Forked:
    """Hold an agent that a nursery has forked."""

    def __init__(self, nursery: Nursery, config: Path, errors: Path) -> None:
        self._nursery = nursery
        self.pid = nursery.order("start", str(config), str(errors))
        self._file = os.pidfd_open(self.pid)
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return its status once it has ended."""
        return self._status if self._status is not None or not self._ended(0) else self._collect()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its status; raises TimeoutExpired."""
        if self._status is None and not self._ended(timeout):
            raise subprocess.TimeoutExpired("tapio run", timeout or 0)
        return self._collect() if self._status is None else self._status

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        if self._status is None:
            self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        signal.pidfd_send_signal(self._file, number)

    def _ended(self, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def _collect(self) -> int:
        self._status = self._nursery.order("wait", self.pid)
        os.close(self._file)
        return self._status


class FaultAgent(Reloadable):
    """Run `tapio run` from a journal to a backend, started from a nursery where there is one."""

    process: Process | None  # type: ignore[assignment]

    def __init__(self, room: Path, nursery: Nursery | None = None, journal: Path | None = None) -> None:
        self._elsewhere = journal
        self._nursery = nursery
        self.queues = room / "queues"
        self.dead_letters = room / "dead.jsonl"
        self.peak = 0
        """Most bytes that the agent and its reading process took together, as far as was seen."""
        self.ends = 0
        """How often it came to an orderly end."""
        room.mkdir(exist_ok=True)
        super().__init__(room)

    @property
    def file(self) -> Path:
        """Return the queue's file, of the exporter otlphttp."""
        return self.queues / "exporters.otlphttp.db"

    @property
    def checkpoints(self) -> Path:
        """Return the checkpoints' file."""
        return self.room / "state" / "checkpoints.db"

    def aim(
        self,
        endpoint: str,
        durable: bool = True,
        exporter: str = "otlphttp",
        storage: dict[str, Any] | None = None,
        queue: dict[str, Any] | None = None,
        retry: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Configure where to send to; `options` are the exporter's."""
        batch = {"flush_timeout": "20ms", "max_size": BATCH, "min_size": BATCH}
        sending = {"num_consumers": CONSUMERS, "batch": batch, **(queue or {})}
        retrying = {
            **{"initial_interval": "20ms", "max_interval": "200ms", "max_elapsed_time": 0},
            **{"dead_letter": {"path": str(self.dead_letters)}},
            **(retry or {}),
        }
        service: dict[str, Any] = {"shutdown_timeout": "20s"}
        sections: dict[str, Any] = {}
        if durable:
            sending["storage"] = "file_storage"
            sections["extensions"] = {"file_storage": {"directory": str(self.queues), **(storage or {})}}
            service["extensions"] = ["file_storage"]
        settings = {"endpoint": endpoint, "timeout": "2s", "sending_queue": sending, "retry_on_failure": retrying}
        self.configure(
            receivers={"journald": self._receiver()}, exporters={exporter: settings | options}, service=service, **sections
        )

    def _receiver(self) -> dict[str, Any]:
        directory = str(self._elsewhere or self.journal)
        return {"directory": directory, "start_at": "beginning", "batch_size": BATCH, "read_interval": "10ms"}

    def start(self, *prefix: str) -> None:
        """Start it, by a command in front where one is given."""
        if self._nursery is not None and not prefix:
            self.process = Forked(self._nursery, self.path, self.errors)
            return
        with self.errors.open("ab") as errors:
            command = [*prefix, *TAPIO, "run", "--config", str(self.path)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, cwd=_CHECKOUT)

    @contextlib.asynccontextmanager
    async def running(self, *prefix: str) -> AsyncIterator[FaultAgent]:
        """Run it meanwhile; it is up at the begin, and ended in any case."""
        self.start(*prefix)
        try:
            await self.until(self.is_up)
            yield self
        finally:
            self.kill()

    async def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for a condition; fails with the log when the agent ends, or it takes too long."""
        assert self.process is not None
        end = time.monotonic() + seconds
        while not condition():
            self.see_memory()
            assert self.process.poll() is None, f"the agent has ended:\n{self.log()[-4000:]}"
            assert time.monotonic() < end, f"in vain for {seconds:g} s:\n{self.log()[-4000:]}"
            await asyncio.sleep(0.03)

    async def end(self) -> int:
        """Ask it to end, and return its status."""
        assert self.process is not None
        self.see_memory()
        self.process.terminate()
        status = await asyncio.to_thread(self.process.wait, 40)
        self.ends += 1
        return status

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.see_memory()
        self.process.kill()
        self.process.wait(20)

    def see_memory(self) -> None:
        """Note the most memory it has taken so far."""
        assert self.process is not None
        own = _peak(self.process.pid)
        others = [_peak(pid) for pid in children(self.process.pid)]
        self.peak = max(self.peak, own + sum(one for one in others if one != own))  # equal: not yet a program of its own

    def log(self) -> str:
        """Return what it has logged."""
        return self.errors.read_text() if self.errors.exists() else ""


def children(pid: int) -> list[int]:
    """Return the ids of the processes that an agent has started."""
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError):
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


@contextlib.contextmanager
def nursery(room: Path) -> Iterator[Nursery]:
    """Run a nursery for agents that send over HTTP."""
    sample = FaultAgent(room)
    sample.aim(DEAD)
    one = Nursery(sample.path)
    try:
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def paused(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes by SIGSTOP meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
