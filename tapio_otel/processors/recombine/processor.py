"""The processor: looks at each line, keeps one unfinished stack a stream, and lets go of what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from tapio_otel.component import ComponentContext, Processor, Stability
from tapio_otel.event import UnifiedEvent
from tapio_otel.processors.recombine.config import RecombineConfig
from tapio_otel.processors.recombine.forms import Course, Forms
from tapio_otel.processors.recombine.group import Group, is_line, join, size_of
from tapio_otel.processors.recombine.languages import LANGUAGES
from tapio_otel.processors.recombine.rules import form_of
from tapio_otel.processors.recombine.streams import is_of_kernel, stream_of

_SHORTEST_INTERVAL: Final = 0.02  # seconds


class RecombineProcessor(Processor[RecombineConfig]):
    """Join the lines of stack traces."""

    type = "recombine"
    Config = RecombineConfig
    stability = Stability.BETA

    def __init__(
        self, context: ComponentContext, config: RecombineConfig, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(context, config)
        self.flush_interval = max(config.flush_timeout / 2, _SHORTEST_INTERVAL)
        self._monotonic = monotonic
        self._forms = Forms([*map(form_of, config.rules), *(LANGUAGES[name] for name in dict.fromkeys(config.languages))])
        self._groups: dict[str, Group] = {}
        self._now = 0.0
        self._joined = 0
        context.counters.gauge("recombine_open_groups", lambda: len(self._groups))

    @property
    def held_from(self) -> int | None:
        """Return the serial of the batch that the oldest line held back came in."""
        return min((group.serials[0] for group in self._groups.values()), default=None)

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Return the events with finished stacks joined, without unfinished ones; the very list where there are none."""
        start = 0 if self._groups else self._first_start(events)
        if start < 0:
            return events
        self._now = self._monotonic()
        passed = events[:start]
        self._look_at(events[start:], passed)
        self._count()
        return passed

    def flush(self, final: bool) -> list[UnifiedEvent]:
        """Return the stacks to which no line came for `flush_timeout`; all of them when `final`."""
        self._now = self._monotonic()
        limit = self._now - self.config.flush_timeout
        passed: list[UnifiedEvent] = []
        while due := [stream for stream, group in self._groups.items() if final or group.touched <= limit]:
            for stream in due:
                self._close(stream, passed)
        self._count()
        return passed

    def _first_start(self, events: list[UnifiedEvent]) -> int:
        """Return the index of the first line that begins a stack, -1 where none does.

        The hot path of ordinary lines: `Forms.may_begin` is written out here, as a call costs more than its tests.
        """
        heads, every_line, initial = self._forms.heads, self._forms.every_line, self._forms.initial
        first, second, third = self._forms.needles
        for index, event in enumerate(events):
            text = event.description
            if (
                (text[:2] in heads and text.startswith(heads[text[:2]]))
                or (initial in text and (first in text or second in text))
                or third in text
                or every_line
            ) and self._course(event) is not None:
                return index
        return -1

    def _look_at(self, events: Iterable[UnifiedEvent], passed: list[UnifiedEvent]) -> None:
        """Look at events while stacks may be unfinished; most of them belong to no such stream and begin nothing."""
        may_begin, groups, serial = self._forms.may_begin, self._groups, self.serial
        for event in events:
            try:
                if (groups and stream_of(event) in groups) or may_begin(event.description):
                    self._consider(event, serial, passed)
                else:
                    passed.append(event)
            except Exception as error:  # raised on, the batch would be given again, and what is held taken twice
                self.context.counters.add("dropped", reason="processor_error")
                self.context.warn(f"{type(error).__name__}: {error}; the event is dropped")

    def _consider(self, event: UnifiedEvent, serial: int, passed: list[UnifiedEvent]) -> None:
        """Let an event continue its stream's stack or else finish that, and then begin another or be passed on."""
        stream = stream_of(event)
        while stream in self._groups:
            if self._continues(stream, event, serial, passed):
                if self._groups[stream].course.is_over:
                    self._close(stream, passed)
                return
            self._close(stream, passed)
        if not self._begins(stream, event, serial, passed):
            passed.append(event)

    def _continues(self, stream: str, event: UnifiedEvent, serial: int, passed: list[UnifiedEvent]) -> bool:
        group, text = self._groups[stream], event.description
        if not is_line(event):
            return False
        if len(group.lines) < self.config.max_lines and group.size + size_of(text) <= self.config.max_size:
            if not group.course.add(text):
                return False
            group.append(event, serial, self._now)
        else:
            if not (group.course.is_firm and group.course.add(text)):
                return False
            self._pass_on(group.lines, passed)
            group.course.begin_anew()
            del self._groups[stream]
            self._groups[stream] = Group(group.course, event, serial, self._now)
        return True

    def _course(self, event: UnifiedEvent) -> Course | None:
        text = event.description
        if not self._forms.may_begin(text) or not is_line(event):
            return None
        return self._forms.begin(text, is_of_kernel(stream_of(event)))

    def _begins(self, stream: str, event: UnifiedEvent, serial: int, passed: list[UnifiedEvent]) -> bool:
        course = self._course(event)
        if course is None:
            return False
        while len(self._groups) >= self.config.max_groups:
            self._close(next(iter(self._groups)), passed)
        self._groups[stream] = Group(course, event, serial, self._now)
        return True

    def _close(self, stream: str, passed: list[UnifiedEvent]) -> None:
        """Pass on a stack; lines at its end that turned out not to belong to it are looked at anew."""
        group = self._groups.pop(stream)
        firm = group.course.firm
        self._pass_on(group.lines[:firm], passed)
        for event, serial in zip(group.lines[firm:], group.serials[firm:], strict=True):
            self._consider(event, serial, passed)

    def _pass_on(self, lines: list[UnifiedEvent], passed: list[UnifiedEvent]) -> None:
        passed.append(lines[0] if len(lines) == 1 else join(lines))
        self._joined += len(lines) - 1

    def _count(self) -> None:
        if self._joined:
            self.context.counters.add("recombined", self._joined)
            self._joined = 0
