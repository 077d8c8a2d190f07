"""The process that reads the journal for the agent, so that a crash of libsystemd ends this process and not the agent.

It is started by `ChildFeed`, gets what to read over a socket, and sends chunks until it is at the end or the socket is closed.
It reads ahead as much as the socket's buffer holds: then writing blocks, which is all the flow control there is. It imports
only what reading takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import select
import signal
import sys
import time
from typing import Any, Final

from tapio_otel.receivers.journald import frames
from tapio_otel.receivers.journald.chunk import Chunk, Portions
from tapio_otel.receivers.journald.options import ReaderOptions, ReadingFailed
from tapio_otel.receivers.journald.packing import Packer
from tapio_otel.receivers.journald.reader import JournalReader

TIME_SLICE: Final = 0.05
"""Seconds after which entries are sent though more could be read; nobody else waits here."""
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Serve the agent, whose process id is the second argument, at the socket whose descriptor is the first."""
    channel, agent = map(int, sys.argv[1:3])
    faulthandler.enable()  # a crash tells on standard error where it happened
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)  # they are meant for the agent, which may go on for a while
    _die_with(agent)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(channel)


def serve(channel: int) -> None:
    """Read what is asked for until its end, or until the agent is gone or lets go."""
    begin: dict[str, Any] = frames.read(channel)
    options = ReaderOptions.load(begin["options"])
    reader = JournalReader(options, TIME_SLICE)
    try:
        problem = reader.open(begin["checkpoint"])
        frames.write(channel, (frames.OPENED, problem, reader.passed_over, reader.estimate, reader.checkpoint()))
        _feed(channel, reader, options, begin["careful"], begin["skip"])
    except ReadingFailed as error:
        frames.write(channel, (frames.FAILED, str(error)))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        frames.write(channel, (frames.FAILED, f"{type(error).__name__}: {error}"))
    finally:
        reader.close()


def _feed(channel: int, reader: JournalReader, options: ReaderOptions, careful: int, skip: int | None) -> None:
    """Send what is read; the first `careful` entries one by one, each announced, so that the agent learns which one kills."""
    portions, sender = Portions(options.batch_size), _Sender(channel, reader, options)
    if skip is not None:
        frames.write(channel, (frames.TRYING,))
        sender.send(reader.skip(skip), always=True)
    while True:
        if is_careful := careful > 0:
            frames.write(channel, (frames.TRYING,))
        chunk = reader.read(1 if is_careful else portions.limit)
        careful -= len(chunk.entries)
        portions.take(chunk)
        sender.send(chunk, always=is_careful)
        if chunk.at_end:
            if not options.follow:
                os.read(channel, 1)  # the agent closes it once it has everything
                return
            _wait(channel, reader, options)


class _Sender:
    """Send chunks that tell something, and now and then one that does not."""

    def __init__(self, channel: int, reader: JournalReader, options: ReaderOptions) -> None:
        self._channel = channel
        self._packer = Packer()
        self._position = reader.position
        self._at_end = False
        self._pause = options.sign_of_life
        self._due = 0.0

    def send(self, chunk: Chunk, always: bool = False) -> None:
        """Send the chunk, unless the agent knows all that it says."""
        news = always or chunk.entries or chunk.gaps or chunk.unreadable or chunk.position != self._position
        if news or chunk.at_end is not self._at_end or time.monotonic() >= self._due:
            frames.write(self._channel, (frames.CHUNK, *chunk.dump(self._packer)))
            self._position, self._at_end = chunk.position, chunk.at_end
            self._due = time.monotonic() + self._pause


def _wait(channel: int, reader: JournalReader, options: ReaderOptions) -> None:
    """Wait until the journal changes, but at least `read_interval`; raises EOFError when the agent is gone."""
    earliest = time.monotonic() + options.read_interval
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    waiting.register(reader.fileno(), select.POLLIN)
    limit = reader.timeout()
    longest = options.poll_interval if limit is None else min(limit, options.poll_interval)
    found = waiting.poll(longest * 1000)
    if any(descriptor == channel for descriptor, _events in found):
        raise EOFError
    time.sleep(max(0.0, earliest - time.monotonic()))
    reader.process()


def _die_with(agent: int) -> None:
    """Have this process killed when the agent ends, even where it never gets to see its socket closed; see prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != agent:
        raise SystemExit  # it ended before that


if __name__ == "__main__":
    main()
