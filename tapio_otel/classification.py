"""Classification: what the text of a log event turns out to say, and who may tell.

A classifier looks at a text that no pattern knows. It is a pure function: it must not change the event, must not wait, and
returns None for a text that is none of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from tapio_otel.event import AttributeValue, Severity, UnifiedEvent

_NO_ATTRIBUTES: Final[Mapping[str, AttributeValue]] = MappingProxyType({})


class Classification(NamedTuple):
    """Tell what a text says. What is left out stays as it is; a severity counts only where it is worse than the declared."""

    severity: Severity | None = None
    type: str = ""
    category: str = ""
    title: str = ""
    """One line, in the place of the text's first line."""
    attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES
    """Attributes to add; those that the event has already are left out."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Classify texts that no pattern matched; offered by plugins through the hook `tapio_classifiers`, by name.

    `trigger` is an RE2 pattern without which a text is certainly none of this classifier's: it takes part in the one pass over
    the text that looks for all patterns, so that most texts cost a classifier nothing. Without one, `classify` is asked about
    every text that nobody classified before. `classify` gets the text (the first 16 KiB of a longer one) and the event.
    """

    classify: Callable[[str, UnifiedEvent], Classification | None]
    trigger: str = ""
    structured: bool = False
    """Whether the texts are structures that say a severity and attributes by name (JSON, logfmt, klog): then it is asked also
    where a pattern knows the text. The pattern decides on the type; a worse severity, a title where the pattern has none, and
    attributes that the event lacks are taken from here."""

    def __call__(self, text: str, event: UnifiedEvent) -> Classification | None:
        """Return what the text says, or None."""
        return self.classify(text, event)
