"""Where systemd is asked on D-Bus, and why it does not answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tapio_otel.component import SourceUnavailable
from tapio_otel.receivers.systemd.config import SystemdConfig
from tapio_otel.receivers.systemd.connection import CallFailed

_NO_BUS: Final = (
    "See that systemd and a D-Bus daemon run (systemctl status dbus); without a daemon set bus: unix:path=/run/systemd/private"
)
_NO_USER_BUS: Final = (
    "Run the agent as that user while the user's service manager runs (loginctl enable-linger), with its XDG_RUNTIME_DIR; "
    "without a D-Bus daemon set bus: unix:path={}"
)
_IN_CONTAINER: Final = "in a container mount the host's /run/dbus/system_bus_socket"


def address_of(bus: str, root: Path = Path("/")) -> str:
    """Return the D-Bus address that the option `bus` means; `root` is where the host's root is mounted."""
    if bus == "system":
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or f"unix:path={root / 'run/dbus/system_bus_socket'}"
    if bus == "user":
        return os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={_runtime_directory() / 'bus'}"
    return bus


def _runtime_directory() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")


def explain(config: SystemdConfig, address: str, error: Exception) -> SourceUnavailable:
    """Return what keeps systemd from being followed, with the remedy."""
    where = f"systemd cannot be reached at {address}"
    cause = str(error) or type(error).__name__
    if isinstance(error, ImportError):
        wanted = "dbus_fast nor dbus_next" if config.library == "auto" else config.library
        return SourceUnavailable(
            f"no D-Bus library: the Python module {wanted} does not load ({cause})", "Install dbus-fast (pip install dbus-fast)"
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return SourceUnavailable(f"{where}: no bus listens there ({cause})", _remedy(config, f"; {_IN_CONTAINER}"))
    if isinstance(error, PermissionError) or type(error).__name__ == "AuthError":
        return SourceUnavailable(f"{where}: permission denied ({cause})", "Run the agent as root or as the user of that bus")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return SourceUnavailable(
            f"{where}: it hung up ({cause})", "systemd's private socket is for root only, and not from within a container"
        )
    if isinstance(error, CallFailed) and error.name.endswith("AccessDenied"):
        return SourceUnavailable(f"{where}: permission denied ({cause})", "Run the agent as root, or allow it in /etc/dbus-1")
    if isinstance(error, CallFailed):
        return SourceUnavailable(
            f"there is a bus at {address}, but systemd does not answer on it ({cause})",
            "See that systemd is the machine's first process and is on that bus (busctl status org.freedesktop.systemd1)",
        )
    if isinstance(error, TimeoutError):
        return SourceUnavailable(f"{where}: no answer in time", "See whether systemd hangs (systemctl status)")
    return SourceUnavailable(f"{where}: {type(error).__name__}: {cause}", _remedy(config))


def _remedy(config: SystemdConfig, in_container: str = "") -> str:
    """Return what to do where there is no bus; a user's is another than the system's."""
    if config.bus == "user":
        return _NO_USER_BUS.format(_runtime_directory() / "systemd/private")
    return _NO_BUS + in_container
