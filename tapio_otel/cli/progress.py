"""The progress of a finite run: a bar with rate and remaining time, on a terminal only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tapio_otel.service.runner import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import Task, TaskID


def progress_display(events_shown: bool) -> Progress | None:
    """Return the display, or None where it has no place: no terminal, or one that shows the events themselves."""
    if not sys.stderr.isatty() or (events_shown and sys.stdout.isatty()):
        return None
    return _Display()


class _Display:
    """Create the bar when a finite run first reports; other runs never see one."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: int, total: int | None) -> None:
        """Show how far one receiver has come, in entries."""
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=total)
        self._bar.update(self._tasks[name], completed=done, total=total)

    def close(self) -> None:
        """Leave the bar as it last was and give the terminal back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Show entries a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
