"""Keys of addresses, one for each, however it is written."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from tapio_otel.correlation.keys import Key
from tapio_otel.entities.bounded import Bounded

_KEPT: Final = 8192
_LOOPBACK: Final = "loopback"


def address_keys(ip: Any, port: Any, host: str) -> list[Key]:
    """Return the keys of an address: with its port, and alone where it is not shared by all of a machine."""
    if not isinstance(ip, str) or not ip:
        return []
    if port.__class__ is not int:
        port = int(port) if isinstance(port, str) and port.isascii() and port.isdecimal() and len(port) < 6 else None
    plain = _plain_ip(ip)
    if plain == _LOOPBACK:
        return [("address", f"{_LOOPBACK}@{host}", port)] if port else []
    return [("address", plain, port), ("address", plain)] if port else [("address", plain)]


_ips: Bounded[str, str] = Bounded(_KEPT)


def _plain_ip(ip: str) -> str:
    known = _ips.get(ip)
    if known is not None:
        return known
    try:
        address = ip_address(ip.partition("%")[0].strip("[]"))
    except ValueError:
        return _ips.keep(ip, _LOOPBACK if ip == "localhost" else ip)
    mapped = getattr(address, "ipv4_mapped", None)
    plain = mapped or address
    return _ips.keep(ip, _LOOPBACK if plain.is_loopback else str(plain))


_ends: Bounded[tuple[str, int], tuple[Key, ...]] = Bounded(_KEPT)


def end_keys(ip: Any, port: Any) -> tuple[Key, ...] | None:
    """Return the keys of an end of a connection, the same object for all that name it; None where the machine matters."""
    if ip.__class__ is not str or port.__class__ is not int:
        return None
    known = _ends.get((ip, port))
    if known is None and _plain_ip(ip) != _LOOPBACK:
        known = _ends.keep((ip, port), tuple(address_keys(ip, port, "")))
    return known
