"""memory_limiter: keeps the agent's memory below a limit, whatever its sources offer and however long a backend is away.

It stands first in each pipeline. From the soft limit on (the limit minus the spike) receivers that can wait do: the journal is
not read on, and keeps what there is. Of those that cannot, a part is taken, worse severities first, and nothing near the limit
(see `sampling`). Whenever memory is above the soft limit, what was freed is given back to the system.

Guarantees: nothing of a receiver that can wait is lost. Each event dropped is counted once as `dropped` with `reason:
memory_limit`. Below the soft limit nothing is dropped, delayed or changed, and nothing is done for a single event. The agent
never stands still for ever: where memory is above the soft limit although nothing is on its way any more, which means that the
limit is too small, receivers that can wait go on with one batch at a time, and health says so.
"""

from __future__ import annotations

from tapio_otel.processors.memory_limiter.config import MemoryLimiterConfig as MemoryLimiterConfig
from tapio_otel.processors.memory_limiter.processor import MemoryLimiterProcessor as MemoryLimiterProcessor

__all__ = ["MemoryLimiterConfig", "MemoryLimiterProcessor"]
