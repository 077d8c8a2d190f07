"""normalize: turns each source's own terms into the event model's, and tells what log texts mean.

First the source's normalizer: a pure function that plugins offer by source (hook `tapio_normalizers`); it sets type, severity,
entity, title and description of a list of events in place. Events of a source without one go on as they are, but for their
title (made from the description or the type where it is empty, one line of at most 200 characters) and a severity that is none.

Then the texts of what is still of type `log`: the pattern library and the classifiers (see `texts`).

Guarantees: no event is dropped, the order stays, and normalizing twice changes nothing. Where a normalizer fails, its events
are given to it one at a time, so a normalizer must not mind to meet an event again; the event that it cannot take goes on as it
is, with the error in the attribute `tapio.normalize.error`, and is counted as `failed` with `source` and `reason`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from tapio_otel.component import ComponentConfig, ComponentContext, Normalizer, Processor, Stability
from tapio_otel.config.problem import Problem
from tapio_otel.event import EventType, Severity, UnifiedEvent

ERROR_KEY: Final = "tapio.normalize.error"
TITLE_LENGTH: Final = 200
NOT_PATHS: Final = frozenset(("builtin", "plugins"))
"""Entries of `patterns` that stand for files which do not change while the agent runs."""

_SOURCE: Final = attrgetter("source")


class NormalizeConfig(ComponentConfig):
    """Be the options of `normalize`."""

    patterns: list[str] = Field(
        default=["builtin", "plugins"],
        description="What makes up the pattern library, later entries taking the place of earlier patterns of the same name: "
        "`builtin`, `plugins` (all that plugins provide), the name of one plugin's set, or the path of a YAML file or of a "
        "directory of such.",
    )
    disabled_patterns: list[str] = Field(default=[], description="Names of patterns to leave out.")
    classifiers: list[str] | None = Field(
        default=None,
        description="The classifiers to ask about texts that no pattern knows, in this order; by default all, the built-in "
        "ones first.",
    )


class NormalizeProcessor(Processor[NormalizeConfig]):
    """Run the normalizer of each event's source, then tell what the texts of log events mean.

    Raises `ConfigError` with everything that is wrong with the pattern files, and names that do not exist.
    """

    type = "normalize"
    Config = NormalizeConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: NormalizeConfig) -> None:
        super().__init__(context, config)
        from tapio_otel.processors.normalize.texts import Texts  # loads RE2

        self._normalizers: Mapping[str, Normalizer] = context.provided("normalizers")
        self.texts = Texts(context, config.patterns, config.disabled_patterns, config.classifiers)
        self._unwell = False

    @classmethod
    def files_read(cls, config: NormalizeConfig) -> list[Path]:
        """Return the user's pattern files: directories with all that is in them, so that files which come or go count."""
        found: list[Path] = []
        for entry in config.patterns:
            with suppress(OSError, RuntimeError, ValueError):  # the library tells what is wrong with a path
                place = Path(entry).expanduser()
                if entry not in NOT_PATHS and place.exists():
                    found += [place, *(sorted(place.iterdir()) if place.is_dir() else ())]
        return found

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Normalise the events in place; returns them in the same order."""
        failed = 0
        if len(set(map(_SOURCE, events))) == 1:  # as good as always: a batch comes from one receiver
            failed = self._normalize(events[0].source, events)
        else:
            for source, run in groupby(list(events), _SOURCE):
                failed += self._normalize(source, list(run))
        failed += self.texts.classify(events, self._report)
        if self._unwell and not failed:
            self._unwell = False
            self.context.report(None)
        return events

    def check(self) -> list[Problem]:
        """Return what is wrong with the examples of the library's patterns."""
        from tapio_otel.patterns import check_examples

        return check_examples(self.texts.library)

    def explain(self, event: UnifiedEvent) -> list[dict[str, Any]]:
        """Tell which patterns and classifiers are found in an event's text, by rank, and why each is chosen or not."""
        return self.texts.explain(event)

    def _normalize(self, source: str, events: list[UnifiedEvent]) -> int:
        """Normalise events of one source; returns how many could not be."""
        normalizer = self._normalizers.get(source, make_sane)
        try:
            normalizer(events)
        except Exception:
            return sum(self._normalize_alone(source, normalizer, event) for event in events)
        return 0

    def _normalize_alone(self, source: str, normalizer: Normalizer, event: UnifiedEvent) -> bool:
        """Normalise one event of a batch that failed; returns whether it is the one at fault."""
        before = event.copy()
        try:
            normalizer([event])
        except Exception as error:
            _restore(event, before)
            event.set(ERROR_KEY, said(error))
            self.context.counters.add("failed", 1, source=source, reason=type(error).__name__)
            self._report(f"normalizer of source {source!r}", error)
            return True
        return False

    def _report(self, what: str, error: Exception) -> None:
        """Report the first failure, until all is well again."""
        if not self._unwell:
            self._unwell = True
            self.context.warn(f"the {what} fails: {said(error)}; its events go on unchanged")


def make_sane(events: list[UnifiedEvent]) -> None:
    """Give events of a source without a normalizer a title and a severity that everything downstream can rely on."""
    for event in events:
        title = event.title
        if not title or len(title) > TITLE_LENGTH or "\n" in title:
            event.title = first_line(title) or first_line(event.description) or event.type or EventType.LOG
        if not isinstance(event.severity, Severity):
            event.severity = _as_severity(event.severity)


def first_line(text: str) -> str:
    """Return the first line that says something, without surrounding blanks, up to 200 characters."""
    start = text.lstrip()
    return start[: TITLE_LENGTH * 2].partition("\n")[0].rstrip()[:TITLE_LENGTH]


def said(error: Exception) -> str:
    """Return an error in one line, with its kind."""
    return f"{type(error).__name__}: {error}"[:TITLE_LENGTH]


def _as_severity(value: Any) -> Severity:
    try:
        return Severity.from_keyword(value) if isinstance(value, str) else Severity(value)
    except ValueError:
        return Severity.INFO


def _restore(event: UnifiedEvent, before: UnifiedEvent) -> None:
    """Undo what a normalizer did to an event before it failed."""
    for name in UnifiedEvent.__slots__:
        if hasattr(before, name):
            setattr(event, name, getattr(before, name))
