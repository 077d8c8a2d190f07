"""The journald receiver: what the journal of this machine, or any journal files, say.

Delivers every entry once after a clean stop and at least once after a crash, in the journal's order, each with an id that is
the same whenever it is read again.
"""

from __future__ import annotations

from tapio_otel.receivers.journald.availability import missing
from tapio_otel.receivers.journald.config import JournaldConfig
from tapio_otel.receivers.journald.entry import EntryParser
from tapio_otel.receivers.journald.receiver import JournaldReceiver

__all__ = ["EntryParser", "JournaldConfig", "JournaldReceiver", "missing"]
