"""What the agent counts about itself, through opentelemetry-sdk.

Counters are named as the collector names its own (`otelcol_receiver_accepted_log_records` and so on), with the component's
id as attribute, and are read back for the summary at shutdown.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Counter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from tapio_otel.component import ComponentId, Kind
from tapio_otel.service_view import Metric

_NAMES: Final = {
    (Kind.EXPORTER, "failed"): "otelcol_exporter_send_failed_log_records",
    (Kind.EXPORTER, "failed_spans"): "otelcol_exporter_send_failed_spans",
    **{
        (Kind.EXPORTER, name): f"otelcol_exporter_{name}"
        for name in ("sent_spans", "dropped_spans", "dead_lettered_spans", "dead_letter_failed_spans")
    },
    (Kind.EXPORTER, "queue_size"): "otelcol_exporter_queue_size",
    (Kind.EXPORTER, "queue_capacity"): "otelcol_exporter_queue_capacity",
    (Kind.RECEIVER, "restarts"): "otelcol_receiver_restarts",
}


class Telemetry:
    """Own the meter and every instrument made from it."""

    def __init__(self, version: str, resource_attributes: Mapping[str, str | None] | None = None) -> None:
        self._reader = InMemoryMetricReader()
        described = {"service.name": "tapio", "service.version": version, **(resource_attributes or {})}
        resource = Resource({key: value for key, value in described.items() if value is not None})
        self._provider = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        self._meter = self._provider.get_meter("tapio_otel", version)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, list[tuple[dict[str, str], Callable[[], float]]]] = {}

    def counter(self, name: str) -> Counter:
        """Return the counter of that name, made when first asked for."""
        if name not in self._counters:
            self._counters[name] = self._meter.create_counter(name)
        return self._counters[name]

    def gauge(self, name: str, attributes: dict[str, str], read: Callable[[], float]) -> None:
        """Register a value that is read at collection."""
        if name not in self._gauges:
            self._gauges[name] = []
            self._meter.create_observable_gauge(name, [lambda _options: self._observe(_options, name)])
        self._gauges[name].append((attributes, read))

    def forget(self, reads: Iterable[Callable[[], float]]) -> None:
        """Read these gauges no more: what they tell of is gone."""
        gone = set(map(id, reads))
        for gauges in self._gauges.values():
            gauges[:] = [gauge for gauge in gauges if id(gauge[1]) not in gone]

    def _observe(self, _options: CallbackOptions, name: str) -> Iterable[Observation]:
        return [Observation(read(), attributes) for attributes, read in list(self._gauges[name])]

    def totals(self) -> dict[tuple[str, str], int]:
        """Return every instrument's value by (instrument, component id), summed over other attributes."""
        totals: dict[tuple[str, str], int] = {}
        metrics_data: Any = self._reader.get_metrics_data()
        for resource in metrics_data.resource_metrics if metrics_data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        key = (metric.name, str((point.attributes or {}).get("component", "")))
                        totals[key] = totals.get(key, 0) + int(point.value)
        return totals

    def readings(self) -> list[Metric]:
        """Return every instrument's value for each of its attributes."""
        metrics_data: Any = self._reader.get_metrics_data()
        return [
            Metric(
                metric.name,
                point.value,
                bool(getattr(metric.data, "is_monotonic", False)),
                {key: str(value) for key, value in (point.attributes or {}).items()},
            )
            for resource in (metrics_data.resource_metrics if metrics_data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]

    def shutdown(self) -> None:
        """Release the SDK's parts."""
        self._provider.shutdown()


class ComponentCounters:
    """Count for one component; names become `otelcol_<kind>_<name>_log_records`.

    `tally` has what this very instance has counted, by name and reason: several pipelines may have a processor of one id.
    """

    def __init__(self, telemetry: Telemetry, kind: Kind, id: ComponentId) -> None:
        self.tally: Tally[tuple[str, str]] = Tally()
        self.gauges: dict[str, Callable[[], float]] = {}
        self._telemetry = telemetry
        self._kind = kind
        self._attributes = {"component": str(id), kind.singular: str(id)}
        self._instruments: dict[str, Counter] = {}

    def add(self, name: str, amount: int = 1, **attributes: str) -> None:
        """Add to a counter of this component."""
        instrument = self._instruments.get(name)
        if instrument is None:
            instrument = self._instruments[name] = self._telemetry.counter(instrument_name(self._kind, name))
        instrument.add(amount, {**self._attributes, **attributes})
        self.tally[name, attributes.get("reason", "")] += amount

    def counted(self, *names: str) -> int:
        """Return what this instance has counted under these names, whatever the reason."""
        return sum(amount for (name, _), amount in self.tally.items() if name in names)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Register a gauge of this component."""
        self.gauges[name] = read
        self._telemetry.gauge(_NAMES.get((self._kind, name), f"otelcol_{self._kind.singular}_{name}"), self._attributes, read)

    def close(self) -> None:
        """Have the gauges read no more; the counters stay."""
        self._telemetry.forget(self.gauges.values())


def instrument_name(kind: Kind, name: str) -> str:
    """Return the instrument's full name for a component's counter."""
    return _NAMES.get((kind, name), f"otelcol_{kind.singular}_{name}_log_records")


_FATES: Final = ("restored", "sent", "dropped", "recombined", "refused", "failed")


def summary(totals: dict[tuple[str, str], int], undelivered: int, seconds: float) -> str:
    """Return the one line printed at shutdown: received, then what became of it by component, all in events."""
    received = _by_component(totals, Kind.RECEIVER, "accepted")
    words = [f"received {sum(received.values()):,}"]
    if received:
        words[0] += f" ({', '.join(f'{component} {value:,}' for component, value in received.items())})"
    for kind, word in product((Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER), _FATES):
        for component, value in _by_component(totals, kind, word).items():
            words.append(f"{component} {word} {value:,}")
    words.append(f"undelivered {undelivered:,}")
    return f"{', '.join(words)}, in {seconds:.1f} s"


def _by_component(totals: dict[tuple[str, str], int], kind: Kind, word: str) -> dict[str, int]:
    wanted = instrument_name(kind, word)
    return {component: value for (name, component), value in sorted(totals.items()) if name == wanted}
