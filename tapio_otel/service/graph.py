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
from tapio_otel.service.telemetry import ComponentCounters, Telemetry
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


class GraphBuilder:
    """Create components from a validated configuration; those that no pipeline uses are left out."""

    def __init__(
        self, configuration: Configuration, registry: Registry, telemetry: Telemetry, health: Health, state_dir: Path
    ) -> None:
        self._configuration = configuration
        self._registry = registry
        self._telemetry = telemetry
        self._health = health
        self._state_dir = state_dir
        self._entities = EntityMapper(configuration.service.root_path)

    def build(self) -> Graph:
        """Return the graph: one instance of a receiver or exporter however many pipelines name it, processors one each.

        Raises `StartError` when a component refuses its configuration.
        """
        configuration, graph = self._configuration, Graph()
        _check_root(configuration.service.root_path)
        graph.extensions = [
            self._create(Kind.EXTENSION, configuration.extensions, id) for id in configuration.service.extensions
        ]
        exporters: dict[ComponentId, Exporter[Any]] = {}
        for id, named in configuration.service.pipelines.items():
            for exporter in named.exporters:
                if exporter not in exporters:
                    exporters[exporter] = self._create(Kind.EXPORTER, configuration.exporters, exporter)
            processors: list[Processor[Any]] = [
                self._create(Kind.PROCESSOR, configuration.processors, processor) for processor in named.processors
            ]
            pipeline = Pipeline(id, processors, [exporters[exporter] for exporter in named.exporters], VERSION)
            graph.pipelines.append(pipeline)
            for receiver in named.receivers:
                if receiver not in graph.receivers:
                    graph.receivers[receiver] = self._create(Kind.RECEIVER, configuration.receivers, receiver)
                graph.reads.setdefault(receiver, []).append(pipeline)
        graph.exporters = list(exporters.values())
        return graph

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
