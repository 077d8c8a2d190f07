"""The registry: which components exist, and which distribution brought each.

Plugins, the built-in one among them, are entry points of the group `tapio_otel`. A plugin that cannot be loaded, or brings
something unusable, is noted as a problem and stops nobody who does not use it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

import pluggy

from tapio_otel.classification import Classifier
from tapio_otel.component import ID_PATTERN, Component, ComponentConfig, Exporter, Extension, Kind, Processor, Receiver
from tapio_otel.config import UnknownComponent
from tapio_otel.hookspecs import ENTRY_POINT_GROUP, PROJECT, Hooks

_BASES: Final[Mapping[Kind, type[Component[Any]]]] = {
    Kind.RECEIVER: Receiver,
    Kind.PROCESSOR: Processor,
    Kind.EXPORTER: Exporter,
    Kind.EXTENSION: Extension,
}
_BUILTIN: Final = "tapio_otel.builtin"
_EXTENSION_POINTS: Final = ("normalizers", "hash_functions", "patterns", "classifiers", "enrichers", "rules")
_EXPECTED: Final = {
    "patterns": "a pathlib.Path",
    "classifiers": "a tapio_otel.Classifier",
    "rules": "a pathlib.Path or a tapio_otel.correlation.Rule",
}


@dataclass(frozen=True, slots=True)
class Registration:
    """Describe one registered component type."""

    kind: Kind
    component: type[Component[Any]]
    distribution: str


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """Describe what is wrong with a plugin, naming the distribution that brought it."""

    distribution: str
    plugin: str
    message: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of distribution {self.distribution}: {self.message}"


class Registry:
    """Hold every component type by kind and name."""

    def __init__(self) -> None:
        self.problems: list[PluginProblem] = []
        self._plugins = pluggy.PluginManager(PROJECT)
        self._plugins.add_hookspecs(Hooks)
        self._origin: dict[str, tuple[str, str]] = {}
        self._components: dict[Kind, dict[str, list[Registration]]] = {kind: {} for kind in Kind}
        self._provided: dict[str, dict[str, Any]] = {point: {} for point in _EXTENSION_POINTS}
        self._provider: dict[tuple[str, str], str] = {}

    @classmethod
    def load(cls, points: Iterable[EntryPoint] | None = None) -> Registry:
        """Return a registry of all installed plugins, the built-in one first and the others by their names."""
        registry = cls()
        for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=_place) if points is None else points:
            registry.add_entry_point(point)
        registry.collect()
        return registry

    def add_entry_point(self, point: EntryPoint) -> None:
        """Load one plugin; what fails becomes a problem."""
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        try:
            plugin = point.load()
        except (Exception, SystemExit) as error:
            self._problem(distribution, point.name, f"cannot be loaded from {point.value!r}: {_said(error)}")
        else:
            self.add(plugin, point.name, distribution)

    def add(self, plugin: object, name: str, distribution: str) -> None:
        """Register a plugin object's hooks; call `collect` afterwards."""
        key = f"{distribution}:{name}"
        self._origin[key] = (distribution, name)
        for hook in _unknown_hooks(plugin):
            known = get_close_matches(hook, dir(Hooks), 1)
            hint = f"; did you mean {known[0]}?" if known else ""
            self._problem(distribution, name, f"implements the hook {hook!r}, which does not exist{hint}")
        try:
            self._plugins.register(plugin, key)
        except (pluggy.PluginValidationError, ValueError) as error:
            self._problem(distribution, name, f"cannot be registered: {_said(error)}")
            if self._plugins.has_plugin(key):
                self._plugins.unregister(name=key)

    def collect(self) -> None:
        """Ask every plugin what it brings."""
        for kind in Kind:
            self._each(f"tapio_{kind.value}", partial(self._take, kind))
        for point in _EXTENSION_POINTS:
            self._each(f"tapio_{point}", partial(self._provide, point))

    def _each(self, hook: str, take: Callable[[Any, tuple[str, str]], None]) -> None:
        for implementation in getattr(self._plugins.hook, hook).get_hookimpls():
            origin = self._origin[implementation.plugin_name]
            try:
                take(implementation.function(), origin)
            except (Exception, SystemExit) as error:
                self._problem(*origin, f"its hook {hook} failed: {_said(error)}; {_advice(origin[0])}")

    def _take(self, kind: Kind, brought: Any, origin: tuple[str, str]) -> None:
        for component in brought:
            fault = _fault(kind, component)
            if fault:
                self._problem(*origin, f"its {kind.singular} {component!r} cannot be used: {fault}")
            else:
                same = self._components[kind].setdefault(component.type, [])
                same.append(Registration(kind, component, origin[0]))
                if len(same) > 1:
                    self._problem(*origin, _twice(kind, component.type, same))

    def _provide(self, point: str, brought: Any, origin: tuple[str, str]) -> None:
        expected = _EXPECTED.get(point, "a function")
        if not isinstance(brought, Mapping):
            found = f"its hook tapio_{point} returned {brought!r:.100}, expected a mapping of names, each with {expected}"
            self._problem(*origin, f"{found}; {_advice(origin[0])}")
            return
        for name, function in brought.items():
            if not isinstance(name, str) or not name:
                self._problem(
                    *origin, f"its hook tapio_{point} names {function!r:.100} {name!r}, expected a text; it is left out"
                )
                continue
            first = self._provider.setdefault((point, name), origin[0])
            if not _fits(point, function):
                self._problem(*origin, f"{point} {name!r} is {function!r}, expected {expected}")
            elif name in self._provided[point]:
                self._problem(*origin, f"{point} {name!r} is already provided by distribution {first}, which is used")
            else:
                self._provided[point][name] = function

    def _problem(self, distribution: str, plugin: str, message: str) -> None:
        self.problems.append(PluginProblem(distribution, plugin, message))

    def provided(self, point: str) -> Mapping[str, Any]:
        """Return what plugins provide at an extension point, by name."""
        return self._provided[point]

    def types(self, kind: Kind) -> list[str]:
        """Return the names of a kind's component types."""
        return sorted(self._components[kind])

    def find(self, kind: Kind, type: str) -> type[Component[Any]]:
        """Return a component class; raises `UnknownComponent` saying what there is and which plugins are broken."""
        found = self._components[kind].get(type, [])
        if len(found) == 1:
            return found[0].component
        if found:
            raise UnknownComponent(_twice(kind, type, found), broken=True)
        near = get_close_matches(type, self.types(kind), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.types(kind)) or 'none'}"
        broken = "".join(f"; note: {problem}" for problem in self.problems)
        raise UnknownComponent(f"unknown {kind.singular} type {type!r}: {hint}{broken}", broken=bool(broken))

    def registrations(self) -> list[Registration]:
        """Return every registered component, sorted by kind and type."""
        return [one for kind in Kind for name in self.types(kind) for one in self._components[kind][name]]


