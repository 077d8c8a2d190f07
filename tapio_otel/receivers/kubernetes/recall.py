"""What the server remembers: the objects as they were at a resourceVersion, so that what changed since then can be told.

That saves keeping every pod's state in the checkpoint: the server keeps former versions for five to ten minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tapio_otel.kubernetes.client import KubernetesClient
from tapio_otel.kubernetes.failures import ApiFailure
from tapio_otel.kubernetes.pauses import DEFAULT_PAUSES, Pauses
from tapio_otel.kubernetes.resources import Resource, Selection

_PAGE: Final = "500"
_GONE: Final = frozenset((400, 403, 404, 410, 422))
"""Answers that will be no other when asked again: what is asked for is forgotten, unknown or forbidden."""


async def recall(
    client: KubernetesClient,
    resource: Resource,
    selection: Selection,
    namespace: str,
    version: str,
    trim: Callable[[dict[str, Any]], Any],
    report: Callable[[str | None], None],
    pauses: Pauses = DEFAULT_PAUSES,
) -> list[Any] | None:
    """Return the objects of a selection as they were; None where the server has forgotten. Waits for one that is down."""
    failures = 0
    while True:
        try:
            return await _pages(client, resource, selection, namespace, version, trim)
        except ApiFailure as failure:
            if failure.status in _GONE or _is_ahead(failure):
                return None
            failures += 1
            report(failure.message)
            await asyncio.sleep(max(pauses.after(failures), min(failure.retry_after or 0.0, pauses.longest_asked)))


async def _pages(
    client: KubernetesClient,
    resource: Resource,
    selection: Selection,
    namespace: str,
    version: str,
    trim: Callable[[dict[str, Any]], Any],
) -> list[Any]:
    selectors = {"fieldSelector": selection.field_selector, "labelSelector": selection.label_selector}
    params = {name: text for name, text in selectors.items() if text} | {"limit": _PAGE}
    place: dict[str, str] = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    objects: list[Any] = []
    while True:
        page = await client.get(resource.path(namespace), **params, **place)
        try:
            objects += [trim(one) for one in page.get("items") or ()]
            token = page["metadata"].get("continue")
        except (AttributeError, KeyError, TypeError) as error:
            raise ApiFailure(400, "Malformed", f"the list of {resource} is none") from error
        if not token:
            return objects
        place = {"continue": token}


def _is_ahead(failure: ApiFailure) -> bool:
    """Tell whether the server is older than what is asked for: it was restored from a backup."""
    return "Too large resource version" in failure.message
