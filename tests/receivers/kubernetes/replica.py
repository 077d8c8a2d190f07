"""Run one replica as a process of its own, so that it can be killed: `replica.py OPTIONS`, a JSON object.

Says on its standard output `leads` when it does, and the name of each Kubernetes event that it tells.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from tapio_otel.event import UnifiedEvent
from tapio_otel.receivers.kubernetes import KubernetesConfig, KubernetesReceiver
from tests.collect import CollectingOutput, context


class PrintingOutput(CollectingOutput):
    """Print the names of events."""

    async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
        """Print, then keep."""
        for event in events:
            sys.stdout.write(f"{event.get('event_name')}\n")
        sys.stdout.flush()
        await super().emit(events, checkpoint)


class Leading(logging.Handler):
    """Print that this replica leads."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print what matters."""
        if record.getMessage().startswith("leading"):
            sys.stdout.write("leads\n")
            sys.stdout.flush()


if __name__ == "__main__":
    surroundings = context("kubernetes")
    surroundings.log.setLevel(logging.INFO)
    surroundings.log.addHandler(Leading())
    config = KubernetesConfig.model_validate(json.loads(sys.argv[1]))
    asyncio.run(KubernetesReceiver(surroundings, config).run(PrintingOutput()))
