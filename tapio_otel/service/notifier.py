"""What the agent tells systemd, when it runs as a unit of `Type=notify` or `notify-reload`: ready, reloading, stopping, alive.

Does nothing without `NOTIFY_SOCKET` in the environment. The sign of life that `WatchdogSec=` asks for is given by the event
loop itself, so that systemd restarts an agent whose loop hangs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Final

STATUS_INTERVAL: Final = 5.0
"""Seconds between looks whether the status line has changed."""


class Notifier:
    """Send state changes to the service manager that started the agent, if one did."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._wanted = bool(environment.get("NOTIFY_SOCKET"))
        self._watchdog = _watchdog_seconds(environment) if self._wanted else None
        self._status = ""

    def ready(self, status: str) -> None:
        """Tell that everything has started, or that a reload has ended."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def reloading(self, seconds: float) -> None:
        """Tell that a reload has begun, which may take so long."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}\nEXTEND_TIMEOUT_USEC={int(seconds * 1e6)}\nSTATUS=reloading")

    def stopping(self, seconds: float) -> None:
        """Tell that the agent drains, which may take so long."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(seconds * 1e6)}\nSTATUS=draining")

    async def keep_telling(self, status: Callable[[], str]) -> None:
        """Give the sign of life, and the status when it has changed, until cancelled."""
        if not self._wanted:
            return
        interval = min(STATUS_INTERVAL, self._watchdog / 2) if self._watchdog else STATUS_INTERVAL
        while True:
            words = []
            if self._watchdog:
                words.append("WATCHDOG=1")
            if (line := _line(status())) != self._status:
                words.append(f"STATUS={line}")
                self._status = line
            if words:
                self._send("\n".join(words))
            await asyncio.sleep(interval)

    def _send(self, state: str) -> None:
        if self._wanted:
            from systemd import daemon

            try:
                daemon.notify(state)
            except OSError:  # whoever listened is gone: nobody to tell
                self._wanted = False


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return how long systemd waits for a sign of life, None when it does not."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() and int(text) else None


def _line(text: str) -> str:
    return text.replace("\n", " ")
