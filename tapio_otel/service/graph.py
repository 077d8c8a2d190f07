"""The graph: the components a configuration names, created and joined to pipelines, nothing started yet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tapio_otel.component import (
    Component,
    ComponentConfig,
    ComponentContext,
    ComponentError,
    ComponentId,
    Exporter,
    Extension,
    Kind,
    Processor,
    Receiver,
    Scope,
)
from tapio_otel.config.loader import Configuration
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.entities import EntityMapper
from tapio_otel.pipeline import Pipeline
from tapio_otel.registry import Registry
from tapio_otel.service.health import Health
from tapio_otel.service.logs import ROOT
from tapio_otel.service.reload import Part, Slot, parts
from tapio_otel.service.telemetry import ComponentCounters, Telemetry
from tapio_otel.service.view import RunningView
from tapio_otel.version import VERSION


class StartError(Exception):
    """Report why the service could not start; the message names the component and what to do.

    `problems` are the places of a component's own files and options that are wrong, where these are what is wrong; `component`
    is the path of the component that is the reason, where one is.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = (), component: str = "") -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.component = component


@dataclass(slots=True)
class Graph:
    """Hold every component that takes part, by what it is."""

    extensions: list[Extension[Any]] = field(default_factory=list)
    exporters: list[Exporter[Any]] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    receivers: dict[ComponentId, Receiver[Any]] = field(default_factory=dict)
    reads: dict[ComponentId, list[Pipeline]] = field(default_factory=dict)
    """The pipelines each receiver feeds."""
    components: dict[Slot, Component[Any]] = field(default_factory=dict)
    """All of them by their slot, in the order in which they start."""
    parts: dict[Slot, Part] = field(default_factory=dict)
    """What each was made of."""


class GraphBuilder:
    """Create components from a validated configuration; those that no pipeline uses are left out."""

    def __init__(
        self,
        configuration: Configuration,
        registry: Registry,
        telemetry: Telemetry,
        health: Health,
        state_dir: Path,
        entities: EntityMapper | None = None,
        view: RunningView | None = None,
    ) -> None:
        self.configuration = self._configuration = configuration
        self.registry = self._registry = registry
        self.telemetry = self._telemetry = telemetry
        self._health = health
        self._state_dir = state_dir
        self._entities = entities or EntityMapper(configuration.service.root_path)
        self._view = view
        self._components: Mapping[Slot, Component[Any]] = {}
        """What `build` has created or found up to now, extensions first."""

    def of(self, configuration: Configuration) -> GraphBuilder:
        """Return a builder for another configuration, with the same surroundings."""
        same = (self._registry, self._telemetry, self._health, self._state_dir, self._entities, self._view)
        return GraphBuilder(configuration, *same)

    def build(self, existing: Mapping[Slot, Component[Any]] | None = None) -> Graph:
        """Return the graph: one instance of a receiver or exporter however many pipelines name it, processors one each.

        Components that exist take their slots. Raises `StartError` when a component refuses its configuration.
        """
        existing = existing or {}
        configuration = self._configuration
        graph = Graph(parts=parts(configuration, self._registry))
        self._components = graph.components
        _check_root(configuration.service.root_path)
        for slot in graph.parts:
            found = existing.get(slot)
            section = configuration.section(slot.kind)
            graph.components[slot] = found if found is not None else self._create(slot.kind, section, slot.id)
        self._join(graph)
        return graph

    def _join(self, graph: Graph) -> None:
        of = graph.components
        graph.extensions = [of[Slot(Kind.EXTENSION, id)] for id in self._configuration.service.extensions]  # type: ignore[misc]
        graph.exporters = [component for component in of.values() if isinstance(component, Exporter)]
        for id, named in self._configuration.service.pipelines.items():
            processors: list[Processor[Any]] = [of[Slot(Kind.PROCESSOR, one, id)] for one in named.processors]  # type: ignore[misc]
            exporters: list[Exporter[Any]] = [of[Slot(Kind.EXPORTER, exporter)] for exporter in named.exporters]  # type: ignore[misc]
            pipeline = Pipeline(id, processors, exporters, VERSION, *([self._view.publish] if self._view is not None else []))
            graph.pipelines.append(pipeline)
            for receiver in named.receivers:
                graph.receivers[receiver] = of[Slot(Kind.RECEIVER, receiver)]  # type: ignore[assignment]
                graph.reads.setdefault(receiver, []).append(pipeline)

    def _create(self, kind: Kind, configs: Mapping[ComponentId, ComponentConfig], id: ComponentId) -> Any:
        name, path = f"{kind.value}/{id}", f"{kind.value}.{id}"
        context = ComponentContext(
            id=id,
            kind=kind,
            counters=ComponentCounters(self._telemetry, kind, id),
            state_dir=self._state_dir,
            log=logging.getLogger(f"{ROOT}.{name}"),
            provided=self._registry.provided,
            report=self._reporter(name),
            entities=self._entities,
            extension=self._extension(self._components),
            service=self._view,
        )
        component: type[Component[Any]] = self._registry.find(kind, id.type)
        try:
            return component(context, configs[id])
        except ComponentError as error:
            raise StartError(f"{path}: {error}", component=path) from error
        except ConfigError as error:
            problems = [self._placed(problem, path) for problem in error.problems]
            raise StartError("\n".join(map(str, problems)), problems, path) from error
        except (Exception, SystemExit) as error:
            raise StartError(f"{path}: {type(error).__name__}: {error}", component=path) from error

    def _placed(self, problem: Problem, component: str) -> Problem:
        """Return a problem with the whole path and the place of an option, unless it is one of a file of the component's."""
        if problem.file:
            return problem
        path = f"{component}.{problem.path}"
        position = self._configuration.position_of(path)
        if position is None:
            return replace(problem, path=path)
        return replace(problem, path=path, file=position.file, line=position.line)

    @staticmethod
    def _extension(components: Mapping[Slot, Component[Any]]) -> Callable[[str], Component[Any] | None]:
        """Return what finds an extension among these components by its id."""
        by_id = {str(slot.id): component for slot, component in components.items() if slot.kind is Kind.EXTENSION}
        return by_id.get

    def _reporter(self, name: str) -> Callable[[str | None], None]:
        return lambda problem: self._health.report(name, problem)


def _check_root(root_path: Path) -> None:
    """Warn where the host's root is not where it was said to be: little would be seen, and nobody would know why."""
    missing = [str(root_path / name) for name in ("proc", "sys/fs/cgroup") if not _has_content(root_path / name)]
    if missing and root_path != Path("/"):
        logging.getLogger(f"{ROOT}.service").warning(
            "service.root_path: %s is not the host's root, for there is no %s: mount the host's root there "
            "with all that is mounted below it, or correct service.root_path",
            root_path,
            " and no ".join(missing),
        )


def _has_content(directory: Path) -> bool:
    """Tell whether a directory is there and not just the empty place for a mount; one that may not be listed is there."""
    try:
        return any(directory.iterdir())
    except PermissionError:
        return True
    except OSError:
        return False


def scope_of(receiver: Receiver[Any]) -> Scope:
    """Return the instrumentation scope of what a receiver emits."""
    return Scope(f"tapio_otel.receivers.{receiver.type}", VERSION)
