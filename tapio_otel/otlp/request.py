"""Requests under construction: records grouped by resource and scope, counted and weighed while they are added."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from tapio_otel.component import Scope
from tapio_otel.event import Origin, UnifiedEvent
from tapio_otel.otlp import mapping
from tapio_otel.otlp.protobuf import key_values
from tapio_otel.otlp.template import Template

GROUP_OVERHEAD: Final = 96
"""Bytes, at most, that a group needs beside its resource, its scope and its records."""

_MAX_TEMPLATES: Final = 256
_MAX_RESOURCES: Final = 1024
_UNLIMITED: Final = 1 << 62

T = TypeVar("T", bound=Template)
Groups = dict[bytes, list[bytes]]
"""The encoded records of one scope, by encoded resource."""


class Run(NamedTuple):
    """Be the records of one scope and resource, in order, as pieces of bytes."""

    scope: Scope
    pieces: list[bytes]


class Request(ABC, Generic[T]):
    """Collect events for one ExportLogsServiceRequest. May be used again after each `build`.

    `resource` is laid beneath every event's own; by default it is this machine's. With `ordered`, records keep their exact
    order and a new group begins whenever resource or scope changes; without, there is one group for each resource. `add`
    stops at `max_records` or before `max_bytes` (0: no limit); a single record beyond `max_bytes` is taken alone.
    """

    template: ClassVar[type[Template]]
    format: ClassVar[str]

    def __init__(
        self,
        resource: Mapping[str, Any] | None = None,
        ordered: bool = False,
        max_records: int = 0,
        max_bytes: int = 0,
    ) -> None:
        self.base = dict(mapping.host_resource() if resource is None else resource)
        self.ordered = ordered
        self.max_records = max_records or _UNLIMITED
        self.max_bytes = max_bytes or _UNLIMITED
        self.cache_key = f"{self.format}:{blake2b(key_values(self.base, 0x0A), digest_size=8).hexdigest()}"
        self._resources: dict[bytes, bytes] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything that was added."""
        self.count = 0
        self.size = GROUP_OVERHEAD
        self._scope: Scope | None = None
        self._scopes: dict[Scope, Groups] = {}
        self._runs: list[tuple[bytes, Run]] = []

    @abstractmethod
    def add(self, events: Sequence[UnifiedEvent], scope: Scope, start: int = 0) -> int:
        """Add events from index `start` on; returns the index of the first that was not taken (a limit was reached).

        `count` is then the number of records, `size` the bytes that `build` will return at most.
        """

    def build(self) -> bytes:
        """Return the complete request and be empty again."""
        request = self.frame(self._by_resource())
        self.clear()
        return request

    @abstractmethod
    def frame(self, groups: Iterable[tuple[bytes, list[Run]]]) -> bytes:
        """Return the request made of these resources, each with its runs."""

    def template_of(self, view: Origin, event: UnifiedEvent) -> T:
        """Return a template for one event whose content is `view`."""
        return self.template(view, event.source, event.type, event.severity, self.base)  # type: ignore[return-value]

    def remember(self, origin: Origin, event: UnifiedEvent) -> T:
        """Return a new template for events like this one, and keep it with their origin."""
        template = self.template_of(origin, event)
        known = origin.cache.setdefault(self.cache_key, {})
        if len(self._resources) >= _MAX_RESOURCES:
            self._resources.clear()
        template.resource = self._resources.setdefault(template.resource, template.resource)  # many origins, one resource
        if len(known) < _MAX_TEMPLATES:
            known[event.type, event.severity, event.source] = template
        return template

    def groups_of(self, scope: Scope) -> Groups:
        """Return the groups that records of this scope may still be added to."""
        if self.ordered and scope != self._scope:
            self._scopes.clear()
        self._scope = scope
        return self._scopes.setdefault(scope, {})

    def open(self, resource: bytes, scope: Scope, groups: Groups) -> list[bytes]:
        """Begin a group of records."""
        run = Run(scope, [])
        if self.ordered:
            groups.clear()
        groups[resource] = run.pieces
        self._runs.append((resource, run))
        return run.pieces

    def opening_size(self, resource: bytes, scope: Scope) -> int:
        """Return the bytes a new group takes at most before its first record."""
        return len(resource) + 6 * (len(scope.name) + len(scope.version)) + GROUP_OVERHEAD

    def _by_resource(self) -> Iterable[tuple[bytes, list[Run]]]:
        """Give what was added, one element for each ResourceLogs message."""
        runs = [(resource, run) for resource, run in self._runs if run.pieces]
        if self.ordered:
            return [(resource, [run]) for resource, run in runs]
        merged: dict[bytes, list[Run]] = {}
        for resource, run in runs:
            merged.setdefault(resource, []).append(run)
        return merged.items()
