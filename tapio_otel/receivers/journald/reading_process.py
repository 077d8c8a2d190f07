"""One run of the reading process, as the agent holds it: start it, receive what it sends, learn how it ended, end it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import tapio_otel
from tapio_otel.receivers.journald import frames
from tapio_otel.receivers.journald.feed import readable

COMMAND: tuple[str, ...] = (
    *(sys.executable, "-P", "-S", "-c"),  # neither the working directory nor site: the agent's own path is handed on
    "from tapio_otel.receivers.journald.child import main; main()",
)
BUFFER: Final = 1 << 20
"""Bytes the socket may hold, as far as the system lets it: some ten chunks, by which the process reads ahead."""
KEPT_BUFFER: Final = 1 << 20
"""Bytes of the longest receive buffer that is kept for the next message."""
SAID_LINES: Final = 30
SAID_CHARACTERS: Final = 500
"""How much of what one process prints on standard error is passed on."""
END_SECONDS: Final = 2.0
"""How long a process may take to end after it has closed its socket, and again after it was killed."""
STUCK: Final = "stuck"
"""Reason of the end of a process that was ended because it did nothing."""
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Ended(Exception):
    """Report that the reading process has ended; `reason` is the name of the signal, `exit N`, or `stuck`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def description(self) -> str:
        """Return what happened to it, to follow "the journal reader"."""
        return "did nothing any more and was ended" if self.reason == STUCK else f"ended by {self.reason}"


class ReadingProcess:
    """Start a reading process at once; `say` is called with each line that it prints."""

    def __init__(self, say: Callable[[str], None]) -> None:
        ours, theirs = socket.socketpair()
        said, says = os.pipe()
        os.set_blocking(says, False)  # it shall rather lose words than wait for somebody to hear them
        os.set_blocking(said, False)
        try:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                [*COMMAND, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=says,
                stderr=says,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
            )
        except BaseException:
            ours.close()
            os.close(said)
            raise
        finally:
            theirs.close()
            os.close(says)
        ours.setblocking(False)
        self._socket = ours
        self._buffer = bytearray(1 << 16)
        self._filled = 0
        """Bytes of the next message that have come so far."""
        self._ears: _Ears | None = _Ears(said, say)

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    async def send(self, message: Any) -> None:
        """Send it a message; raises `Ended`."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, frames.pack(message))
        except (BrokenPipeError, ConnectionResetError):
            raise await self._end() from None

    async def receive(self, until: float | None = None) -> Any:
        """Return its next message; None when that is not there `until` that moment of `time.monotonic`. Raises `Ended`."""
        if not await self._fill(frames.LENGTH.size, until):
            return None
        (size,) = frames.LENGTH.unpack_from(self._buffer)
        end = frames.LENGTH.size + size
        if end > len(self._buffer):
            self._buffer = self._buffer[: self._filled] + bytes(end - self._filled)
        if not await self._fill(end, until):
            return None
        message = frames.unpack(memoryview(self._buffer)[frames.LENGTH.size : end])
        self._filled = 0
        if size > KEPT_BUFFER:
            self._buffer = bytearray(1 << 16)
        return message

    async def _fill(self, wanted: int, until: float | None) -> bool:
        """Receive until the buffer holds as many bytes as `wanted`; tells whether it does."""
        while self._filled < wanted:
            try:
                count = self._socket.recv_into(memoryview(self._buffer)[self._filled : wanted])
            except BlockingIOError:
                limit = None if until is None else max(0.0, until - time.monotonic())
                if not await readable(self._socket.fileno(), limit):
                    return False
                continue
            except ConnectionResetError:
                count = 0
            if not count:
                raise await self._end()
            self._filled += count
        return True

    def ran(self) -> float:
        """Return for how many seconds it has used a processor so far, so that two calls tell whether it does anything."""
        place = Path(f"/proc/{self.pid}")
        try:
            return int((place / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, IndexError, ValueError):  # a kernel that does not keep it: clock ticks are coarser
            pass
        try:
            return sum(map(int, (place / "stat").read_text().rpartition(")")[2].split()[11:13])) / _CLOCK_TICKS
        except (OSError, ValueError):
            return 0.0

    async def _end(self) -> Ended:
        """Wait for the end of the process, which has closed its socket, and return how it ended."""
        await self._gone(END_SECONDS)
        await self.close()
        code = self._process.returncode
        if code is None or code >= 0:
            return Ended(f"exit {code}")
        return Ended(_signal_name(-code))

    async def close(self) -> None:
        """End the process, whatever it is doing; safe to call twice."""
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
            await self._gone(END_SECONDS)
        if self._ears is not None:
            self._ears.close()
            self._ears = None

    async def _gone(self, seconds: float) -> None:
        until, pause = time.monotonic() + seconds, 0.0005
        while self._process.poll() is None and time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)


class _Ears:
    """Pass on, line by line and within bounds, what a process prints."""

    def __init__(self, descriptor: int, say: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._say = say
        self._rest = b""
        self._lines = 0
        asyncio.get_running_loop().add_reader(descriptor, self._hear)

    def _hear(self) -> bool:
        try:
            heard = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if not heard:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        *lines, self._rest = (self._rest + heard).split(b"\n")
        for line in lines:
            self._tell(line)
        self._rest = self._rest[-SAID_CHARACTERS:]
        return bool(heard)

    def _tell(self, line: bytes) -> None:
        self._lines += 1
        if line and self._lines <= SAID_LINES:
            self._say(line[:SAID_CHARACTERS].decode("utf-8", "replace"))

    def close(self) -> None:
        """Pass on what is left."""
        while self._hear():
            pass
        self._tell(self._rest)
        if self._lines > SAID_LINES:
            self._say(f"({self._lines - SAID_LINES} more lines)")
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment() -> dict[str, str]:
    """Return the agent's environment with its module path, so that both run the same program."""
    own = str(Path(tapio_otel.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([own, *filter(None, sys.path)])}
