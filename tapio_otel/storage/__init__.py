"""Requests on disk: one SQLite file for each sending queue, written by a thread of its own.

A request that the store reports as written is there after a crash of the agent, and with `fsync` after a power cut. A damaged
file is salvaged as far as it can be read and set aside; a full disk makes who writes wait. Nothing here ends the process.
"""

from tapio_otel.storage.row import Totals as Totals
from tapio_otel.storage.store import RequestStore as RequestStore
from tapio_otel.storage.store import Storage as Storage
