"""What a component may see of the running service: its parts, what they count, how they are, and events as they pass.

For extensions that show the agent to people or to machines. Everything is a copy or a snapshot: looking changes nothing, and
who listens to events never makes a pipeline wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tapio_otel.event import UnifiedEvent

Take = Callable[[Sequence[UnifiedEvent]], None]
"""Take events that left a pipeline's last processor; must return at once, keep none too long and change none."""


@dataclass(frozen=True, slots=True)
class ReceiverView:
    """Say how a receiver is.

    `state` is `listening`; `degraded`, when it runs though `reason` says what it lacks; `failing`, when it is run again after
    a pause; `ended`, when its source has come to an end; `failed`, when it was given up; or `off`: there is such a type of
    receiver, and no pipeline has one.
    """

    id: str
    type: str
    state: str
    reason: str = ""
    events: int = 0
    """How many it handed over since it was started."""
    last_event_ns: int = 0
    """When it last did, by the wall clock; 0 for never."""


@dataclass(frozen=True, slots=True)
class PipelineView:
    """Say what a pipeline joins, and how many events came in and out of its last processor."""

    id: str
    receivers: tuple[str, ...]
    processors: tuple[str, ...]
    exporters: tuple[str, ...]
    received: int
    passed_on: int


@dataclass(frozen=True, slots=True)
class Metric:
    """Be one value of one of the agent's own instruments; `monotonic` for counters, else a gauge."""

    name: str
    value: float
    monotonic: bool
    attributes: Mapping[str, str] = field(default_factory=dict)


class ServiceView(Protocol):
    """Look at the running service. For the event loop's thread."""

    @property
    def started_ns(self) -> int:
        """Return when the agent was started."""

    def problems(self) -> Mapping[str, str]:
        """Return what is wrong at the moment, by component such as `receivers/ebpf`."""

    def receivers(self) -> Sequence[ReceiverView]:
        """Return the receivers that run, and the types that could and do not."""

    def pipelines(self) -> Sequence[PipelineView]:
        """Return the pipelines."""

    def metrics(self) -> Sequence[Metric]:
        """Return what the agent counts about itself."""

    def exporters(self) -> Mapping[str, Any]:
        """Return the exporters that run, by id: for what one of them offers besides exporting."""

    def subscribe(self, take: Take) -> Callable[[], None]:
        """Give `take` every batch that leaves a pipeline, until what is returned is called."""
