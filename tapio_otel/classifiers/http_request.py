"""A served HTTP request as an access log tells it: severity by status, attributes by OpenTelemetry's HTTP conventions."""

from __future__ import annotations

from typing import Final, NamedTuple

from tapio_otel.classifiers.expression import one_line
from tapio_otel.event import AttributeValue, Severity

CATEGORY: Final = "http"
METHODS: Final = frozenset(
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "REPORT", "MKCOL", "QUERY"]
)
_TOO_MANY_REQUESTS: Final = 429
_LONGEST_PATH: Final = 1024
_LONGEST_AGENT: Final = 512
_MOST_BYTES_DIGITS: Final = 18


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
        """Return error for a server's failure, warning for refused load, notice for a client's failure, else info."""
        if self.status >= 500:
            return Severity.ERROR
        if self.status == _TOO_MANY_REQUESTS:
            return Severity.WARNING
        return Severity.NOTICE if self.status >= 400 else Severity.INFO

    @property
    def path(self) -> str:
        """Return the path of the target, without the query, which may hold what must not be shown."""
        path = self.target.partition("?")[0]
        if "://" in path[:10]:
            path = "/" + path.partition("://")[2].partition("/")[2]
        return path[:_LONGEST_PATH]

    @property
    def title(self) -> str:
        """Return method, path and status in one line."""
        return one_line(" ".join(part for part in (self.method, self.path, str(self.status)) if part))

    def attributes(self) -> dict[str, AttributeValue]:
        """Return what is known under the names of the HTTP conventions."""
        found: dict[str, AttributeValue] = {"http.response.status_code": self.status}
        if self.method in METHODS:
            found["http.request.method"] = self.method
        texts = {"url.path": self.path, "client.address": self.client, "user_agent.original": self.user_agent[:_LONGEST_AGENT]}
        found |= {key: value for key, value in texts.items() if value not in {"", "-"}}
        if len(self.size) <= _MOST_BYTES_DIGITS and self.size.isascii() and self.size.isdigit():
            found["http.response.body.size"] = int(self.size)
        return found
