"""correlate: concludes from the events that pass which was the cause, and which were its consequences.

What the rules conclude comes as events of type `correlation` behind the events that complete it, and at the latest
`allowed_lateness` and a second after those. Events of the kernel, of units and of pods inherit the trace of the logs near them,
where it is unambiguous: they get a trace id, a span id, `trace_flags`, and say so by `tapio.trace.source: propagated`,
`tapio.trace.from` (the log's id) and `tapio.trace.confidence`. It stands behind `trace_context`, `normalize` and `enrich`.

Guarantees: events pass at once and otherwise unchanged, also where a rule fails; with `propagation.wait` those that may
inherit pass that much later, and are read again after a crash. Memory is bounded by `max_facts`, `max_open` and
`propagation.max_keys`. See docs/correlation.md for rules and findings, docs/trace-propagation.md for traces.
"""

from __future__ import annotations

from tapio_otel.processors.correlate.config import CorrelateConfig, PropagationConfig
from tapio_otel.processors.correlate.processor import CorrelateProcessor

__all__ = ["CorrelateConfig", "CorrelateProcessor", "PropagationConfig"]
