"""The plan of a reload: which components stay, which go and which are new, by comparing two configurations.

A component stays when another one of the same kind, id and options would take its place: it keeps what it knows, has queued and
is connected to. A processor is told by its pipeline, too: each pipeline has its own.
Whoever names an extension in its options (a sending queue its storage) goes with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from tapio_otel.component import Component, ComponentConfig, ComponentId, Kind
from tapio_otel.config.loader import Configuration, RegistryView
from tapio_otel.config.service import ServiceConfig

START_ORDER: Final = (Kind.EXTENSION, Kind.EXPORTER, Kind.PROCESSOR, Kind.RECEIVER)


@dataclass(frozen=True, slots=True)
class Slot:
    """Name a component's place: kind and id, for a processor also its pipeline."""

    kind: Kind
    id: ComponentId
    pipeline: ComponentId | None = None

    def __str__(self) -> str:
        where = f" of {self.pipeline}" if self.pipeline else ""
        return f"{self.kind.value}/{self.id}{where}"


FileState = tuple[str, int, int, int]
"""A path with the inode, size and time of change (ns) of what is there; zeros where nothing is."""


@dataclass(frozen=True, slots=True)
class Part:
    """Hold all that makes one component another one: its options, and the state of files that it reads at creation."""

    config: ComponentConfig
    files: tuple[FileState, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Say which slots keep their component, which lose it (upstream first) and which get one (downstream first).

    A slot whose component changes is in both `stop` and `start`.
    """

    keep: frozenset[Slot] = field(default_factory=frozenset)
    stop: tuple[Slot, ...] = ()
    start: tuple[Slot, ...] = ()


def parts(configuration: Configuration, registry: RegistryView) -> dict[Slot, Part]:
    """Return what a configuration puts in each slot, in the order in which components start."""
    named: dict[Slot, None] = {}
    service = configuration.service
    named |= {Slot(Kind.EXTENSION, id): None for id in service.extensions}
    named |= {Slot(Kind.EXPORTER, id): None for pipeline in service.pipelines.values() for id in pipeline.exporters}
    for id, pipeline in service.pipelines.items():
        named |= {Slot(Kind.PROCESSOR, processor, id): None for processor in pipeline.processors}
    named |= {Slot(Kind.RECEIVER, id): None for pipeline in service.pipelines.values() for id in pipeline.receivers}
    return {slot: _part(slot, configuration, registry) for slot in named}


def plan(running: Mapping[Slot, Part], wanted: Mapping[Slot, Part]) -> Plan:
    """Return how to come from what runs to what is wanted."""
    keep = {slot for slot, part in wanted.items() if running.get(slot) == part}
    while gone := {slot for slot in keep if not _extensions_named(wanted[slot].config, running, wanted) <= keep}:
        keep -= gone
    start = sorted((slot for slot in wanted if slot not in keep), key=_start_rank)
    stop = sorted((slot for slot in running if slot not in keep), key=_start_rank)
    return Plan(frozenset(keep), tuple(reversed(stop)), tuple(start))


def fixed_settings(old: ServiceConfig, new: ServiceConfig) -> list[str]:
    """Return the names of settings that differ and only a restart can change."""
    pairs = {
        "service.state_dir": (old.state_dir, new.state_dir),
        "service.root_path": (old.root_path, new.root_path),
        "service.telemetry.resource": (old.telemetry.resource, new.telemetry.resource),
    }
    return [name for name, (before, after) in pairs.items() if before != after]


def _start_rank(slot: Slot) -> int:
    return START_ORDER.index(slot.kind)


def _part(slot: Slot, configuration: Configuration, registry: RegistryView) -> Part:
    config = configuration.section(slot.kind)[slot.id]
    component: type[Component[Any]] = registry.find(slot.kind, slot.id.type)
    return Part(config, tuple(map(_state, component.files_read(config))))


def _state(path: Path) -> FileState:
    with contextlib.suppress(OSError):
        found = path.stat()
        return str(path), found.st_ino, found.st_size, found.st_mtime_ns
    return str(path), 0, 0, 0


def _extensions_named(config: ComponentConfig, *known: Mapping[Slot, Part]) -> set[Slot]:
    """Return the slots of extensions that options name; an equal text that means something else only costs a restart."""
    extensions = {str(slot.id): slot for slots in known for slot in slots if slot.kind is Kind.EXTENSION}
    return {extensions[text] for text in _texts(config) if text in extensions} if extensions else set()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, (str, ComponentId)):
        yield str(value)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _texts(one)
