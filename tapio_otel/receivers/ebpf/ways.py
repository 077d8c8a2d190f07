"""Ways of looking: which are tried for a probe, in which order, and what is said of those that do not work here.

The order is that of how much a way tells. Of an OOM kill the kernel's log tells more than BCC's programs can, such as whose
limit it was, and costs no compiler; so with `loader: auto` it comes first where it may be read.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import Feed, ObservedBy, ProbeName, ProbeUnavailable

Opener = Callable[[ProbeName], Feed]
LIBBPF, BCC, KMSG, MEMORY_EVENTS = "libbpf", "bcc", ObservedBy.KMSG.value, ObservedBy.MEMORY_EVENTS.value
CPU_STAT, PROC_NET = ObservedBy.CPU_STAT.value, ObservedBy.PROC_NET.value
PROGRAMS: Final = frozenset((LIBBPF, BCC))
"""The ways by a BPF program."""
_WITHOUT_PROGRAM: Final[Mapping[ProbeName, tuple[str, ...]]] = {
    ProbeName.OOM: (KMSG, MEMORY_EVENTS),
    ProbeName.CPU_THROTTLE: (CPU_STAT,),
    ProbeName.NET_DROP: (PROC_NET,),
    ProbeName.TCP_RETRANSMIT: (PROC_NET,),
    ProbeName.TCP_RESET: (PROC_NET,),
}
_MOST_TOLD: Final = 256


@dataclass(frozen=True, slots=True)
class Way:
    """Name a way of looking and how it is opened; one that `is_of_use` denies is passed over without a word."""

    name: str
    open: Opener
    is_of_use: Callable[[], bool] = lambda: True


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


def ways(config: EbpfConfig, entities: EntityMapper) -> dict[ProbeName, list[Way]]:
    """Return the ways that the configuration allows for each enabled probe, best first.

    What a way needs is imported when it is opened.
    """

    def libbpf(name: ProbeName) -> Feed:
        from tapio_otel.receivers.ebpf.libbpf_feeds import open_libbpf

        return open_libbpf(name, config)

    def bcc(name: ProbeName) -> Feed:
        from tapio_otel.receivers.ebpf.bcc_feeds import open_bcc

        return open_bcc(name, config, entities)

    def log(_name: ProbeName) -> Feed:
        from tapio_otel.receivers.ebpf.fallback import open_log

        return open_log(entities)

    def counters(name: ProbeName) -> Feed:
        from tapio_otel.receivers.ebpf.fallback import open_counters

        return open_counters(name, config, entities)

    known = {LIBBPF: Way(LIBBPF, libbpf), BCC: Way(BCC, bcc), KMSG: Way(KMSG, log)}
    known |= {name: Way(name, counters) for name in (MEMORY_EVENTS, CPU_STAT, PROC_NET)}
    if config.loader == "auto":
        known[BCC] = Way(BCC, bcc, bcc_is_of_use)
    return {name: [known[way] for way in order(name, config)] for name in config.probes.enabled()}


def order(name: ProbeName, config: EbpfConfig) -> list[str]:
    """Return the names of the ways that the configuration allows for a probe, best first; those by a program where required."""
    programs = {"auto": [LIBBPF, BCC], "none": []}.get(config.loader, [config.loader])
    others = list(_WITHOUT_PROGRAM[name]) if config.fallback else []
    if name is ProbeName.CPU_THROTTLE and (config.loader == "auto" or (others and not config.required)):
        programs = [way for way in programs if way != BCC]  # which cannot see it, and cpu.stat sees all of it
    if name is ProbeName.OOM and config.loader == "auto" and others and not config.required:
        return [LIBBPF, KMSG, BCC, MEMORY_EVENTS]
    return [*programs, *others]


def bcc_is_of_use() -> bool:
    """Tell whether BCC may do what libbpf could not: the kernel tells no BTF, and nothing that bars all programs does so."""
    from tapio_otel.receivers.ebpf.libbpf.causes import BTF, missing_rights

    try:
        with BTF.open("rb") as file:
            has_btf = bool(file.read(1))
    except OSError:
        has_btf = False
    return not has_btf and missing_rights() is None


class OpenedProbes:
    """Open every probe by the first of its ways that works, and keep what was refused.

    `feeds` holds what is open. `open` may be called again for probes that are not; `close` releases everything, safe twice.
    """

    def __init__(self, ways: Mapping[ProbeName, Sequence[Way]]) -> None:
        self.probes = list(ways)
        self.feeds: dict[ProbeName, Feed] = {}
        self._ways = ways
        self._places: dict[ProbeName, int] = {}
        """The place among the probe's ways of that which serves it."""
        self._refusals: dict[tuple[str, str], Refusal] = {}
        self._told: set[tuple[str, str]] = set()
        self._told_state = ""

    def open(self) -> None:
        """Open what is not open yet; what fails half-way leaves nothing behind."""
        blind = self.blind
        for name in blind:
            self._forget(name)
        try:
            for name in blind:
                self._open_one(name, 0)
        except BaseException:
            self.close()
            raise

    def replace(self, name: ProbeName, cause: str) -> None:
        """Close a feed that failed for a cause and open the next best way, if there is one."""
        with contextlib.suppress(Exception):  # it failed already
            self.feeds.pop(name).close()
        place = self._places[name]
        self._refuse(name, self._ways[name][place].name, cause, "")
        self._open_one(name, place + 1)

    def _open_one(self, name: ProbeName, begin: int) -> None:
        for place, way in enumerate(self._ways[name][begin:], begin):
            if not way.is_of_use():
                continue
            try:
                self.feeds[name] = way.open(name)
            except ProbeUnavailable as error:
                self._refuse(name, way.name, error.cause, error.remedy)
            except Exception as error:  # whatever is wrong with one way, the next may work
                remedy = "Build the programs anew with `make bpf`, or reinstall the package" if way.name == LIBBPF else ""
                self._refuse(name, way.name, described(error), remedy)
            else:
                self._places[name] = place
                return

    def _refuse(self, name: ProbeName, way: str, cause: str, remedy: str) -> None:
        probes = self._refusals.setdefault((way, cause), Refusal(way, cause, remedy)).probes
        if name not in probes:
            probes.append(name)

    def _forget(self, name: ProbeName) -> None:
        """Forget why a probe was refused, for it is tried again."""
        for key, refusal in list(self._refusals.items()):
            refusal.probes = [probe for probe in refusal.probes if probe != name]
            if not refusal.probes:
                del self._refusals[key]

    @property
    def blind(self) -> list[ProbeName]:
        """Return the probes for which no way works."""
        return [name for name in self.probes if name not in self.feeds]

    @property
    def without_program(self) -> list[ProbeName]:
        """Return the probes that no BPF program serves, or only some of theirs."""
        return [name for name in self.probes if self._way(name) not in PROGRAMS or skipped(self.feeds[name])]

    def _way(self, name: ProbeName) -> str:
        return self._ways[name][self._places[name]].name if name in self.feeds else ""

    def refusals(self) -> list[Refusal]:
        """Return why ways were refused, one entry for each way and cause."""
        return list(self._refusals.values())

    def missing_programs(self) -> str:
        """Return why not every probe is served by all of its BPF programs, in one line."""
        lines = [str(refusal) for refusal in self.refusals() if refusal.way in PROGRAMS]
        return "; ".join([*lines, *dict(self._skipped()).values()])

    def tell(self, log: logging.Logger) -> None:
        """Write one line for each new cause, and one that says how the probes are watched if that has changed."""
        lines = {(one.way, one.cause): str(one) for one in self.refusals()} | dict(self._skipped()) | self._notes()
        for key, line in lines.items():
            if key not in self._told:
                log.warning("%s", line)
        self._remember(lines)
        state = self.summary() or self._watching()
        if state != self._told_state:
            log.log(logging.WARNING if self.summary() else logging.INFO, "%s", state)
        self._told_state = state

    def give_up(self) -> str:
        """Return why nothing can be watched, in one line, for somebody else to tell it."""
        self._remember(self._refusals)
        self._told_state = self.summary()
        return "; ".join(map(str, self.refusals()))

    def _remember(self, told: Iterable[tuple[str, str]]) -> None:
        if len(self._told) > _MOST_TOLD:
            self._told.clear()
        self._told.update(told)

    def _skipped(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Yield a line for each program that was refused while its probe has others."""
        for name, feed in self.feeds.items():
            for line in skipped(feed):
                yield (name, line), f"{self._way(name)} looks for {name} without one of its programs: {line}"

    def _notes(self) -> dict[tuple[str, str], str]:
        """Return what the best ways note, the same of several probes once; lesser ones' notes are in the summary."""
        names: dict[str, list[ProbeName]] = {}
        for name, feed in self.feeds.items():
            if not self._places[name]:
                for note in feed.notes:
                    names.setdefault(note, []).append(name)
        return {("", note): f"{listed(probes)}: {note}" for note, probes in names.items()}

    def summary(self) -> str:
        """Return one line that says how each probe is watched that is not in its best way; empty where all are."""
        lesser = [name for name in self.feeds if self._places[name]]
        partly = [name for name, feed in self.feeds.items() if skipped(feed) and name not in lesser]
        parts = [f"watched in a lesser way: {self._by(lesser, True)}"] if lesser else []
        parts += [f"watched in part: {self._by(partly)}"] if partly else []
        parts += [f"not watched: {listed(self.blind)}"] if self.blind else []
        return "; ".join(parts)

    def _watching(self) -> str:
        return f"watching {self._by(self.probes)}" if self.probes else ""

    def _by(self, names: Iterable[ProbeName], with_notes: bool = False) -> str:
        """Return how these probes are watched, those that are watched alike together."""
        alike: dict[str, list[ProbeName]] = {}
        for name in names:
            feed = self.feeds[name]
            notes = f" ({'; '.join(feed.notes)})" if with_notes and feed.notes else ""
            alike.setdefault(f"{feed.observed_by}{notes}", []).append(name)
        return ", ".join(f"{listed(probes)} by {way}" for way, probes in alike.items())

    def close(self) -> None:
        """Release every feed."""
        feeds, self.feeds = self.feeds, {}
        for feed in feeds.values():
            feed.close()


def skipped(feed: Feed) -> Sequence[str]:
    """Return why some programs of a feed were refused, one line each; empty where it has all, or never had any."""
    found: Sequence[str] = getattr(feed, "skipped", ())
    return found


def listed(names: Sequence[str]) -> str:
    """Return names as in `oom, net_drop and tcp_reset`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def described(error: Exception) -> str:
    """Return an unexpected error in one line."""
    said = error.args[0] if isinstance(error, KeyError) and error.args else error  # KeyError's own text is in quotes
    return " ".join(f"{type(error).__name__}: {said}".split())
