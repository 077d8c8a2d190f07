"""Whether a saved checkpoint is one of this journal, so that reading can resume there."""

from __future__ import annotations

from typing import Any

from tapio_otel.receivers.journald.cursor import BadCheckpoint, Checkpoint, Cursor
from tapio_otel.receivers.journald.header import Inventory


def load(saved: Any | None, inventory: Inventory) -> tuple[str | None, Checkpoint | None]:
    """Return why a saved checkpoint is of no use, if it is not, and the checkpoint if it is."""
    if saved is None:
        return None, None
    try:
        checkpoint = Checkpoint.load(saved)
        sequence = Cursor.parse(checkpoint.cursor).sequence
    except BadCheckpoint as error:
        return f"the saved checkpoint is of no use: {error}", None
    sequences = {sequence, *checkpoint.numbers, *checkpoint.horizon}
    known = not sequences.isdisjoint(inventory.horizon) or not inventory.machines or checkpoint.machine in inventory.machines
    if known:
        return None, checkpoint
    machines = ", ".join(sorted(inventory.machines))
    return (
        f"the saved checkpoint is of another journal: it was read on machine {checkpoint.machine or 'unknown'!r}, "
        f"and what there is now comes from {machines}",
        None,
    )
