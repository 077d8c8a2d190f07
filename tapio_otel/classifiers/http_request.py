"""A served HTTP request as an access log tells it: severity by status, attributes by OpenTelemetry's HTTP conventions."""

from __future__ import annotations

from typing import Final, NamedTuple

from tapio_otel.classifiers.title import one_line
from tapio_otel.event import AttributeValue, Severity

CATEGORY: Final = "http"
FAILED: Final = "http_server_error"
"""Type of a request that a server failed to serve."""
METHODS: Final = frozenset(
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "REPORT", "MKCOL", "QUERY"]
)
_TOO_MANY_REQUESTS: Final = 429
_LONGEST_PATH: Final = 1024
_LONGEST_AGENT: Final = 512
_MOST_SIZE_DIGITS: Final = 18
_UNKNOWN: Final = frozenset(("", "-"))


class Request(NamedTuple):
    """Hold what an access log says of one request, as written; empty or `-` where it says nothing."""

    status: int
    method: str = ""
    target: str = ""
    client: str = ""
    user_agent: str = ""
    size: str = ""

    @property
    def severity(self) -> Severity:
        """Return the severity that the status gives."""
        return severity_of_status(self.status)

    @property
    def path(self) -> str:
        """Return the path of the target, without the query, which may hold what must not be shown."""
        return path_of(self.target)


def severity_of_status(status: int) -> Severity:
    """Return error for a server's failure, warning for refused load, notice for a client's failure, else info."""
    if status < 400:
        return Severity.INFO
    if status >= 500:
        return Severity.ERROR
    return Severity.WARNING if status == _TOO_MANY_REQUESTS else Severity.NOTICE


def path_of(target: str) -> str:
    """Return the path of a target, without the query, which may hold what must not be shown."""
    path = target.partition("?")[0] if "?" in target else target
    if "://" in path[:10]:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path[:_LONGEST_PATH]


def add_request(
    attributes: dict[str, AttributeValue], status: int, method: str, target: str, client: str, user_agent: str, size: str
) -> str:
    """Add a request under the names of the HTTP conventions, texts as written; return method, path and status in one line.

    What is empty or `-` is not known.
    """
    path = path_of(target)
    attributes["http.response.status_code"] = status
    if method in METHODS:
        attributes["http.request.method"] = method
    if path not in _UNKNOWN:
        attributes["url.path"] = path
    if client not in _UNKNOWN:
        attributes["client.address"] = client
    if user_agent not in _UNKNOWN:
        attributes["user_agent.original"] = user_agent[:_LONGEST_AGENT]
    if size and len(size) <= _MOST_SIZE_DIGITS and size.isascii() and size.isdigit():
        attributes["http.response.body.size"] = int(size)
    return one_line(f"{method} {path} {status}")
