"""The HTTP request that the fields of a structured access log tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tapio_otel.classifiers import names
from tapio_otel.classifiers.http_request import METHODS, add_request, severity_of_status
from tapio_otel.classifiers.severity_name import number
from tapio_otel.classifiers.written_text import first_text
from tapio_otel.event import AttributeValue, Severity

_LONGEST_CLIENT: Final = 256


class RequestFields:
    """Read an HTTP request from the values of a body with known names."""

    __slots__ = ("_agents", "_clients", "_lines", "_methods", "_sizes", "_statuses", "_targets")

    def __init__(self, places: Mapping[str, int]) -> None:
        self._statuses = names.places_of(names.STATUSES, places)
        self._methods, self._lines = names.places_of(names.METHODS, places), names.places_of(names.REQUEST_LINES, places)
        self._targets = names.places_of(names.TARGETS, places)
        self._clients, self._agents = names.places_of(names.CLIENTS, places), names.places_of(names.AGENTS, places)
        self._sizes = names.places_of(names.SIZES, places)

    @classmethod
    def among(cls, places: Mapping[str, int]) -> RequestFields | None:
        """Return what reads the request of a body with these names; None where they can tell none."""
        found = cls(places)
        return found if found._statuses and (found._lines or (found._methods and found._targets)) else None

    def add(self, values: Sequence[Any], attributes: dict[str, AttributeValue]) -> tuple[Severity, str] | None:
        """Add the attributes of the request that the values tell; return its severity and title.

        Returns None, and adds nothing, without status, method or target.
        """
        status = number(values[self._statuses[0]])
        if type(status) is not int or not 100 <= status <= 599:
            return None
        method, target = first_text(values, self._methods), first_text(values, self._targets)
        if not method:  # nginx: the whole request line
            method, _, rest = first_text(values, self._lines).partition(" ")
            target = target or rest.partition(" ")[0]
        if method not in METHODS or not target:
            return None
        client = _without_port(first_text(values, self._clients))[:_LONGEST_CLIENT] if self._clients else ""
        agent = first_text(values, self._agents) if self._agents else ""
        size = str(values[self._sizes[0]]) if self._sizes else ""
        return severity_of_status(status), add_request(attributes, status, method, target, client, agent, size)


def _without_port(address: str) -> str:
    """Return an address without its port: `192.0.2.1:80`, `[2001:db8::1]:80`, Envoy's and Caddy's forms."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
