"""Events: what was seen becomes what is told, the same way for every way of looking.

Timestamps are turned into wall-clock time, cgroups and pids into entities, the kernel's numbers into its names. What an
observation cannot tell has no attribute. Title, description and final severity are the normalizer's (source `ebpf`): `raw`,
which holds the observation, marks events that it has not seen yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tapio_otel.entities import EntityMapper, parse_cgroup_path
from tapio_otel.entities.process import start_ticks
from tapio_otel.entity import EntityReference
from tapio_otel.event import AttributeValue, EventType, Severity, Source, UnifiedEvent
from tapio_otel.identity import event_id
from tapio_otel.receivers.ebpf.clock import WallClock
from tapio_otel.receivers.ebpf.config import CpuThrottleConfig, EbpfConfig, ProbeConfig
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName
from tapio_otel.receivers.ebpf.observations import (
    CgroupFacts,
    CpuThrottle,
    Flow,
    Observation,
    OomKill,
    PacketDrop,
    TcpReset,
    TcpRetransmit,
)
from tapio_otel.receivers.ebpf.records import CUT

EVENTS_LOST: Final = "events_lost"
"""The type of the event that tells what could not be seen."""

_MEMORY: Final = "memory"
_CPU: Final = "cpu"
"""The controllers in whose hierarchies the ids of an observation's cgroups are to be looked up."""
_REASON_PREFIXES: Final = re.compile(r"^(SKB_DROP_REASON|SKB_NOT_DROPPED|SK_RST_REASON)_")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_KINDS: Final[Mapping[type, tuple[ProbeName, str]]] = {
    OomKill: (ProbeName.OOM, EventType.OOM_KILL),
    CpuThrottle: (ProbeName.CPU_THROTTLE, EventType.CPU_THROTTLE),
    PacketDrop: (ProbeName.NET_DROP, EventType.NETWORK_DROP),
    TcpRetransmit: (ProbeName.TCP_RETRANSMIT, EventType.TCP_RETRANSMIT),
    TcpReset: (ProbeName.TCP_RESET, EventType.TCP_RESET),
}

Attributes = dict[str, AttributeValue]


