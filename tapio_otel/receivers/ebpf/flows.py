"""Flows: what happens to one flow over and over is told at once, and then once a window with how often it happened."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from tapio_otel.receivers.ebpf.observations import Observation, PacketDrop, TcpReset, TcpRetransmit

CAPACITY: Final = 4096
"""Flows that are followed at once; the window of the oldest closes early when there are more."""

OfFlow = PacketDrop | TcpRetransmit | TcpReset


@dataclass(slots=True)
class _Window:
    """Sum up what came after the first observation of a flow."""

    ends: float
    like: OfFlow
    more: OfFlow | None = None


class FlowWindows:
    """Sum up observations of the same flow, reason, interface and namespace over `window` seconds by the monotonic clock.

    Nothing is lost: over any time, the counts of what is given back add up to the counts of what was taken.
    """

    def __init__(self, window: float, capacity: int = CAPACITY) -> None:
        self._window = window
        self._capacity = capacity
        self._open: OrderedDict[OfFlow, _Window] = OrderedDict()

    def take(self, seen: list[Observation], now: float) -> list[Observation]:
        """Return what is to be told now: all that has no flow, the first of each flow, and windows that close."""
        told = self.due(now)
        for one in seen:
            if isinstance(one, PacketDrop | TcpRetransmit | TcpReset):
                told += self._take(one, now)
            else:
                told.append(one)
        return told

    def due(self, now: float) -> list[Observation]:
        """Return the sums of windows that have ended; a flow that was seen again is followed for another window."""
        told: list[Observation] = []
        while self._open:
            key, window = next(iter(self._open.items()))
            if window.ends > now:
                break
            del self._open[key]
            if window.more is not None:
                told.append(window.more)
                self._open[key] = _Window(now + self._window, window.like)
        return told

    def close(self) -> list[Observation]:
        """Return the sums of all windows, however long they would still be open, and follow no flow any more."""
        flows, self._open = self._open, OrderedDict()
        return [window.more for window in flows.values() if window.more is not None]

    def _take(self, one: OfFlow, now: float) -> list[Observation]:
        key = _what(one)
        window = self._open.get(key)
        if window is not None:
            window.more = one if window.more is None else _sum(window.more, one)
            return []
        told: list[Observation] = [one]
        if len(self._open) >= self._capacity:
            oldest = self._open.popitem(last=False)[1]
            told += [oldest.more] if oldest.more is not None else []
        self._open[key] = _Window(now + self._window, key)
        return told


def _what(one: OfFlow) -> OfFlow:
    """Return what two observations of one flow have in common."""
    if isinstance(one, PacketDrop):
        return replace(one, time_ns=0, count=0, suppressed=0, length=None)
    return replace(one, time_ns=0, count=0, suppressed=0)


def _sum(first: OfFlow, second: OfFlow) -> OfFlow:
    """Return both together, with the time of the first."""
    count, suppressed = first.count + second.count, first.suppressed + second.suppressed
    if isinstance(first, PacketDrop) and isinstance(second, PacketDrop):
        length = None if first.length is None or second.length is None else first.length + second.length
        return replace(first, count=count, suppressed=suppressed, length=length)
    return replace(first, count=count, suppressed=suppressed)
