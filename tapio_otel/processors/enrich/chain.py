"""The chain of enrichers: made from the configuration, and asked so that one that fails spoils nothing but its own part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from tapio_otel.component import ComponentError
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.enrichment import Enricher, EnricherContext, EnricherFactory
from tapio_otel.event import UnifiedEvent
from tapio_otel.processors.enrich.config import CHAIN, PLUGINS, EnrichConfig
from tapio_otel.processors.enrich.enrichers import BUILTIN
from tapio_otel.processors.enrich.subject import Additions

Failed = Callable[[str, Exception], None]
_LONGEST: Final = 200


class Link:
    """Hold one enricher with its name."""

    __slots__ = ("enricher", "name", "reads")

    def __init__(self, name: str, enricher: Enricher) -> None:
        self.name = name
        self.enricher = enricher
        self.reads = frozenset(enricher.reads)


class Chain:
    """Ask enrichers in order. `failed` is told the name of one that raised, and why."""

    def __init__(self, links: Iterable[Link], failed: Failed) -> None:
        self.links = tuple(links)
        self.reads: frozenset[str] = frozenset().union(*[link.reads for link in self.links])
        """Attributes for whose sake single events are looked at."""
        self._of_events = tuple([link for link in self.links if link.reads])
        self._failed = failed

    @property
    def version(self) -> int:
        """Return a number that goes up when any enricher may say something else."""
        return sum([link.enricher.version for link in self.links])

    async def start(self) -> None:
        """Start every enricher; raises ComponentError naming the one that cannot work."""
        for link in self.links:
            try:
                await link.enricher.start()
            except Exception as error:
                raise ComponentError(f"enricher {link.name!r}: {said(error)}") from error

    async def shutdown(self) -> None:
        """Shut every enricher down."""
        for link in self.links:
            try:
                await link.enricher.shutdown()
            except Exception as error:
                self._failed(link.name, error)

    def enrich(self, subject: Additions) -> tuple[Link, ...]:
        """Let every enricher add to what all events of an origin say; returns those that want to see each event."""
        each = []
        for link in self.links:
            try:
                link.enricher.enrich(subject)
            except Exception as error:
                self._failed(link.name, error)
            if subject.each:
                subject.each = False
                each.append(link)
        return tuple(each)

    def enrich_event(self, event: UnifiedEvent, names: Iterable[str], each: tuple[Link, ...]) -> None:
        """Show one event, which has attributes of these names of its own, to those that read any of them."""
        own = set(names)
        for link in self._of_events:
            if not link.reads.isdisjoint(own):
                self._show(link, event)
        for link in each:
            if link.reads.isdisjoint(own):
                self._show(link, event)

    def _show(self, link: Link, event: UnifiedEvent) -> None:
        try:
            link.enricher.enrich_event(event)
        except Exception as error:
            self._failed(link.name, error)


def make_chain(
    config: EnrichConfig, context: Callable[[str], EnricherContext], provided: Mapping[str, EnricherFactory], failed: Failed
) -> Chain:
    """Return the chain that a configuration names; raises ConfigError with every name and option that is wrong."""
    factories = {**provided, **BUILTIN}
    problems: list[Problem] = []
    links = []
    for index, name in enumerate(_names(config.enrichers, factories)):
        factory = factories.get(name)
        if factory is None:
            near = get_close_matches(name, [*factories, PLUGINS], 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(factories))}"
            problems.append(Problem("", None, f"enrichers[{index}]", f"unknown enricher {name!r}: {hint}"))
            continue
        try:
            enricher = factory(context(name), options_of(config, name))
        except ConfigError as error:
            problems += error.problems
        except Exception as error:
            if name in BUILTIN:
                raise
            failed(name, error)
        else:
            if isinstance(enricher, Enricher):
                links.append(Link(name, enricher))
            else:
                failed(name, TypeError(f"its factory returned {enricher!r}, expected a tapio_otel.Enricher"))
    for name in sorted(config.options.keys() - factories.keys()):
        near = get_close_matches(name, list(factories), 1)
        hint = f"did you mean {near[0]!r}?" if near else "no plugin brings it"
        problems.append(Problem("", None, f"options.{name}", f"no enricher is called {name!r}: {hint}"))
    if problems:
        raise ConfigError(problems)
    return Chain(links, failed)


def options_of(config: EnrichConfig, name: str) -> Any:
    """Return an enricher's own options: a built-in one's section, a plugin's entry of `options`."""
    return getattr(config, name, None) if name in BUILTIN else config.options.get(name, {})


def _names(wanted: Iterable[str], factories: Mapping[str, EnricherFactory]) -> list[str]:
    """Return the enrichers in their order, `plugins` replaced by those that are meant."""
    listed = list(wanted)
    others = [name for name in factories if name not in listed and name not in CHAIN]
    return [one for name in listed for one in (others if name == PLUGINS else [name])]


def said(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {error}"[:_LONGEST]
