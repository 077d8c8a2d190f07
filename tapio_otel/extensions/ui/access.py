"""Who may ask: requests must name a host that is this agent's, and show the token where one is configured.

Browsers let any web page send requests to 127.0.0.1. It cannot read the answers, as nothing here allows other origins, unless
it makes its own name lead to 127.0.0.1 (DNS rebinding): hence the check of the Host header. The session cookie does not hold
the token, is not shown to scripts, goes to no other site, and ends after some hours or with the token.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tapio_otel.extensions.ui.config import UiConfig, is_loopback
from tapio_otel.extensions.ui.errors import ApiError

SESSION_SECONDS: Final = 12 * 3600
_LOCAL: Final = frozenset(("localhost",))


class Access:
    """Decide about requests, by the options."""

    def __init__(self, config: UiConfig, clock: Callable[[], float] = time.time, own: Iterable[str] = ()) -> None:
        """Take the options, and the names that this machine has besides where it listens on all interfaces."""
        endpoint = config.listens_on
        self._token = config.token.get_secret_value().encode()
        self._key = hashlib.sha256(b"tapio session\0" + self._token).digest()
        self._names = {*_LOCAL, *config.allowed_hosts}
        if not endpoint.is_everywhere:
            self._names.add(endpoint.host)
        self._names |= {name.lower() for name in own}
        self._takes_addresses = not endpoint.is_loopback
        self._clock = clock
        self.cookie = f"{'__Host-' if config.tls.cert_file else ''}tapio_session_{endpoint.port}"
        self.is_secure = bool(config.tls.cert_file)

    @property
    def needs_token(self) -> bool:
        """Tell whether a token is asked for."""
        return bool(self._token)

    def check_host(self, hosts: Sequence[str]) -> None:
        """Refuse a request that is not for this agent, by its Host headers; raises `ApiError`."""
        host = _host_of(hosts[0]) if len(hosts) == 1 else ""
        if not host or not (host in self._names or is_loopback(host) or (self._takes_addresses and _is_address(host))):
            shown = ", ".join(hosts)[:100]
            raise ApiError(
                421,
                "wrong_host",
                f"Host: found {shown!r}: this agent answers to {', '.join(sorted(self._names))} and loopback addresses; "
                "name others in extensions.ui.allowed_hosts",
                "Host",
            )

    def check_site(self, site: str) -> None:
        """Refuse what a page of another site asks for, by the Sec-Fetch-Site header that browsers send."""
        if site == "cross-site":
            raise ApiError(403, "cross_site", "Sec-Fetch-Site: pages of other sites may not ask the agent", "Sec-Fetch-Site")

    def check_token(self, authorization: str, cookie: str) -> None:
        """Refuse a request that shows neither the token nor a session; raises `ApiError`."""
        if not self._token:
            return
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.is_token(shown.strip()):
            return
        if cookie and self._is_session(cookie):
            return
        raise ApiError(
            401,
            "unauthorized",
            "Authorization: show the token of extensions.ui.token as `Bearer TOKEN`, or POST it to /api/v1/session",
            "Authorization",
            {"WWW-Authenticate": 'Bearer realm="tapio"'},
        )

    def is_token(self, shown: str) -> bool:
        """Tell whether a text is the token; takes as long whatever it is."""
        return bool(self._token) and hmac.compare_digest(
            hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest(), hashlib.sha256(self._token).digest()
        )

    def new_session(self) -> str:
        """Return the value of a cookie that counts as the token for some hours."""
        until = int(self._clock()) + SESSION_SECONDS
        return f"{until}.{self._signature(str(until))}"

    def _is_session(self, cookie: str) -> bool:
        until, _, signature = cookie.partition(".")
        if not hmac.compare_digest(self._signature(until).encode(), signature.encode("utf-8", "surrogatepass")):
            return False
        return until.isdigit() and int(until) > self._clock()

    def _signature(self, until: str) -> str:
        return hmac.new(self._key, until.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def names_of_machine(config: UiConfig) -> set[str]:
    """Return the names by which this machine is reached where the page listens on all interfaces. Blocks: asks for its name."""
    return {socket.gethostname(), socket.getfqdn()} if config.listens_on.is_everywhere else set()


def _host_of(text: str) -> str:
    """Return the host of a Host header in lower case, without port and brackets; empty for what is none."""
    host, port = text.strip().lower(), ""
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return ""
        port = port[1:]
    elif ":" in host:
        host, _, port = host.partition(":")
    return host.rstrip(".") if not port or (port.isascii() and port.isdigit()) else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
