"""The systemd receiver: every transition of a unit as one event, as systemd tells it on D-Bus.

Each transition that systemd signals is delivered once, in the unit's order, with an id that is the same whenever it is seen
again; what happened while there was no connection is found afterwards and marked as reconciled.
"""

from __future__ import annotations

from tapio_otel.receivers.systemd.config import SystemdConfig
from tapio_otel.receivers.systemd.receiver import SystemdReceiver

__all__ = ["SystemdConfig", "SystemdReceiver"]
