"""Ways of looking: which are tried for a probe, in which order, and what is said of those that do not work here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import Feed, ObservedBy, ProbeName, ProbeUnavailable

Opener = Callable[[ProbeName], Feed]
BY_PROGRAM: Final = frozenset((ObservedBy.LIBBPF, ObservedBy.BCC))
"""What looks by a BPF program."""


@dataclass(frozen=True, slots=True)
class Way:
    """Name a way of looking (`libbpf`, `bcc`, `fallback`) and how it is opened."""

    name: str
    open: Opener


@dataclass(slots=True)
class Refusal:
    """Tell of a way that does not work for some probes, for one cause."""

    way: str
    cause: str
    remedy: str
    probes: list[ProbeName] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.way} cannot look for {', '.join(self.probes)}: {self.cause}"
        return f"{text}. {self.remedy}" if self.remedy else text


def ways(config: EbpfConfig, entities: EntityMapper) -> list[Way]:
    """Return the ways that the configuration allows, best first. What a way needs is imported when it is opened."""

    def libbpf(name: ProbeName) -> Feed:
        from tapio_otel.receivers.ebpf.libbpf_feeds import open_libbpf

        return open_libbpf(name, config)

    def bcc(name: ProbeName) -> Feed:
        from tapio_otel.receivers.ebpf.bcc_feeds import open_bcc

        return open_bcc(name, config, entities)

    def fallback(name: ProbeName) -> Feed:
        from tapio_otel.receivers.ebpf.fallback import open_fallback

        return open_fallback(name, config, entities)

    chosen = {"auto": [Way("libbpf", libbpf), Way("bcc", bcc)], "libbpf": [Way("libbpf", libbpf)], "bcc": [Way("bcc", bcc)]}
    tried = chosen.get(config.loader, [])
    return [*tried, Way("fallback", fallback)] if config.fallback or config.loader == "none" else tried


class OpenedProbes:
    """Open every enabled probe by the first way that works, and keep what was refused.

    `feeds` holds what is open. `open` may be called again for probes that are not; `close` releases everything, safe twice.
    """

    def __init__(self, probes: Iterable[ProbeName], ways: list[Way]) -> None:
        self.probes = list(probes)
        self.feeds: dict[ProbeName, Feed] = {}
        self._ways = ways
        self._next: dict[ProbeName, int] = {}
        """The place in `ways` after that which serves the probe."""
        self._refusals: dict[tuple[str, str], Refusal] = {}
        self._told: set[str] = set()

    def open(self) -> None:
        """Open what is not open yet; what fails half-way leaves nothing behind."""
        self._refusals = {}
        try:
            for name in self.probes:
                if name not in self.feeds:
                    self._open_one(name, 0)
        except BaseException:
            self.close()
            raise

    def replace(self, name: ProbeName, cause: str) -> None:
        """Close a feed that failed and open the next best way, if there is one."""
        self.feeds.pop(name).close()
        place = self._next[name]
        self._refuse(name, self._ways[place - 1].name, cause, "")
        self._open_one(name, place)

    def _open_one(self, name: ProbeName, begin: int) -> None:
        for place, way in enumerate(self._ways[begin:], begin + 1):
            try:
                self.feeds[name] = way.open(name)
            except ProbeUnavailable as error:
                self._refuse(name, way.name, error.cause, error.remedy)
            except Exception as error:  # whatever is wrong with one way, the next may work
                self._refuse(name, way.name, f"{type(error).__name__}: {error}", "")
            else:
                self._next[name] = place
                return

    def _refuse(self, name: ProbeName, way: str, cause: str, remedy: str) -> None:
        self._refusals.setdefault((way, cause), Refusal(way, cause, remedy)).probes.append(name)

    @property
    def blind(self) -> list[ProbeName]:
        """Return the probes for which no way works."""
        return [name for name in self.probes if name not in self.feeds]

    @property
    def without_program(self) -> list[ProbeName]:
        """Return the probes that no BPF program serves."""
        return [name for name in self.probes if name not in self.feeds or self.feeds[name].observed_by not in BY_PROGRAM]

    def refusals(self) -> list[Refusal]:
        """Return why ways were refused, one entry for each way and cause."""
        return list(self._refusals.values())

    def tell(self, log: logging.Logger) -> None:
        """Write one line for each cause, and one that says who looks instead; none of them twice."""
        lines = [str(refusal) for refusal in self.refusals()]
        lines += [f"{name}: {note}" for name, feed in self.feeds.items() for note in feed.notes]
        for line in [*lines, self.summary()]:
            if line and line not in self._told:
                log.warning("%s", line)
        self._told.update(lines, [self.summary()])

    def summary(self) -> str:
        """Return one line that says what serves each probe that its first way does not; empty where none is degraded."""
        instead = [f"{name} by {feed.observed_by}" for name, feed in self.feeds.items() if self._next[name] > 1]
        parts = [f"watched in a lesser way: {', '.join(instead)}"] if instead else []
        parts += [f"not watched: {', '.join(self.blind)}"] if self.blind else []
        return "; ".join(parts)

    def close(self) -> None:
        """Release every feed."""
        feeds, self.feeds = self.feeds, {}
        for feed in feeds.values():
            feed.close()