def _place(point: EntryPoint) -> tuple[bool, str, str]:
    return point.value != _BUILTIN, point.dist.name if point.dist else "", point.name


def _fits(point: str, brought: Any) -> bool:
    if point == "patterns":
        return isinstance(brought, Path)
    if point == "rules":  # what a rule is, is known above this layer
        return isinstance(brought, Path) or (hasattr(brought, "facts") and hasattr(brought, "window_ns"))
    return isinstance(brought, Classifier) if point == "classifiers" else callable(brought)


def _unknown_hooks(plugin: object) -> list[str]:
    marked = [name for name in dir(plugin) if hasattr(getattr(plugin, name, None), f"{PROJECT}_impl")]
    return [name for name in marked if not hasattr(Hooks, name)]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _advice(distribution: str) -> str:
    return f"what it brings by this hook is missing, all else is there; update or uninstall {distribution}"


def _twice(kind: Kind, name: str, found: list[Registration]) -> str:
    brought = " and ".join(one.distribution for one in found)
    return f"{kind.singular} type {name!r} is brought more than once, by {brought}: uninstall or rename one"


def _fault(kind: Kind, component: Any) -> str:
    base = _BASES[kind]
    if not (inspect.isclass(component) and issubclass(component, base)):
        return f"expected a subclass of tapio_otel.{base.__name__}"
    name = getattr(component, "type", None)
    if not isinstance(name, str) or not ID_PATTERN.match(name) or "/" in name:
        return f"its type is {name!r}, expected a lower_snake_case name"
    if not (inspect.isclass(component.Config) and issubclass(component.Config, ComponentConfig)):
        return f"its Config is {component.Config!r}, expected a subclass of tapio_otel.ComponentConfig"
    return ""
