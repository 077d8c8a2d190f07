"""json: bodies that are one JSON object, also behind the short prefix of a container runtime or of syslog.

What the fields are called is in `fields`. Of an object nested deeper than four levels, or with more than 256 values, the rest
is not looked at; text that is no JSON is somebody else's.
"""

from __future__ import annotations

from typing import Any, Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.fields import classify_fields
from tapio_otel.event import UnifiedEvent

TRIGGER: Final = r'^(?:[^\s{"]{1,48} (?:std(?:out|err) [FP] )?|@cee: ?)?\s*\{\s*"'
_LONGEST_PREFIX: Final = 64
_LONGEST: Final = 128 * 1024  # characters; decoding so many takes about a millisecond
_DEEPEST: Final = 4
_MOST_VALUES: Final = 256
_ENVELOPES: Final = frozenset(("attributes", "labels", "extra", "context", "mdc", "contextmap"))
"""Objects whose fields are the writer's own, and say nothing of severity or message."""


def classify(text: str, event: UnifiedEvent) -> Classification | None:
    """Return what the object's fields say; None for a text that is no JSON object."""
    if len(text) < len(event.description) <= _LONGEST and event.description.startswith(text):
        text = event.description  # an object cut short would be none
    fields = fields_of(text)
    return classify_fields(fields) if fields else None


def fields_of(text: str) -> dict[str, Any] | None:
    """Return the values of a text's JSON object by lower-case name, nested names joined by dots; None without an object."""
    start = text.find("{", 0, _LONGEST_PREFIX)
    if start < 0 or text[-256:].rstrip()[-1:] != "}":
        return None
    from orjson import loads

    try:
        content = loads(text[start:] if start else text)
    except ValueError:
        return None
    fields: dict[str, Any] = {}
    _flatten(content, "", fields, 1)
    return fields


def _flatten(content: dict[str, Any], prefix: str, fields: dict[str, Any], depth: int) -> None:
    for key, value in content.items():
        if len(fields) >= _MOST_VALUES:
            return
        name = f"{prefix}{key[:128].lower()}"
        nested = value[0] if isinstance(value, list) and value else value
        if isinstance(nested, dict):
            if depth < _DEEPEST and name not in _ENVELOPES:
                _flatten(nested, f"{name}.", fields, depth + 1)
        else:
            fields.setdefault(name, nested)


CLASSIFIER: Final = Classifier(classify, TRIGGER)