class EventMaker:
    """Make events of observations.

    `boot_id` (the running kernel's unless given) makes ids unique over boots. `drop_reasons` and `reset_reasons` name the
    kernel's numbers, with or without their prefix; a number that they lack is told as it is.
    """

    def __init__(
        self,
        entities: EntityMapper,
        boot_id: str = "",
        clock: WallClock | None = None,
        drop_reasons: Mapping[int, str] | None = None,
        reset_reasons: Mapping[int, str] | None = None,
    ) -> None:
        self._entities = entities
        self._boot_id = boot_id or _running_boot()
        self._clock = clock or WallClock()
        self._drop_reasons = {number: plain_reason(name) for number, name in (drop_reasons or {}).items()}
        self._reset_reasons = {number: plain_reason(name) for number, name in (reset_reasons or {}).items()}

    def events(self, observations: Iterable[Observation], observed_by: str, observed_ns: int) -> list[UnifiedEvent]:
        """Return an event for each observation, in order; `observed_ns` is the wall-clock time of the reading."""
        difference = self._clock.difference()
        return [self._event(one, one.time_ns + difference, str(observed_by), observed_ns) for one in observations]

    def loss(self, probe: ProbeName, lost: Mapping[str, int], observed_ns: int) -> UnifiedEvent:
        """Return the event that tells how much more a probe could not see, by reason."""
        told: Attributes = {"probe": probe.value, "count": sum(lost.values())}
        told |= {f"lost_{reason}": amount for reason, amount in lost.items()}
        identity = event_id(self._boot_id, EVENTS_LOST, probe, observed_ns)
        return self._unnormalised(identity, observed_ns, observed_ns, EVENTS_LOST, self._entities.node, told, dict(lost))

    def passes(self, observation: Observation, config: EbpfConfig) -> bool:
        """Tell whether an observation is worth an event: thresholds, ignored reasons, cgroup patterns.

        Where the cgroup is unknown, patterns of what is wanted do not match, and neither do those of what is left out.
        """
        options: ProbeConfig = getattr(config.probes, _KINDS[type(observation)][0])
        if isinstance(observation, CpuThrottle) and not _is_throttled(observation, config.probes.cpu_throttle):
            return False
        if isinstance(observation, PacketDrop) and self._drop_reason(observation) in config.probes.net_drop.ignored_reasons:
            return False
        if not options.cgroups and not options.exclude_cgroups:
            return True
        paths = [path for facts, controller in _cgroups(observation) if (path := self._path(facts, controller))]
        return _is_wanted(paths, tuple(options.cgroups), tuple(options.exclude_cgroups))

    def _event(self, seen: Observation, timestamp: int, observed_by: str, observed_ns: int) -> UnifiedEvent:
        probe, kind = _KINDS[type(seen)]
        identity = event_id(self._boot_id, probe, *_identity(seen))
        attributes, entity = self._tell(seen)
        told = _told({**attributes, "observed_by": observed_by})
        return self._unnormalised(identity, timestamp, observed_ns, kind, entity, told, seen)

    @staticmethod
    def _unnormalised(
        identity: str, timestamp: int, observed: int, kind: str, entity: EntityReference, told: Attributes, raw: Any
    ) -> UnifiedEvent:
        event = UnifiedEvent(
            identity, timestamp, Source.EBPF, kind, Severity.WARNING, entity, title=kind, attributes=told, observed=observed
        )
        event.raw = raw
        return event

    def _tell(self, seen: Observation) -> tuple[Mapping[str, Any], EntityReference]:
        if isinstance(seen, OomKill):
            return self._tell_oom(seen), self._victim(seen)
        if isinstance(seen, CpuThrottle):
            return self._tell_throttle(seen), self._owner(seen)
        if isinstance(seen, PacketDrop):
            return self._tell_drop(seen), self._owner(seen)
        return self._tell_tcp(seen), self._owner(seen)

    def _tell_oom(self, seen: OomKill) -> Mapping[str, Any]:
        cgroup, memory = self._most_telling(_cgroups(seen)), self._path(seen.memory_cgroup, _MEMORY)
        return {
            **_copied(seen, "pid", "comm", "memory_limit", "memory_usage"),
            "cgroup": cgroup,
            "cgroup_id": None if cgroup else seen.cgroup.id or seen.memory_cgroup.id,
            **_copied(seen, "uid", "oom_score_adj", "anon_rss", "file_rss", "shmem_rss", "total_vm", "page_tables"),
            **_copied(seen, "scope", "trigger_pid", "trigger_comm"),
            "limit_cgroup": self._path(seen.limit_cgroup, _MEMORY),
            "memory_cgroup": memory if memory != cgroup else None,
            "kills": seen.kills if seen.kills != 1 else None,
        }

    def _tell_throttle(self, seen: CpuThrottle) -> Mapping[str, Any]:
        return {
            **_copied(seen, "throttled_ns", "runtime_ns"),
            "throttle_ratio": seen.throttled_periods / seen.periods if seen.periods else None,
            **_copied(seen, "periods", "throttled_periods", "quota_ns", "period_ns", "window_ns"),
            **self._where(seen.cgroup, _CPU),
        }

    def _tell_drop(self, seen: PacketDrop) -> Mapping[str, Any]:
        return {
            **_ends(seen.flow),
            "reason": self._drop_reason(seen),
            **_copied(seen, "interface", "length"),
            **self._tell_socket(seen),
        }

    def _tell_tcp(self, seen: TcpRetransmit | TcpReset) -> Mapping[str, Any]:
        told = {"direction": seen.direction, "reason": self._reset_reason(seen.reason)} if isinstance(seen, TcpReset) else {}
        return {**_ends(seen.flow), **told, "state": seen.state, **self._tell_socket(seen)}

    def _tell_socket(self, seen: PacketDrop | TcpRetransmit | TcpReset) -> Mapping[str, Any]:
        return {
            **_copied(seen, "network_namespace", "count"),
            "suppressed": seen.suppressed or None,
            "socket_uid": seen.uid,
            **self._where(seen.cgroup),
        }

    def _drop_reason(self, seen: PacketDrop) -> str:
        if seen.reason is None:
            return plain_reason(seen.reason_name)
        return self._drop_reasons.get(seen.reason) or plain_reason(seen.reason_name) or str(seen.reason)

    def _reset_reason(self, reason: str) -> str:
        number = int(reason) if reason.isascii() and reason.isdigit() else -1
        return self._reset_reasons.get(number) or plain_reason(reason)

    def _where(self, facts: CgroupFacts, controller: str = "") -> Mapping[str, Any]:
        path = self._path(facts, controller)
        return {"cgroup": path} if path else {"cgroup_id": facts.id or None}

    def _path(self, facts: CgroupFacts, controller: str = "") -> str:
        """Return a cgroup's path as the kernel told it; from the index where it did not, or not the whole of it."""
        if facts.path and not facts.path.startswith(CUT):
            return facts.path
        return (self._entities.cgroup_path(facts.id, controller) if facts.id else None) or facts.path

    def _owner(self, seen: Observation) -> EntityReference:
        """Return the container or unit that the cgroups belong to, else the node."""
        cgroups = (*_cgroups(seen), (seen.limit_cgroup, _MEMORY)) if isinstance(seen, OomKill) else _cgroups(seen)
        return self._entities.of_cgroup_path(self._most_telling(cgroups)) or self._entities.node

    def _most_telling(self, cgroups: Iterable[tuple[CgroupFacts, str]]) -> str:
        """Return the path that names the nearest owner, the root only where nothing else is known.

        On v1, one hierarchy may know the unit and another the container, or nothing.
        """
        paths = [path for facts, controller in cgroups if (path := self._path(facts, controller))]
        return max(paths, key=lambda path: (parse_cgroup_path(path).tells, path != "/"), default="")

    def _victim(self, seen: OomKill) -> EntityReference:
        """Return whose process it was. The process is about to go: /proc is asked last, and only about the same start."""
        if seen.pid is None:
            return self._owner(seen)
        start = None if seen.start_boottime_ns is None else start_ticks(seen.start_boottime_ns)
        return self._entities.of_pid(seen.pid, start, seen.comm, self._most_telling(_cgroups(seen)))


