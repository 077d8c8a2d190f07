"""What entities are called in answers: `pod/prod/web-0`, and the names of an entity's lineage from the outermost down."""

from __future__ import annotations

from typing import Final

from tapio_otel.correlation.finding import path as name_of
from tapio_otel.entity import EntityReference, EntityType

__all__ = ["clean", "lineage_names", "name_of", "parts_of"]

_WITHOUT_NAMESPACE: Final = frozenset(
    (EntityType.MOUNT, EntityType.DEVICE, EntityType.NODE, EntityType.NAMESPACE, EntityType.SYSTEMD_UNIT, EntityType.PROCESS)
)


def lineage_names(entity: EntityReference) -> tuple[str, ...]:
    """Return the names of an entity and its parents, the outermost first."""
    return tuple(name_of(one) for one in reversed(entity.lineage()))


def clean(text: str) -> str:
    """Return a text without what UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def parts_of(name: str) -> tuple[str, str, str]:
    """Return type, namespace and name of an entity's name, as well as can be told."""
    type_, _, rest = name.partition("/")
    namespace, slash, own = rest.partition("/")
    if type_ in _WITHOUT_NAMESPACE or not slash or not namespace:
        return type_, "", rest
    return type_, namespace, own
