"""redaction: takes out of events what must not leave the node.

Looks at title, description, and every text in attributes, labels and annotations (lists and maps inside, bytes too); writes
`****` where a detector finds a secret and leaves the words around it. Ids, trace ids, types, and the names, uids and
attributes of entities stay as they are. See docs/redaction.md for what is found and what cannot be.

What events share is redacted once for each origin. A batch is looked at several events at once: only where one of them has
something that may be a secret is each looked at alone.

Guarantees: no event is dropped, the order stays, an event without secrets is not changed and shares its origin still.
Redacting again changes nothing. Secrets are counted as `redacted` by `detector`, what an origin holds once; they appear in no
log, counter or error. An event that cannot be redacted loses its texts and attributes and is counted as `failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, cast

from tapio_otel.component import ComponentContext, Processor, Stability
from tapio_otel.event import AttributeValue, Origin, UnifiedEvent
from tapio_otel.processors.redaction.config import RedactionConfig
from tapio_otel.processors.redaction.content import PLAIN, SHORTEST, SKIPPED, Findings, Redactor
from tapio_otel.processors.redaction.scanner import MASK

MASKED_KEYS: Final = "redaction.masked.keys"
MASKED_COUNT: Final = "redaction.masked.count"
REMOVED_KEYS: Final = "redaction.redacted.keys"
REMOVED_COUNT: Final = "redaction.redacted.count"

_Attributes: TypeAlias = "dict[str, AttributeValue]"
_TOGETHER: Final = 16
"""Events that are looked at as one: a call into RE2 costs as much as reading a few hundred characters."""


class RedactionProcessor(Processor[RedactionConfig]):
    """Redact secrets."""

    type = "redaction"
    Config = RedactionConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: RedactionConfig) -> None:
        super().__init__(context, config)
        self._redactor = Redactor(config)
        self._together = _TOGETHER if self._redactor.scanner.joins else 1
        self._key: Final = object()
        self._findings = Findings()
        self._passing = (int, float, bool, type(None)) if not config.redact_all_types else (bool, type(None))

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Redact the events in place; returns the same list."""
        suspects, together = self._redactor.scanner.suspects, self._together
        self._share_clean_origins(events)
        for start in range(0, len(events), together):
            some = events[start : start + together]
            texts: list[str] = []
            unclear = self._gather(some, texts)
            for event in unclear:
                self._redact_safely(event)
            if texts and suspects("\n".join(texts)):
                for event in some:
                    texts = []
                    if not self._gather((event,), texts) and suspects("\n".join(texts)):
                        self._redact_safely(event)
        if self._findings.counts:
            self._count()
        return events

    def _share_clean_origins(self, events: list[UnifiedEvent]) -> None:
        key = self._key
        last: Origin | None = None
        clean: Origin | None = None
        for event in events:
            origin = event.shared
            if origin is not last:
                last = clean = origin
                if origin is not None:
                    clean = origin.cache.get(key) or self._clean(origin)
            if clean is not origin:
                event.shared = clean

    def _gather(self, events: Iterable[UnifiedEvent], texts: list[str]) -> list[UnifiedEvent]:
        """Add all texts that are the events' own; returns the events that need a closer look."""
        kinds, passing = self._redactor.kinds, self._passing
        unclear: list[UnifiedEvent] = []
        for event in events:
            text, title = event.description, event.title
            # What a plugin made may be no text, and an event without an origin has its attributes elsewhere.
            if event.shared is None or text.__class__ is not str or title.__class__ is not str:
                unclear.append(event)
                continue
            texts.append(text)
            if title is not text and not text.startswith(title):
                texts.append(title)
            if event.own:
                for key, value in event.own.items():
                    kind = kinds.get(key)
                    if kind == PLAIN:
                        if value.__class__ is str:
                            if len(value) >= SHORTEST:
                                texts.append(value)
                        elif value.__class__ not in passing:
                            unclear.append(event)
                            break
                    elif kind != SKIPPED:
                        unclear.append(event)
                        break
        return unclear

    def _redact_safely(self, event: UnifiedEvent) -> None:
        try:
            self._redact(event)
        except Exception as error:
            self._withhold(event, error)

    def _redact(self, event: UnifiedEvent) -> None:
        findings, mapping = self._findings, self._redactor.mapping
        findings.begin()
        self._redact_texts(event, findings)
        if event.shared is not None:
            event.own = cast("_Attributes", mapping(event.own, findings))
        else:
            event.attributes = cast("_Attributes", mapping(event.attributes, findings))
            event.labels = cast("dict[str, str]", mapping(event.labels, findings))
            event.annotations = cast("dict[str, str]", mapping(event.annotations, findings))
        for key, value in self._summary(findings, event.get).items():
            event.set(key, value)

    def _redact_texts(self, event: UnifiedEvent, findings: Findings) -> None:
        title, description = event.title, event.description
        if not isinstance(title, str) or not isinstance(description, str):
            raise TypeError("title and description must be text")
        event.description, event.title = self._redactor.text(description, title, findings)
        if event.description != description:
            findings.masked.append("description")
        if event.title != title:
            findings.masked.append("title")

    def _clean(self, origin: Origin) -> Origin:
        """Return an origin with the content of this one redacted: itself where nothing was found."""
        try:
            clean = self._redacted(origin)
        except Exception as error:
            self._failed(error)
            clean = Origin(origin.entity)
        clean.cache[self._key] = origin.cache[self._key] = clean
        return clean

    def _redacted(self, origin: Origin) -> Origin:
        findings, mapping = self._findings, self._redactor.mapping
        findings.begin()
        before = (origin.attributes, origin.labels, origin.annotations)
        attributes, labels, annotations = (mapping(values, findings) for values in before)
        record = mapping(origin.record, Findings(), removing=False)  # what a normalizer will still make labels of
        if attributes is before[0] and labels is before[1] and annotations is before[2] and record is origin.record:
            return origin
        summary = self._summary(findings, attributes.get)
        return Origin(origin.entity, {**attributes, **summary}, labels, annotations, record)

    def _summary(self, findings: Findings, known: Callable[[str], Any]) -> _Attributes:
        """Return the attributes that tell what was found, added to what is known from before."""
        summary: _Attributes = {}
        if self.config.summary == "silent":
            return summary
        for found, keys, count in (
            (findings.masked, MASKED_KEYS, MASKED_COUNT),
            (findings.removed, REMOVED_KEYS, REMOVED_COUNT),
        ):
            if found:
                summary[count] = len(found) + (known(count) or 0)
                if self.config.summary == "debug":
                    earlier = known(keys)
                    summary[keys] = ",".join(sorted({*found, *(earlier.split(",") if earlier else ())}))
        return summary

    def _withhold(self, event: UnifiedEvent, error: Exception) -> None:
        """Take from an event all that could hold a secret, as nobody can tell whether it does."""
        self._failed(error)
        event.shared, event.own = Origin(event.entity), {}
        event.title = event.description = MASK.decode()

    def _failed(self, error: Exception) -> None:
        """Count a failure; what the exception says may hold what was being redacted."""
        self.context.counters.add("failed", 1, reason=type(error).__name__)

    def _count(self) -> None:
        for detector, amount in self._findings.counts.items():
            self.context.counters.add("redacted", amount, detector=detector)
        self._findings.counts.clear()
