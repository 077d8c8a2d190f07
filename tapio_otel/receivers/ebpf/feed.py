"""Feeds: one way of looking at one kind of occurrence, opened and ready to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from tapio_otel.receivers.ebpf.observations import Observation


class ProbeName(StrEnum):
    """Name the probes; each has `bpf/<name>.bpf.c`."""

    OOM = "oom"
    CPU_THROTTLE = "cpu_throttle"
    NET_DROP = "net_drop"
    TCP_RETRANSMIT = "tcp_retransmit"
    TCP_RESET = "tcp_reset"


class ObservedBy(StrEnum):
    """Name the ways of looking, as events tell them in `tapio.observed_by`."""

    LIBBPF = "ebpf/libbpf"
    BCC = "ebpf/bcc"
    KMSG = "kmsg"
    MEMORY_EVENTS = "memory.events"
    CPU_STAT = "cpu.stat"
    PROC_NET = "proc/net"


class ProbeUnavailable(Exception):
    """Report why one way of looking does not work here: one line of cause, one of remedy (may be empty)."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}. {remedy}" if remedy else cause)
        self.cause, self.remedy = cause, remedy


class Feed(Protocol):
    """Give what was seen since the last reading. Opened feeds hold descriptors: `close` releases all, safe to call twice."""

    observed_by: ObservedBy

    @property
    def notes(self) -> Sequence[str]:
        """Return what the user should know about the options, such as a name that this kernel lacks; one line each."""

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable when something cannot wait for the next tick; None when all can."""

    @property
    def interval(self) -> float:
        """Return the seconds between two readings that the descriptor does not ask for; 0 for every tick of the receiver."""

    def read(self) -> list[Observation]:
        """Return what was seen, in order, without waiting."""

    def lost(self) -> Mapping[str, int]:
        """Return what went unseen since the feed was opened, by reason: `ring_full`, `suppressed`, `overwritten`…"""

    def close(self) -> None:
        """Release programs, maps and descriptors."""


@runtime_checkable
class Finishing(Protocol):
    """Be a feed that keeps something for later readings: sums over a window."""

    def finish(self) -> list[Observation]:
        """Return what `read` does, and what it would have kept for a later reading: for the last time."""


@runtime_checkable
class Resuming(Protocol):
    """Be a feed that can go on where an earlier one stopped, also one of an earlier run of the agent."""

    @property
    def position(self) -> dict[str, Any] | None:
        """Return up to where it has read, JSON-able; None where it cannot be resumed."""

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go on behind a position; without effect once it has been read, and for one that is none."""


@runtime_checkable
class Stirring(Protocol):
    """Be a feed that can tell whether a tick would find something."""

    def stirred(self) -> int | None:
        """Return a descriptor that is readable while a reading would give something; None where none can tell."""


def last_of(feed: Feed) -> list[Observation]:
    """Return all that a feed still has, before it is closed."""
    return feed.finish() if isinstance(feed, Finishing) else feed.read()
