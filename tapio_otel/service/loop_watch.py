"""The watch on the event loop: says which component blocks it, for then nothing else of the agent runs.

A thread of its own looks at a beat that the loop gives. Looks are counted and not the clock, so that a process that was stopped
or starved, whose threads all stood still, is not taken for a blocked loop.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, Final

from tapio_otel.component import Component

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks."""
BLOCKED_LOOKS: Final = 10
"""Looks without a beat after which the loop counts as blocked: five seconds."""

_CONTAINERS: Final = ("receivers", "processors", "exporters", "extensions")


class LoopWatch:
    """Watch the loop of the thread that calls `start`; `components` are those that may block it."""

    def __init__(
        self,
        log: logging.Logger,
        components: Callable[[], Iterable[Component[Any]]],
        report: Callable[[str | None], None] = lambda _problem: None,
        interval: float = LOOK_INTERVAL,
    ) -> None:
        self._log = log
        self._components = components
        self._report = report
        self._interval = interval
        self._beats = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watched = 0

    def start(self) -> None:
        """Begin to watch; to be called on the loop."""
        self._watched = threading.get_ident()
        self._beat()
        self._thread = threading.Thread(target=self._look, name="loop watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; safe to call twice."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._beats += 1
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._beat)

    def _look(self) -> None:
        seen, looks, blocker, since = self._beats, 0, "", time.monotonic()
        while not self._stop.wait(self._interval):
            if self._beats != seen:
                if blocker:
                    self._tell_over(blocker, time.monotonic() - since)
                seen, looks, blocker, since = self._beats, 0, "", time.monotonic()
                continue
            looks += 1
            if looks >= BLOCKED_LOOKS and not blocker:
                blocker = self._tell()

    def _tell(self) -> str:
        blocker = culprit(sys._current_frames().get(self._watched), self._components())
        self._report(f"the event loop is blocked by {blocker}: nothing else runs")
        self._log.error(
            "the event loop is blocked for %g s by %s: nothing else of the agent runs meanwhile. "
            "A component must leave what takes long to a thread (asyncio.to_thread)",
            *(BLOCKED_LOOKS * self._interval, blocker),
        )
        return blocker

    def _tell_over(self, blocker: str, seconds: float) -> None:
        self._report(None)
        self._log.warning("the event loop runs again; %s blocked it for %.1f s", blocker, seconds)


def culprit(frame: FrameType | None, components: Iterable[Component[Any]]) -> str:
    """Return the component whose code executes in a stack, innermost first, with its line; else the innermost frame."""
    known = list(components)
    innermost = frame
    while frame is not None:
        owners = _owners(frame, known)
        if owners:
            names = sorted(f"{one.kind.value}/{one.context.id}" for one in _at_work(frame, owners))
            return f"{' or '.join(names)} (at {_place(frame)})"
        frame = frame.f_back
    return f"no component (at {_place(innermost)})"


def _owners(frame: FrameType, components: Sequence[Component[Any]]) -> list[Component[Any]]:
    """Return the components whose own code a frame executes."""
    own, module = frame.f_locals.get("self"), f"{frame.f_globals.get('__name__', '')}."
    return [one for one in components if own is one] or [
        one for one in components if module.startswith(f"{_home(type(one).__module__)}.")
    ]


def _at_work(frame: FrameType, owners: list[Component[Any]]) -> list[Component[Any]]:
    """Return the one of several components of equal code that has called it, if the stack tells."""
    outer: FrameType | None = frame
    while outer is not None and len(owners) > 1:
        caller = outer.f_locals.get("self")
        owners = [one for one in owners if one is caller] or owners
        outer = outer.f_back
    return owners


def _home(module: str) -> str:
    """Return the package that is a component's own: its module's, where that is not where all components of a kind are."""
    package = module.rpartition(".")[0]
    return module if not package or package.rpartition(".")[2] in _CONTAINERS else package


def _place(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}" if frame is not None else "unknown place"
