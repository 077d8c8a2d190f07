"""The loader: from sources to a validated configuration, or to the list of everything that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel

from tapio_otel.component import Component, ComponentConfig, ComponentId, Kind
from tapio_otel.config.explain import check
from tapio_otel.config.located import Located, Position, plain, positions
from tapio_otel.config.options import secret_options
from tapio_otel.config.problem import ConfigError, Path, Problem, UnknownComponent, in_order
from tapio_otel.config.redact import scrub, secret_paths, secret_texts
from tapio_otel.config.references import as_warning, check_references, unused, used
from tapio_otel.config.service import PipelineConfig, ServiceConfig, parse_reference
from tapio_otel.config.source import Reading, Source, read
from tapio_otel.config.suggest import suggestion

__all__ = ["Components", "Configuration", "PipelineConfig", "RegistryView", "ServiceConfig", "load"]

M = TypeVar("M", bound=BaseModel)
Components: TypeAlias = "Mapping[ComponentId, ComponentConfig]"

_SECTIONS: Final = (*(kind.value for kind in Kind), "service")
_ELSEWHERE: Final[Mapping[str, str]] = {
    "connectors": "connectors are not supported; a receiver or an exporter may be named in several pipelines instead",
    "pipelines": "unknown section 'pipelines' here; it belongs under service",
    "telemetry": "unknown section 'telemetry' here; it belongs under service",
}


_OTHERWISE: Final[Mapping[str, str]] = {
    "batch": "leave it out; exporters gather events themselves, see their sending_queue.batch",
    "memory_limiter": "leave it out; the memory of sending queues is bounded by their sending_queue.max_bytes",
}
"""What takes the place of processors that most collector configurations have."""


class RegistryView(Protocol):
    """Tell which component types there are."""

    def types(self, kind: Kind) -> Iterable[str]:
        """Return the names of a kind's types."""

    def find(self, kind: Kind, type: str) -> type[Component[Any]]:
        """Return a component class; raises `UnknownComponent` with a message for the user."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Hold a validated configuration.

    `merged` is what was written, merged and substituted, without defaults; `secrets` are the paths in it that must not be
    shown. Use `redact` before showing it. `positions` are the places of what was written, by path.
    """

    receivers: Components = field(repr=False)
    processors: Components = field(repr=False)
    exporters: Components = field(repr=False)
    extensions: Components = field(repr=False)
    service: ServiceConfig
    merged: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secrets: frozenset[Path] = frozenset()
    warnings: tuple[Problem, ...] = ()
    positions: Mapping[str, Position] = field(default_factory=dict, repr=False)

    def position_of(self, path: str) -> Position | None:
        """Return where a path was written, such as `receivers.journald.matches[0]`, or else the nearest that it is in."""
        while path and path not in self.positions:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.positions.get(path)

    def section(self, kind: Kind) -> Components:
        """Return a kind's components."""
        return {
            Kind.RECEIVER: self.receivers,
            Kind.PROCESSOR: self.processors,
            Kind.EXPORTER: self.exporters,
            Kind.EXTENSION: self.extensions,
        }[kind]


def load(
    sources: Sequence[Source],
    overrides: Sequence[str],
    registry_view: RegistryView,
    env: Mapping[str, str] = os.environ,
) -> Configuration:
    """Read, merge and validate a configuration; raises `ConfigError` with all problems at once."""
    reading = read(sources, overrides, env)
    if not sources and not overrides:
        reading.problems.append(Problem("", None, "", "no configuration is given; name a file with --config"))
    if reading.root is None:
        raise ConfigError(in_order(reading.problems, reading.files))
    return _Loading(reading, reading.root, registry_view).finish(env)


