"""correlate: concludes from the events that pass which was the cause, and which were its consequences.

Events pass at once and unchanged, but for the trace context that `propagation` may give them. What the rules conclude comes
as events of type `correlation` behind the events that complete it, and at the latest `allowed_lateness` and a second after
those. See docs/correlation.md for rules, findings and the formula of their confidence.
"""

from __future__ import annotations

from tapio_otel.processors.correlate.config import CorrelateConfig
from tapio_otel.processors.correlate.processor import CorrelateProcessor

__all__ = ["CorrelateConfig", "CorrelateProcessor"]
