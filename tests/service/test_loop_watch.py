"""A component that blocks the event loop is named, once, with the line that executes; a stopped process is not blocked."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from tapio_otel.component import Component, ComponentConfig
from tapio_otel.event import UnifiedEvent
from tapio_otel.service.loop_watch import BLOCKED_LOOKS, LoopWatch, culprit
from tests.components import UpperProcessor, events, make

INTERVAL = 0.02


class Blocking(UpperProcessor):
    """Take long about each batch."""

    type = "blocking"
    seconds = INTERVAL * BLOCKED_LOOKS * 3

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        _sleep(self.seconds)
        return events


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


async def watched(components: list[Component[ComponentConfig]], block: Callable[[], object]) -> list[str | None]:
    """Block the loop while it is watched; returns what was reported to health."""
    reports: list[str | None] = []
    watch = LoopWatch(logging.getLogger("tapio.service"), lambda: components, reports.append, INTERVAL)
    watch.start()
    await asyncio.sleep(INTERVAL * 3)
    block()
    await asyncio.sleep(INTERVAL * 5)
    watch.stop()
    return reports


async def test_the_component_whose_code_executes_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Two of one class: the very instance is told, with the function at work, and that it is over."""
    other, blocking = make(Blocking), make(Blocking)
    other.context.id = type(other.context.id)("blocking", "other")
    reports = await watched([other, blocking], lambda: blocking.process(events("a")))
    blocked, over = caplog.messages
    assert blocked.startswith("the event loop is blocked for 0.2 s by processors/blocking (at ")
    assert "in _sleep)" in blocked
    assert over.startswith("the event loop runs again; processors/blocking (at ")
    assert reports[0] is not None
    assert reports[-1] is None


async def test_code_of_no_component_is_told_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is accused; the line is there all the same."""
    await watched([], lambda: _sleep(Blocking.seconds))
    assert f"by no component (at {__file__}:" in caplog.messages[0]


async def test_a_busy_loop_is_not_a_blocked_one(caplog: pytest.LogCaptureFixture) -> None:
    """Short steps, however many, are nothing to tell."""

    async def busy() -> None:
        for _ in range(100):
            time.sleep(INTERVAL / 4)
            await asyncio.sleep(0)

    watch = LoopWatch(logging.getLogger("tapio.service"), list, interval=INTERVAL)
    watch.start()
    await busy()
    watch.stop()
    assert caplog.messages == []


def test_a_module_of_a_components_package_counts_as_its_code() -> None:
    """A helper function beside the component, without the component on its stack, still names it."""
    frames = []

    def stand() -> None:
        frames.append(sys._getframe())

    thread = threading.Thread(target=stand)
    thread.start()
    thread.join()
    assert culprit(frames[0], [make(Blocking)]).startswith("processors/blocking (at ")


def test_a_process_that_was_stopped_is_not_taken_for_blocked() -> None:
    """SIGSTOP for longer than a loop may be blocked, then SIGCONT: nothing is logged."""
    code = (
        "import asyncio, logging, sys\n"
        "from tapio_otel.service.loop_watch import LoopWatch\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "async def main():\n"
        "    watch = LoopWatch(logging.getLogger('x'), list, interval=0.02)\n"
        "    watch.start()\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(1.5)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.read() == ""
