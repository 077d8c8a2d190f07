"""What the API answers when it does not do what was asked: read from its `Status` object, and said so that it can be mended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tapio_otel.component import ComponentError
from tapio_otel.notices import quote

UNREACHABLE: Final = "Unreachable"
"""The reason of a failure without an answer: nobody listens, the connection broke, the certificate is not trusted."""
QUIET: Final = "Quiet"
"""The reason of a watch on which nothing was heard for longer than there are bookmarks."""
MALFORMED: Final = "Malformed"
"""The reason of an answer that is no answer of this API."""

_PATH: Final = re.compile(r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/.))?/(?P<rest>.+)")
_REASON: Final = re.compile(r"[A-Za-z]{1,40}")
_USER: Final = re.compile(r'User "([^"]+)"')
_OF_CLUSTER: Final = frozenset({"nodes", "namespaces"})
"""Of what is asked for here, the resources that are in no namespace."""
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class ApiFailure(ComponentError):
    """Report an answer of the API that is no success; status 0 where there was no answer at all. Times are seconds."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.retry_after = status, reason, message, retry_after

    @property
    def expired(self) -> bool:
        """Tell whether the resourceVersion asked for, or the continuation of a list, is gone (410)."""
        return self.status == 410

    @property
    def unauthorized(self) -> bool:
        """Tell whether the credentials were not accepted (401)."""
        return self.status == 401

    @property
    def forbidden(self) -> bool:
        """Tell whether RBAC refused it (403)."""
        return self.status == 403

    @property
    def missing(self) -> bool:
        """Tell whether the server knows no such resource or object (404)."""
        return self.status == 404


@dataclass(frozen=True, slots=True)
class Request:
    """Name what was asked as RBAC names it: `watch`, `pods`, in which API group, namespace and of which object."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""

    @classmethod
    def of(cls, method: str, path: str, watch: bool = False) -> Request:
        """Read it from the path of a request."""
        match = _PATH.fullmatch(path)
        if match is None:
            return cls(method, path)
        resource, _, name = match["rest"].partition("/")
        name, _, part = name.partition("/")
        if watch:
            verb = "watch"
        elif method == "GET":
            verb = "get" if name else "list"
        else:
            verb = _VERBS.get(method, method.lower())
        return cls(verb, f"{resource}/{part}" if part else resource, match["group"] or "", match["namespace"] or "", name)

    def __str__(self) -> str:
        resource, slash, part = self.resource.partition("/")
        what = (f"{resource}.{self.group}" if self.group else resource) + slash + part
        what += f" {self.name}" if self.name else ""
        if self.namespace:
            return f"{self.verb} {what} in namespace {self.namespace}"
        return f"{self.verb} {what}" + ("" if self.name or resource in _OF_CLUSTER or not resource else " in all namespaces")

    def remedy(self) -> str:
        """Return what its role must be given, so that this is allowed."""
        verbs = "[list, watch]" if self.verb in ("list", "watch") else f"[{self.verb}]"
        group = f" (API group {self.group})" if self.group else ""
        role = f"Role in namespace {self.namespace}, or its ClusterRole" if self.namespace else "ClusterRole"
        return f"add verbs {verbs} of {self.resource}{group} to its {role}"


def failure_of_answer(status: int, body: bytes, headers: Mapping[str, str], request: Request) -> ApiFailure:
    """Return what an answer of any other status than success says."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    said = parsed if isinstance(parsed, dict) else {"message": body[:2000].decode(errors="replace")}
    return failure_of_status({**said, "code": status}, request, _seconds(headers.get("Retry-After")))


def failure_of_status(said: Any, request: Request, retry_after: float | None = None) -> ApiFailure:
    """Return what a `Status` object says, be it the answer or an ERROR within a watch; takes any JSON."""
    if not isinstance(said, dict):
        said = {}
    status = said["code"] if isinstance(said.get("code"), int) else 500
    reason = said.get("reason")
    if not (isinstance(reason, str) and _REASON.fullmatch(reason)):  # it becomes an attribute of a metric
        reason = f"HTTP {status}"
    words = quote(said["message"]) if isinstance(said.get("message"), str) else reason
    details = said.get("details")
    if retry_after is None and isinstance(details, dict):
        retry_after = _seconds(details.get("retryAfterSeconds"))
    return ApiFailure(status, reason, _sentence(status, words, request), retry_after)


def _sentence(status: int, words: str, request: Request) -> str:
    if status == 403:
        match = _USER.search(words)
        who = f"{match[1]} may" if match else "may"
        return f"{who} not {request}: {request.remedy()} (the server said: {words})"
    if status == 401:
        return f"the server does not accept the credentials to {request} ({words}): is the token or certificate still valid?"
    if status == 404 and not request.name:
        return f"the server knows no {request.resource}" + (f" in API group {request.group}" if request.group else "")
    return f"cannot {request}: {status} {words}"


def _seconds(text: Any) -> float | None:
    """Return the seconds of a Retry-After; Kubernetes sends no dates."""
    try:
        seconds = float(text)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < float("inf") else None
