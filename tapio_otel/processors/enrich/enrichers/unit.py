"""unit: the slice of a systemd unit, its description, and the package that brought it.

Descriptions are read from unit files, once for each unit, and again in a thread every few minutes. Packages are looked up in a
thread, at the start and when dpkg or rpm have changed theirs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.entities.bounded import Bounded
from tapio_otel.entity import EntityReference, EntityType
from tapio_otel.processors.enrich.packages import Package, changed_at, units_by_package
from tapio_otel.processors.enrich.unit_files import describe_unit, template_of

_UNITS: Final = 4096
_PAUSE: Final = 300.0
"""Seconds between two looks whether packages or descriptions have changed."""


class UnitEnricher(Enricher):
    """Add what is known of a unit of this machine."""

    def __init__(self, context: EnricherContext, _options: object) -> None:
        self._entities = context.component.entities
        self._descriptions: Bounded[str, str] = Bounded(_UNITS)
        self._packages: dict[str, Package] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look up packages."""
        self._task = asyncio.create_task(self._follow(), name="enrich: packages")

    async def shutdown(self) -> None:
        """Stop looking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def enrich(self, subject: Subject) -> None:
        """Add to events about a unit of this machine, or anything below it that is no pod."""
        unit = subject.unit
        if not unit:
            return
        subject.add("slice", _slice(subject.entity))
        if not subject.here or "/" in unit:  # another machine's, or a user's own
            return
        subject.add("unit_description", self._describe(unit))
        package = self._packages.get(unit) or self._packages.get(template_of(unit)[0])
        if package is not None:
            subject.add("unit_package", package.name)
            subject.add("unit_package_version", package.version)

    def _describe(self, unit: str) -> str:
        known = self._descriptions.get(unit)
        if known is None:
            known = self._descriptions.keep(unit, describe_unit(unit, self._entities.root_path))
        return known

    async def _follow(self) -> None:
        root = self._entities.root_path
        seen: tuple[float, ...] = ()
        while True:
            now = await asyncio.to_thread(changed_at, root)
            if now != seen:
                seen = now
                self._packages = await asyncio.to_thread(units_by_package, root)
                self.version += 1
            await asyncio.sleep(_PAUSE)
            known = list(self._descriptions.items())
            described = await asyncio.to_thread(_described, known, root)
            if described != known:
                self._descriptions.clear()
                for unit, text in described:
                    self._descriptions.keep(unit, text)
                self.version += 1


def _described(known: list[tuple[str, str]], root: Path) -> list[tuple[str, str]]:
    return [(unit, describe_unit(unit, root)) for unit, _ in known]


def _slice(entity: EntityReference) -> str:
    for one in entity.lineage():
        if one.type == EntityType.SYSTEMD_UNIT:
            return str(one.attributes.get("slice", ""))
    return ""