def plain_reason(name: str) -> str:
    """Return a reason's name without the prefix of the kernel's enum."""
    return _REASON_PREFIXES.sub("", name)


def _running_boot() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""  # ids are then unique within one boot only


def _told(attributes: Mapping[str, Any]) -> Attributes:
    return {key: value for key, value in attributes.items() if value is not None and value != ""}


def _copied(seen: Observation, *names: str) -> Attributes:
    return {name: getattr(seen, name) for name in names}


def _ends(flow: Flow) -> Attributes:
    return {name: getattr(flow, name) for name in ("protocol", "src_ip", "src_port", "dst_ip", "dst_port")}


def _identity(seen: Observation) -> tuple[str | int, ...]:
    """Return what tells apart occurrences that one probe saw in one boot."""
    if isinstance(seen, OomKill) and seen.sequence is not None:
        return ObservedBy.KMSG.value, seen.sequence  # the same when it is read again: the log's clock drifts, cgroups go
    return seen.time_ns, *_at_its_time(seen)


def _at_its_time(seen: Observation) -> tuple[str | int, ...]:
    where = seen.cgroup.id or seen.cgroup.path
    if isinstance(seen, OomKill):
        return seen.pid or 0, where, seen.memory_cgroup.id or seen.memory_cgroup.path
    if isinstance(seen, CpuThrottle):
        return (where,)
    flow = seen.flow
    ends = (flow.protocol, flow.src_ip, flow.src_port or 0, flow.dst_ip, flow.dst_port or 0)
    common = (*ends, seen.network_namespace or 0, where)
    if isinstance(seen, PacketDrop):
        return *common, str(seen.reason), seen.reason_name, seen.interface
    return (*common, seen.state, seen.direction) if isinstance(seen, TcpReset) else (*common, seen.state)


def _is_throttled(seen: CpuThrottle, options: CpuThrottleConfig) -> bool:
    ratio = seen.throttled_periods / seen.periods if seen.periods else 0.0
    throttled = seen.throttled_ns > 0 or seen.throttled_periods > 0
    return throttled and ratio >= options.min_ratio and seen.throttled_ns >= options.min_throttled * 1e9


def _cgroups(seen: Observation) -> tuple[tuple[CgroupFacts, str], ...]:
    """Return the cgroups that tell whose occurrence it is, each with the controller that its id is of."""
    if isinstance(seen, OomKill):
        return (seen.cgroup, ""), (seen.memory_cgroup, _MEMORY)
    return ((seen.cgroup, _CPU if isinstance(seen, CpuThrottle) else ""),)


def _is_wanted(paths: list[str], include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    if exclude and any(map(_pattern(exclude).match, paths)):
        return False
    return not include or any(map(_pattern(include).match, paths))


@lru_cache(maxsize=64)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)))