class _Loading:
    """Collect what is found while one configuration is validated."""

    def __init__(self, reading: Reading, root: Located, registry: RegistryView) -> None:
        self._reading, self._root, self._registry = reading, root, registry
        self._problems, self._warnings = list(reading.problems), list[Problem]()
        self._as_text: dict[Path, str] = {}
        self._secret: set[Path] = set()
        self._defined: dict[Kind, dict[str, Located]] = {kind: self._nodes(kind) for kind in Kind}
        self._configs: dict[Kind, dict[ComponentId, ComponentConfig]] = {kind: {} for kind in Kind}
        self._service_node = root.child("service")
        self._used = used(self._service_node)

    def finish(self, env: Mapping[str, str]) -> Configuration:
        """Validate everything; raises `ConfigError`."""
        self._check_sections()
        for kind, nodes in self._defined.items():
            for name, node in nodes.items():
                self._check_component(kind, name, node)
        service = self._validated(ServiceConfig, self._service_node or Located({}, self._root.position), ("service",))
        if self._reading.complete:  # what is missing may be in the part that could not be read
            self._problems += check_references(self._service_node, self._defined, self._root)
            self._warnings += unused(self._service_node, self._defined)
        secrets = frozenset(secret_paths(self._root, self._secret))
        if self._problems or service is None:
            texts = secret_texts(self._root, secrets)
            told = [replace(one, message=scrub(one.message, texts)) for one in self._problems]
            raise ConfigError(in_order(told, self._reading.files))
        return self._configuration(service.model_copy(update={"state_dir": state_directory(service.state_dir, env)}), secrets)

    def _configuration(self, service: ServiceConfig, secrets: frozenset[Path]) -> Configuration:
        return Configuration(
            **{kind.value: configs for kind, configs in self._configs.items()},
            service=service,
            merged=plain(self._root, self._as_text),
            secrets=secrets,
            warnings=tuple(in_order(self._warnings, self._reading.files)),
            positions=positions(self._root),
        )

    def _nodes(self, kind: Kind) -> dict[str, Located]:
        section = self._root.child(kind.value)
        return section.members() if section is not None else {}

    def _check_sections(self) -> None:
        for name, node in self._root.members().items():
            if name not in _SECTIONS:
                default = f"unknown section {name!r}; {suggestion(name, _SECTIONS, 'known are')}"
                self._add(node, (name,), _ELSEWHERE.get(name, default))
            elif not (node.broken or node.value is None or isinstance(node.value, dict)):
                kind = "a list" if isinstance(node.value, list) else "a single value"
                self._add(node, (name,), f"expected a mapping, found {kind}; write one name: line for each entry")

    def _add(self, node: Located, path: Path, message: str) -> None:
        self._problems.append(node.position.problem(path, message))

    def _check_component(self, kind: Kind, name: str, node: Located) -> None:
        try:
            identity = parse_reference(name)
            component = self._registry.find(kind, identity.type)
        except ValueError as error:
            self._add(node, (kind.value, name), str(error))
        except UnknownComponent as error:
            self._unknown(kind, name, node, error)
        else:
            config = self._validated(component.Config, node, (kind.value, name))
            if config is not None:
                self._configs[kind][identity] = config

    def _unknown(self, kind: Kind, name: str, node: Located, error: UnknownComponent) -> None:
        wanted = name.partition("/")[0]
        other = next((other for other in Kind if other is not kind and wanted in self._registry.types(other)), None)
        message = str(error) if other is None else f"{wanted!r} belongs under {other.value}, not {kind.value}; move it there"
        if kind is Kind.PROCESSOR and wanted in _OTHERWISE:
            message = f"there is no processor {wanted!r} here: {_OTHERWISE[wanted]}"
        problem = node.position.problem((kind.value, name), message)
        if error.broken and name not in self._used[kind]:
            self._warnings.append(as_warning(problem))
        else:
            self._problems.append(problem)

    def _validated(self, model: type[M], node: Located, path: Path) -> M | None:
        """Validate a section; nothing at all means the defaults."""
        if node.broken:
            return None
        checked = check(model, node if node.value is not None else replace(node, value={}), path)
        self._problems += checked.problems
        self._as_text |= checked.as_text
        self._secret.update(secret_options(model, node, path))
        return checked.config


def state_directory(configured: FilePath | None, env: Mapping[str, str]) -> FilePath:
    """Return where state is kept: as configured (`~` is the home directory), else by the user's rights."""
    home = FilePath(env.get("HOME") or "/")
    if configured is not None:
        parts = configured.parts
        return home.joinpath(*parts[1:]) if parts[:1] == ("~",) else configured
    if os.geteuid() == 0:
        return FilePath("/var/lib/tapio")
    base = env.get("XDG_STATE_HOME", "")
    # The XDG base directory specification has relative paths ignored.
    return (FilePath(base) if base.startswith("/") else home / ".local/state") / "tapio"
