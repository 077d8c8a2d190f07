"""The geoip enricher: where in the world, and in whose network, the public addresses of an event are.

It reads MaxMind DB files (city, country, ASN) and asks nobody else. What it finds of `source.address` becomes `source.geo.*`
and `source.as.*`, of `destination.address` `destination.geo.*`, and so on: an event may have several addresses. Private and
other addresses that are not of the public Internet are not looked up.

A file that is replaced is read anew within `reload_interval`, beside the event loop. One that is missing at the start is an
error; one that is broken or missing later is reported, and what was read before stays in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from pydantic import Field, field_validator

from tapio_otel.component import ComponentConfig, ComponentError
from tapio_otel.config.types import Duration
from tapio_otel.enrichment import Enricher, EnricherContext, Subject
from tapio_otel.event import UnifiedEvent
from tapio_otel.otlp.semconv import CONVENTIONS
from tapio_otel.processors.enrich.geoip_addresses import public_address
from tapio_otel.processors.enrich.geoip_database import Database, Facts, facts_of

ATTRIBUTES: Final = ("source.address", "destination.address", "client.address", "network.peer.address")
"""Attributes that are looked up by default, by their OTLP names."""


class GeoIpOptions(ComponentConfig):
    """Be the options of the geoip enricher."""

    databases: list[str] = Field(
        [],
        description="Paths of MaxMind DB files (`.mmdb`): city, country and ASN databases. Of two that say the same thing, the "
        "first is heard. Without any, nothing is looked up.",
    )
    attributes: list[str] = Field(
        list(ATTRIBUTES),
        min_length=1,
        description="Attributes whose addresses are looked up, by the names that they have in OTLP (`src_ip` is "
        "`source.address`). What is found of `source.address` is put below `source.`.",
    )
    plain_names: bool = Field(
        False,
        description="Name what is found `geo.*` and `as.*`, without `source.` and the like, as the collector's geoip processor "
        "does: that of the first of `attributes` which has a public address that is known.",
    )
    language: str = Field("en", min_length=2, description="Language of the names of places, English where there is none.")
    cache_size: int = Field(
        16384, ge=1, description="Most addresses whose answer is kept, also those of which nothing is known."
    )
    reload_interval: Duration = Field(60.0, ge=1, description="Time between two looks at whether a file was replaced.")

    @field_validator("databases", "attributes")
    @classmethod
    def _named_once(cls, names: list[str]) -> list[str]:
        if "" in names:
            raise ValueError("an empty text names nothing: remove it")
        return list(dict.fromkeys(names))


class GeoIpEnricher(Enricher):
    """Add places and networks of addresses; for the event loop's thread."""

    def __init__(self, context: EnricherContext, options: GeoIpOptions) -> None:
        self._options = options
        self._report, self._notices = context.report, context.component.notices
        state = context.component.state_dir
        self._overwrite = context.overwrite
        self._databases = [Database(path, state) for path in options.databases]
        self._keys = [(_prefix(name, options.plain_names), _keys_of(name)) for name in options.attributes]
        self.reads = frozenset(key for _, keys in self._keys for key in keys) if self._databases else frozenset()
        self._find: Callable[[str, str], Facts] = lru_cache(options.cache_size)(self._look_up)
        self._task: asyncio.Task[None] | None = None
        self._reported = self._damaged = False
        for database in self._databases:
            database.check()

    async def start(self) -> None:
        """Open all databases; raises `ComponentError` where one cannot be used."""
        if not self._databases:
            return
        for database in self._databases:
            await self._reload(database)
        self._task = asyncio.create_task(self._keep_up(), name="enrich: geoip databases")

    async def shutdown(self) -> None:
        """Close all databases."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for database in self._databases:
            database.close()

    def enrich(self, subject: Subject) -> None:
        """Add what is known of the addresses that all events of an origin have."""
        for key, value in self._found(subject.attributes.get).items():
            subject.add(key, value)

    def enrich_event(self, event: UnifiedEvent) -> None:
        """Add what is known of one event's addresses."""
        get, overwrite = event.get, self._overwrite
        for key, value in self._found(get).items():
            if overwrite or get(key) is None:
                event.set(key, value)

    async def refresh(self) -> None:
        """Read the databases that were replaced; what is wrong with one is reported, and does not concern the others."""
        problems = []
        for database in self._databases:
            try:
                await self._reload(database)
            except ComponentError as error:
                problems.append(str(error))
        if problems:
            self._warn(f"{problems[0]}; what was read before stays in use")
        elif self._reported and not self._damaged and all(database.is_current for database in self._databases):
            self._reported = False
            self._report(None)

    async def _reload(self, database: Database) -> None:
        reader = await asyncio.to_thread(database.load)
        if reader is not None:
            database.take(reader)
            self._damaged = False  # what still is will be met again, as nothing is kept of what was found
            self._find = lru_cache(self._options.cache_size)(self._look_up)
            self.version += 1

    def _warn(self, problem: str) -> None:
        self._reported = True
        self._report(problem)
        self._notices.warn("geoip", problem)

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self._options.reload_interval)
            await self.refresh()

    def _found(self, get: Callable[[str], Any]) -> Mapping[str, Any]:
        """Return all that is known of the addresses that `get` returns."""
        found: Facts = {}
        for prefix, keys in self._keys:
            if found and self._options.plain_names:
                break
            for key in keys:
                value = get(key)
                if value.__class__ is str and value:
                    found = {**found, **self._find(prefix, value)} if found else self._find(prefix, value)
                    break
        return found

    def _look_up(self, prefix: str, text: str) -> Facts:
        address = public_address(text)
        found: Facts = {}
        if address is None:
            return found
        for database in self._databases:
            try:
                facts = facts_of(database.get(address), self._options.language)
            except ComponentError as error:
                self._damaged = True
                self._warn(str(error))
                continue
            for name, value in facts.items():
                found.setdefault(f"{prefix}{name}", value)
        return found


def _prefix(attribute: str, plain: bool) -> str:
    """Return what the names of what is known of an attribute's address begin with."""
    if plain:
        return ""
    return f"{attribute.removesuffix('.address').removesuffix('.ip')}."


def _keys_of(attribute: str) -> tuple[str, ...]:
    """Return the keys that events have for an attribute of OTLP."""
    return (*(key for key, one in CONVENTIONS.items() if one.name == attribute), attribute)
