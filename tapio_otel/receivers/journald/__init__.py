"""The journald receiver: what the journal of this machine, or any journal files, say.

Delivers every entry once after a clean stop and at least once after a crash, in the journal's order, each with an id that is
the same whenever it is read again.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapio_otel.receivers.journald.availability import missing as missing
    from tapio_otel.receivers.journald.config import JournaldConfig as JournaldConfig
    from tapio_otel.receivers.journald.entry import EntryParser as EntryParser
    from tapio_otel.receivers.journald.receiver import JournaldReceiver as JournaldReceiver

_HOME = {"EntryParser": "entry", "JournaldConfig": "config", "JournaldReceiver": "receiver", "missing": "availability"}

__all__ = sorted(_HOME)  # noqa: PLE0605 - derived, so that it cannot differ from what is importable


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the reading process needs none of them, and stays small."""
    if name not in _HOME:
        raise AttributeError(f"module 'tapio_otel.receivers.journald' has no attribute {name!r}")
    return getattr(import_module(f"tapio_otel.receivers.journald.{_HOME[name]}"), name)
