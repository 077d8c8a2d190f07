"""The stage: a processor's place in a pipeline, with what it holds back and how many events went in and came out.

A processor may hold events back over several batches (`Processor.held_from`). A batch is then delivered when everything that
the processor passed on up to the moment it let go of the batch's last event is: any of that may hold events of the batch.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from tapio_otel.component import Delivery, Processor


class HeldBack:
    """Follow, for one processor, the batches of which it holds events back until what it makes of them is delivered.

    What the processor passes on, an output, gets a delivery of its own. A batch that it let go of is released when the outputs
    up to then are delivered: all of them, also those that came before it, so that each batch and output is touched once,
    however many are on their way. Outputs that are delivered in another order only release batches later.
    """

    __slots__ = ("_outputs", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Delivery]] = deque()
        self._outputs: deque[tuple[Delivery, list[Delivery]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, serial: int, delivery: Delivery) -> None:
        """Take over one hold of the delivery of a batch that the processor was given."""
        self._waiting.append((serial, delivery))

    def passed_on(self, held_from: int | None) -> Delivery:
        """Return the delivery for an output, one hold of it the caller's, after which nothing before `held_from` is held."""
        let_go: list[Delivery] = []
        while self._waiting and (held_from is None or self._waiting[0][0] < held_from):
            let_go.append(self._waiting.popleft()[1])
        output = Delivery(self._settle)
        self._outputs.append((output, let_go))
        return output

    def _settle(self) -> None:
        while self._outputs and self._outputs[0][0].is_settled:
            for delivery in self._outputs.popleft()[1]:
                delivery.done()


class Stage:
    """Hold a processor's place in a pipeline: what it holds back, and how many events went in and came out."""

    __slots__ = ("entered", "held_back", "left", "processor")

    def __init__(self, processor: Processor[Any]) -> None:
        self.processor = processor
        self.held_back = HeldBack() if _may_hold(processor) else None
        self.entered = self.left = 0


def _may_hold(processor: Processor[Any]) -> bool:
    """Tell whether a processor ever holds events back; those that do not cost nothing for it."""
    return type(processor).held_from is not Processor.held_from
