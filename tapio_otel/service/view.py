"""The view: what components see of the service that they are part of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tapio_otel.component import ComponentId, Exporter, Kind
from tapio_otel.event import UnifiedEvent
from tapio_otel.notices import Notices
from tapio_otel.service.health import Health
from tapio_otel.service.telemetry import Telemetry
from tapio_otel.service_view import Metric, PipelineView, ReceiverView, Take

if TYPE_CHECKING:
    from tapio_otel.service.running import Running


class RunningView:
    """Show the service; there from the start, though it shows little until `attach`."""

    def __init__(self, telemetry: Telemetry, health: Health, types: Iterable[str], notices: Notices) -> None:
        self.started_ns = time.time_ns()
        self._telemetry = telemetry
        self._health = health
        self._types = tuple(types)
        self._notices = notices
        self._takers: tuple[Take, ...] = ()
        self._running: Running | None = None

    def attach(self, running: Running) -> None:
        """Show what runs from now on."""
        self._running = running

    def publish(self, events: Sequence[UnifiedEvent]) -> None:
        """Give events that left a pipeline to whoever asked; one that raises spoils nothing."""
        for take in self._takers if events else ():
            try:
                take(events)
            except Exception as error:
                self._notices.warn("subscriber", f"a subscriber to events failed: {type(error).__name__}: {error}")

    def subscribe(self, take: Take) -> Callable[[], None]:
        """Give `take` every batch from now on."""
        self._takers = (*self._takers, take)

        def end() -> None:
            self._takers = tuple(one for one in self._takers if one is not take)

        return end

    def problems(self) -> Mapping[str, str]:
        """Return what is wrong at the moment."""
        return dict(self._health.problems)

    def metrics(self) -> Sequence[Metric]:
        """Return the value of every instrument."""
        return self._telemetry.readings()

    def exporters(self) -> Mapping[str, Any]:
        """Return the exporters that were started."""
        running = self._running
        if running is None:
            return {}
        return {str(slot.id): one for slot, one in list(running.components.items()) if isinstance(one, Exporter)}

    def pipelines(self) -> Sequence[PipelineView]:
        """Return the pipelines as they are joined now."""
        if self._running is None:
            return ()
        graph = self._running.graph
        return [
            PipelineView(
                str(one.id),
                tuple(str(id) for id, fed in graph.reads.items() if any(one is pipeline for pipeline in fed)),
                tuple(str(processor.context.id) for processor in one.processors),
                tuple(str(exporter.context.id) for exporter in one.exporters),
                one.received,
                one.passed_on,
            )
            for one in graph.pipelines
        ]

    def receivers(self) -> Sequence[ReceiverView]:
        """Return the receivers of the graph, then the types that no pipeline has."""
        if self._running is None:
            return ()
        found = [self._receiver(id) for id in self._running.graph.receivers]
        used = {one.type for one in found}
        return [*found, *(ReceiverView(type, type, "off") for type in self._types if type not in used)]

    def _receiver(self, id: ComponentId) -> ReceiverView:
        assert self._running is not None
        output, reason = self._running.outputs.get(id), self._health.problems.get(f"{Kind.RECEIVER.value}/{id}", "")
        counted = (output.accepted, output.accepted_ns) if output is not None else (0, 0)
        return ReceiverView(str(id), id.type, self._state(id, reason), reason, *counted)

    def _state(self, id: ComponentId, reason: str) -> str:
        assert self._running is not None
        supervisor = self._running.supervisors.get(id)
        if supervisor is None or supervisor.is_running:
            return "degraded" if reason else "listening"
        if supervisor.failed:
            return "failed"
        return "failing" if reason else "ended"
