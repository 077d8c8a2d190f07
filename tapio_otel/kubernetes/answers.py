"""What the API answers, read fast: pages of lists, and lines of watches, as everything that happens in a cluster comes so.

Of each object only the parts are decoded that its resource has; who wrote which field (managedFields), half of many a pod, is
skipped. What does not look as expected is decoded whole, and refused if it makes no sense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Any, Final, NamedTuple, TypedDict, cast

import msgspec
import orjson

from tapio_otel.kubernetes.failures import MALFORMED, ApiFailure, Request, failure_of_status
from tapio_otel.kubernetes.resources import Resource
from tapio_otel.notices import quote

_dict_of: Final = cast("Callable[..., Any]", TypedDict)
Trim = Callable[[dict[str, Any]], Any]
CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
METADATA: Final = (
    *("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "finalizers"),
)
"""What the metadata of every object may hold, by the API reference, without managedFields."""


class Change(NamedTuple):
    """Hold one change of an object: ADDED, MODIFIED or DELETED, and the object trimmed."""

    type: str
    object: Any


class Page(NamedTuple):
    """Hold a part of a list: trimmed objects, and `more` to continue with, empty at the end."""

    objects: list[Any]
    version: str
    more: str
    untrimmed: int


@dataclass(slots=True)
class Told:
    """Hold what lines of a watch said, in order, up to the first that told of a failure."""

    changes: list[Change] = field(default_factory=list)
    version: str = ""
    """The resourceVersion reached; empty when the lines named none."""
    failure: ApiFailure | None = None
    untrimmed: int = 0
    """Objects left out because `trim` failed on them."""


class Reader:
    """Read objects of one resource, and trim them."""

    def __init__(self, resource: Resource, trim: Trim) -> None:
        self._resource, self._trim = resource, trim
        shape = _shape(resource)
        self._line: Callable[[bytes], Any] = msgspec.json.Decoder(_dict_of("line", {"type": str, "object": shape})).decode
        page = _dict_of("page", {"metadata": Any, "items": GenericAlias(list, shape)})
        self._page: Callable[[bytes], Any] = msgspec.json.Decoder(page).decode

    def page(self, body: bytes, request: Request) -> Page:
        """Read a list; raises ApiFailure where it is none."""
        try:
            page = self._page(body)
        except msgspec.DecodeError:
            page = whole(body, request)
        version, more = read_version(page, request), page["metadata"].get("continue") or ""
        items = page.get("items")
        if not isinstance(items, list | None) or not isinstance(more, str):
            raise _no_list(request)
        objects: list[Any] = []
        for raw in items or ():  # Go writes an empty list as null
            try:
                # The server leaves these out of the objects of a list, though not of a watch.
                raw["apiVersion"], raw["kind"] = self._resource.group_version, self._resource.kind
                objects.append(self._trim(raw))
            except Exception:  # noqa: S112 - counted
                continue
        return Page(objects, version, more, len(items or ()) - len(objects))

    def lines(self, lines: list[bytes], request: Request) -> Told:
        """Read lines of a watch."""
        told = Told()
        changes, trim, read = told.changes, self._trim, self._line
        version = ""
        for line in lines:
            if not line:
                continue
            try:
                event = read(line)
                type_, raw = event["type"], event["object"]
                if type_ in CHANGES:
                    version = raw["metadata"]["resourceVersion"]
                    try:
                        changes.append(Change(type_, trim(raw)))
                    except Exception:
                        told.untrimmed += 1
                elif type_ == "BOOKMARK":
                    version = raw["metadata"]["resourceVersion"]
                else:
                    told.failure = _failure(line, request)
                    break
            except (msgspec.DecodeError, KeyError, TypeError):
                told.failure = _failure(line, request)
                break
        told.version = version
        return told


def whole(body: bytes, request: Request) -> Any:
    """Return any JSON decoded; raises ApiFailure for what is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        words = quote(body[:200].decode(errors="replace"))
        raise ApiFailure(0, MALFORMED, f"cannot {request}: the server answered no JSON, but {words!r}") from error


def read_version(page: Any, request: Request) -> str:
    """Return the resourceVersion of a list; raises ApiFailure where it is none."""
    metadata = page.get("metadata") if isinstance(page, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version:
        raise _no_list(request)
    return version


def _no_list(request: Request) -> ApiFailure:
    return ApiFailure(0, MALFORMED, f"cannot {request}: the answer is no list of objects; is this the Kubernetes API?")


def _failure(line: bytes, request: Request) -> ApiFailure:
    """Return what a line says that tells of no change: a failure, or nothing that makes sense."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        event = None
    if isinstance(event, dict) and event.get("type") == "ERROR":
        return failure_of_status(event.get("object"), request)
    words = quote(line[:100].decode(errors="replace"))
    return ApiFailure(0, MALFORMED, f"cannot {request}: the line {words!r} is no event of a watch")


def _shape(resource: Resource) -> Any:
    """Return what to decode of an object: dicts with the parts that are named, whatever these hold."""
    if not resource.parts:
        return Any
    metadata = _dict_of("metadata", dict.fromkeys(METADATA, Any), total=False)
    parts = {"apiVersion": Any, "kind": Any, "metadata": metadata, **dict.fromkeys(resource.parts, Any)}
    return _dict_of("object", parts, total=False)
