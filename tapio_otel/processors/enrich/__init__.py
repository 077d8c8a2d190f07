"""enrich: puts on every event what is known of what it is about: pod, container, workload, node, unit, namespace, services.

What Kubernetes tells is kept by watches (`kubernetes`); without a cluster, or while it cannot be reached, the rest is added all
the same. Containers and pods that an event names by id only get their names and their whole lineage, whichever source the
event is from.

Guarantees: no event is dropped, the order stays, and enriching twice changes nothing. Nothing is asked of a network while
events pass. What an event says already is kept, also where it says it by another key with the same meaning in OTLP, unless
`overwrite` is set; the entity alone is replaced, by the same one with more known. An enricher that fails is counted as
`failed` with its name and the reason, and the events go on with what the others added. Events are held back only with
`wait_for_sync`, and are then not counted as delivered.
"""

from __future__ import annotations

from tapio_otel.processors.enrich.config import EnrichConfig as EnrichConfig
from tapio_otel.processors.enrich.processor import EnrichProcessor as EnrichProcessor
