"""Subjects: the entity that a text is about, made from what was extracted.

Only the kernel, and root on the node itself, may speak of other processes, units and containers than their own; a container's
pids are not the node's, so that its messages stay its own. A pid is looked up only in the boot it was given in, and only when
its process had begun before the event: what the same pid means by now is somebody else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from tapio_otel.entities import EntityMapper
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entities.process import ProcessFacts, read_process
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.patterns.pattern import Pattern, SubjectRule
from tapio_otel.patterns.writer import Writer, writer_of

VICTIM_SECONDS: Final = 5
"""How long, in the time of events, a cgroup that was told for a pid is still believed."""
_NANOSECONDS: Final = 1_000_000_000
_VICTIMS: Final = 256
_TICK: Final = _NANOSECONDS // os.sysconf("SC_CLK_TCK")
_COMM: Final = 15  # TASK_COMM_LEN - 1
_SHORT_ID: Final = 12
_MOST_PIDS: Final = 1 << 22
_OOM: Final = frozenset((EventType.OOM_KILL, EventType.CONTAINER_OOM))
_PLAIN: Final[Mapping[str, EntityType]] = {
    "interface": EntityType.NETWORK_INTERFACE,
    "device": EntityType.DEVICE,
    "mount": EntityType.MOUNT,
}


class Subjects:
    """Make the subjects of events, in their order, remembering which cgroup the kernel named for a victim.

    The kernel says in one line which cgroup a process that it is about to kill is in, and in the next that it killed the
    process, which by then nobody can look up.
    """

    def __init__(self, entities: EntityMapper) -> None:
        self._entities = entities
        self._victims: Bounded[tuple[str, str, str, str], tuple[EntityReference, int]] = Bounded(_VICTIMS)

    def of(self, pattern: Pattern, groups: Mapping[str, str], event: UnifiedEvent) -> EntityReference | None:
        """Return what the text of an event is about by a pattern that matched; None where that is not known."""
        rule = pattern.entity
        if rule is None:
            return None
        made = make_subject(pattern, groups, event, self._entities)
        if rule.type == "cgroup" and made is not None:
            self._remember(pattern, groups, event, made)
        elif rule.type == "process":
            return self._recall(pattern, groups.get(rule.group, ""), event) or made
        return made

    def _remember(self, pattern: Pattern, groups: Mapping[str, str], event: UnifiedEvent, made: EntityReference) -> None:
        pid = groups.get("pid", "")
        if pid or pattern.event_type in _OOM:
            self._victims.keep(_key(event, pid), (made, event.timestamp))

    def _recall(self, pattern: Pattern, pid: str, event: UnifiedEvent) -> EntityReference | None:
        """Return the cgroup that was told for a pid, or by kernels before 5.0 in the same breath, without a pid."""
        for known in (pid, "") if pattern.event_type in _OOM else (pid,):
            found = self._victims.get(_key(event, known))
            if found is not None and 0 <= event.timestamp - found[1] <= VICTIM_SECONDS * _NANOSECONDS:
                return found[0]
        return None


def _key(event: UnifiedEvent, pid: str) -> tuple[str, str, str, str]:
    writer = writer_of(event)
    return event.source, writer.transport, writer.boot or _node(event).uid, pid


def make_subject(
    pattern: Pattern, groups: Mapping[str, str], event: UnifiedEvent, entities: EntityMapper
) -> EntityReference | None:
    """Return the entity that a pattern's rule names, from the groups; None where it is missing, or not the writer's to name."""
    rule = pattern.entity
    value = groups.get(rule.group, "").strip() if rule is not None else ""
    if rule is None or not value:
        return None
    writer = writer_of(event)
    if rule.type in _PLAIN:
        return None if writer.contained else _plain(rule.type, value, event)
    if rule.type == "process":
        return _process(rule, value, groups, event, entities)
    if writer.known and not writer.trusted:
        return None
    return _MAKERS[rule.type](rule, value, groups, event, entities)


def _node(event: UnifiedEvent) -> EntityReference:
    return event.entity.lineage()[-1]


def _plain(type: str, value: str, event: UnifiedEvent) -> EntityReference:
    name = value.removeprefix("/dev/") if type == "device" else value
    return EntityReference(_PLAIN[type], name, parent=_node(event))


def _process(
    rule: SubjectRule, value: str, groups: Mapping[str, str], event: UnifiedEvent, entities: EntityMapper
) -> EntityReference | None:
    writer = writer_of(event)
    if (
        writer.contained
        or not (value.isascii() and value.isdecimal())
        or not 0 < len(value) <= 10
        or not 0 < int(value) <= _MOST_PIDS
    ):
        return None
    pid, name = int(value), groups.get(rule.name, "")
    facts = _alive(pid, name, event, writer, entities) if writer.trusted else None
    if facts is not None:
        return entities.of_pid(pid, facts.start_ticks, facts.comm)
    uid = f"process-{pid}-{writer.boot}" if writer.boot else f"process-{pid}"
    return EntityReference(EntityType.PROCESS, name or f"pid-{pid}", uid=uid, parent=_owner(event, writer))


def _owner(event: UnifiedEvent, writer: Writer) -> EntityReference:
    """Return what a process that is no more belonged to: the unit the event is about, unless that only reports it."""
    entity = event.entity
    reports = writer.trusted and entity.name == writer.unit
    return _node(event) if reports or entity.type != EntityType.SYSTEMD_UNIT else entity


def _alive(pid: int, name: str, event: UnifiedEvent, writer: Writer, entities: EntityMapper) -> ProcessFacts | None:
    """Return the facts about a process if it is certainly the one that a text speaks of."""
    if not writer.boot or writer.boot != _boot(entities.root_path):
        return None
    facts = read_process(pid, str(entities.root_path / "proc"))
    if facts is None or _started(facts) > event.timestamp:
        return None
    return facts if not name or name[:_COMM] == facts.comm[:_COMM] else None


def _started(facts: ProcessFacts) -> int:
    """Return when a process began, in nanoseconds since the epoch."""
    booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return booted + facts.start_ticks * _TICK


@lru_cache(maxsize=8)
def _boot(root_path: Path) -> str:
    try:
        return (root_path / "proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")
    except (OSError, ValueError):
        return ""


def _unit(
    _rule: SubjectRule, value: str, _groups: Mapping[str, str], event: UnifiedEvent, entities: EntityMapper
) -> EntityReference | None:
    if event.entity.type == EntityType.SYSTEMD_UNIT and event.entity.name == value:
        return None  # it is about the unit already, and knows more of it
    node = _node(event)
    if node.uid == entities.node.uid:
        return entities.of_unit(value)
    return EntityReference(EntityType.SYSTEMD_UNIT, value, parent=node)


def _container(
    _rule: SubjectRule, value: str, _groups: Mapping[str, str], event: UnifiedEvent, entities: EntityMapper
) -> EntityReference | None:
    uid = value.rpartition("://")[2].lower()
    known = entities.names.container(uid) if entities.names is not None else None
    return known or EntityReference(EntityType.CONTAINER, uid[:_SHORT_ID], uid=uid, parent=_node(event))


def _pod(
    rule: SubjectRule, value: str, groups: Mapping[str, str], event: UnifiedEvent, entities: EntityMapper
) -> EntityReference | None:
    namespace, uid = groups.get(rule.namespace, ""), groups.get(rule.uid, "")
    if not namespace and "/" in value:
        namespace, _, value = value.partition("/")
    known = entities.names.pod(uid) if uid and entities.names is not None else None
    return known or EntityReference(EntityType.POD, value, namespace, uid, _node(event))


def _cgroup(
    _rule: SubjectRule, value: str, _groups: Mapping[str, str], event: UnifiedEvent, entities: EntityMapper
) -> EntityReference | None:
    path = value.removeprefix("/sys/fs/cgroup")
    return entities.of_cgroup_path(path) if _node(event).uid == entities.node.uid else None


_Maker = Callable[[SubjectRule, str, Mapping[str, str], UnifiedEvent, EntityMapper], "EntityReference | None"]
_MAKERS: Final[Mapping[str, _Maker]] = {"unit": _unit, "container": _container, "pod": _pod, "cgroup": _cgroup}
