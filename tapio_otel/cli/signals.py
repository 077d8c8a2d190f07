"""Signals of a running agent: the first SIGTERM or SIGINT drains, the second ends at once, SIGHUP reloads, SIGUSR1 tells.

Signals are taken by a thread of their own, so that the second one works even while a component blocks the event loop. The
handlers themselves do nothing: Python writes the number of each signal to a socket, which the thread reads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tapio_otel.cli import early_hangups

ENDING: Final = frozenset((signal.SIGTERM, signal.SIGINT))


class Signals:
    """Call `stop` at the first ending signal, `reload` at SIGHUP and `tell` at SIGUSR1; end the process at the second.

    They are called on the event loop.

    A SIGHUP that comes because the terminal was closed ends the agent, too, unless it was started to survive that (nohup).
    """

    def __init__(self, stop: Callable[[], None], reload: Callable[[], None], tell: Callable[[], None]) -> None:
        self._stop = stop
        self._reload = reload
        self._tell = tell
        self._survives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._terminal = next((number for number in (0, 2) if os.isatty(number)), None)

    def listen(self) -> None:
        """Take signals from now on; to be called on the loop, in the main thread."""
        loop = asyncio.get_running_loop()
        numbers, written = socket.socketpair()
        written.setblocking(False)
        signal.set_wakeup_fd(written.detach(), warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda _number, _frame: None)
        if early_hangups:
            (self._stop if self._is_hangup() else self._reload)()
        threading.Thread(target=self._take, args=(numbers, loop), name="signals", daemon=True).start()

    def _take(self, numbers: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        ending = False
        while True:
            for number in numbers.recv(64):
                if number == signal.SIGHUP:
                    _on(loop, self._stop if self._is_hangup() else self._reload)
                elif number == signal.SIGUSR1:
                    _on(loop, self._tell)
                elif number in ENDING and ending:
                    os._exit(128 + number)
                elif number in ENDING:
                    ending = True
                    _on(loop, self._stop)

    def _is_hangup(self) -> bool:
        """Tell whether the terminal that the agent was started from is gone."""
        if self._terminal is None or self._survives:
            return False
        try:
            os.tcgetpgrp(self._terminal)
        except OSError:
            return True
        return False


def end_process(status: int) -> None:
    """End the process without waiting for anything that still runs in it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _on(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the process is about to end
        loop.call_soon_threadsafe(call)
