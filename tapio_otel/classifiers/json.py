"""json: bodies that are one JSON object, also behind the short prefix of a container runtime or of syslog.

What the fields are called is in `names`. Of an object with more than 256 keys the rest is not looked at, nor are objects in
which no known name can be; text that is no JSON is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import Any, Final

from tapio_otel.classification import Classification, Classifier
from tapio_otel.classifiers.fields import reading_of
from tapio_otel.classifiers.layout import MOST_KEYS, Layouts
from tapio_otel.classifiers.names import OBJECTS
from tapio_otel.classifiers.naming import naming_of
from tapio_otel.classifiers.nesting import ARE_SINGLE, read_nested
from tapio_otel.event import UnifiedEvent

TRIGGER: Final = r'^(?:[^\s{"]{1,48} (?:std(?:out|err) [FP] )?|@cee: ?)?\s*\{\s*"'
_LONGEST_PREFIX: Final = 64
_LONGEST: Final = 128 * 1024  # characters; decoding so many takes about a millisecond
LAYOUTS: Final = Layouts()

Body = tuple[tuple[str, ...], tuple[Any, ...]]
"""Known names, each once, and their values."""


def classify(text: str, event: UnifiedEvent) -> Classification | None:
    """Return what the object's fields say; None for a text that is no JSON object."""
    if len(text) < len(event.description) <= _LONGEST and event.description.startswith(text):
        text = event.description  # an object cut short would be none
    start = 0 if text[:1] == "{" else text.find("{", 0, _LONGEST_PREFIX)
    if start < 0 or not (text[-1] == "}" or text[-256:].rstrip()[-1:] == "}"):
        return None
    try:
        content = _loads()(text[start:] if start else text)
    except ValueError:
        return None
    keys = tuple(content)
    take, reading, inner = LAYOUTS.get(keys) or LAYOUTS.made(keys)
    if inner and text.find("{", start + 1) >= 0:
        nested = read_nested(content, keys, inner)
        if nested is not None:
            reading, values = nested
            return reading.classify(values)
    else:
        values = take(content)
        if ARE_SINGLE(map(type, values)):
            return reading.classify(values)
    return _classify_one_by_one(content)


@cache
def _loads() -> Callable[[str], Any]:
    """Return what decodes JSON, loaded when first used."""
    from orjson import loads

    return loads


def _classify_one_by_one(content: Mapping[str, Any]) -> Classification | None:
    """Return what an object says in which lists are, of which the first value counts, or objects three levels deep."""
    fields: dict[str, Any] = {}
    _flatten(content, "", fields, naming_of(islice(content, MOST_KEYS)))
    return reading_of(tuple(fields)).classify(tuple(fields.values()))


def _flatten(content: Mapping[str, Any], prefix: str, fields: dict[str, Any], naming: Mapping[str, str]) -> None:
    for key, value in islice(content.items(), MOST_KEYS):
        name = f"{prefix}{key.lower()}"
        first = value[0] if type(value) is list and value else value
        if type(first) is dict:
            if name in OBJECTS:
                _flatten(first, f"{name}.", fields, naming)
        elif name in naming:
            fields.setdefault(naming[name], first)


CLASSIFIER: Final = Classifier(classify, TRIGGER)
