"""Which addresses have a place in the world: public ones, and those that public ones are written inside of."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

Address = IPv4Address | IPv6Address

_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052
_LONGEST: Final = 64
"""Characters of the longest text that is an address, with its zone."""


def public_address(value: Any) -> Address | None:
    """Return the address that a text is, or None unless the whole Internet would know where that is.

    None for names, and for private, loopback, link-local, shared (CGNAT), documentation, benchmarking, multicast and reserved
    addresses. Of an IPv4 address within an IPv6 one (mapped, NAT64, 6to4), that is what counts and what is returned.
    """
    if not isinstance(value, str) or not value or len(value) > _LONGEST:
        return None
    try:
        address = _inner(ip_address(value))
    except ValueError:
        return None
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return None
    return address


def _inner(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
