"""The options of the systemd receiver."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration

UNIT_TYPES: Final = (
    *("service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"),
)
UnitType = Literal["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"]
_ADDRESS = re.compile(
    r"unix:(?:path|abstract)=[^,;]+(?:,[^,;]*)*|tcp:(?=[^;]*\bhost=[^,;]+)(?=[^;]*\bport=[0-9]{1,5}(?:[,;]|$))[^;]+"
)


def _check_bus(bus: str) -> str:
    if bus not in {"system", "user"} and not all(_ADDRESS.fullmatch(address) for address in bus.split(";")):
        raise ValueError(
            f"{bus!r} is no bus: expected system, user, or a D-Bus address such as unix:path=/run/dbus/system_bus_socket "
            "or tcp:host=127.0.0.1,port=4000"
        )
    return bus


def _check_glob(pattern: str) -> str:
    if not pattern.strip() or "/" in pattern:
        raise ValueError(f"{pattern!r} can match no unit: write a unit's name or a pattern such as web@*.service")
    return pattern


Bus = Annotated[str, AfterValidator(_check_bus)]
UnitGlob = Annotated[str, AfterValidator(_check_glob)]


class RetryConfig(ComponentConfig):
    """Say how a connection that was lost is made again: exponential back-off with jitter, for ever."""

    initial_interval: Duration = Field(0.5, gt=0, description="Time to wait before the first new attempt to connect.")
    randomization_factor: float = Field(
        0.5, ge=0, le=1, description="Jitter: an interval is multiplied by a random factor within 1 ± this."
    )
    multiplier: float = Field(1.5, ge=1, le=100, description="Factor by which the interval grows with every failed attempt.")
    max_interval: Duration = Field(
        30.0, gt=0, description="Longest interval before jitter is applied; initial_interval if that is longer."
    )


class SystemdConfig(ComponentConfig):
    """Choose the service manager, the units, and what is told of them at the start."""

    bus: Bus = Field(
        "system",
        description="Where systemd is asked: the `system` bus, the `user` bus of the user the agent runs as, or an "
        "address (`unix:path=…`, `unix:abstract=…`, `tcp:host=…,port=…`), such as that of systemd's private socket "
        "`unix:path=/run/systemd/private`, which needs no bus daemon but root.",
    )
    library: Literal["auto", "dbus_fast", "dbus_next"] = Field(
        "auto", description="Which D-Bus library is used: `auto` takes dbus_fast, else dbus_next (25 times slower)."
    )
    initial_state: Literal["none", "failed", "all"] = Field(
        "failed",
        description="Which units are told of once when the receiver starts: none, the failed ones, or all that are loaded.",
    )
    units: list[UnitGlob] = Field(
        [], description="Only units whose name one of these shell patterns matches (`web@*.service`); empty for all."
    )
    exclude_units: list[UnitGlob] = Field(
        [], description="No units whose name one of these shell patterns matches, whatever `units` says."
    )
    unit_types: list[UnitType] = Field([], description="Only units of these types; empty for all.")
    required: bool = Field(
        False, description="Refuse to start where systemd cannot be reached, instead of trying again until it can be."
    )
    retry_on_failure: RetryConfig = Field(default_factory=RetryConfig, description="How a lost connection is made again.")
