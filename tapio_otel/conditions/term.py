"""One term of a condition: evaluated by the engine, its results remembered by the values that decide them.

Remembered are results for short texts, whole numbers, truth values and missing attributes, up to a bound. What depends on
entity, labels, annotations or on a map as a whole is remembered with the origin that the event shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from operator import attrgetter
from typing import Any, Final

from tapio_otel.conditions.analysis import References
from tapio_otel.conditions.engine import Program, engine, in_words, is_failure
from tapio_otel.conditions.vocabulary import ADDED, CONSTANTS, ENTITY, ENTITY_TEXTS, FIELDS, MAPS, entity_map
from tapio_otel.event import EntityReference, Severity, UnifiedEvent

MISSING: Final = ""
"""Why a term is undecided: an attribute or key that it asks for is not there. No error."""

_LONGEST: Final = 256
_MOST_RESULTS: Final = 1024
_MOST_RESULTS_OF_ORIGIN: Final = 64
_MOST_DEEP: Final = 32
_MOST_BITS: Final = 1023
_PLAIN: Final = frozenset((str, int, bool, float, bytes))
_REMEMBERED: Final = frozenset((str, int, bool, Severity, type(None), tuple))
_LONG: Final = ("title", "description")

Result = bool | str
"""True, false, or why it cannot be told: `MISSING`, or an error in words."""


class Term:
    """Decide one term for events; equal values give equal results, so most are looked up."""

    __slots__ = (
        *("_attributes", "_context", "_deciding", "_keys", "_long", "_of_origin", "_program"),
        "_read",
        "_results",
        "_whole",
    )

    def __init__(self, program: Program, found: References) -> None:
        self._program = program
        self._read = [(name, FIELDS[name][1]) for name in FIELDS if name in found.variables]
        self._keys = {name: tuple(sorted(keys)) for name, keys in found.keys.items() if name not in found.whole}
        self._whole = frozenset(found.whole)
        self._context = _context(found)
        self._attributes = self._keys.get("attributes", ())
        self._of_origin = bool(found.variables & {ENTITY, "labels", "annotations"}) or bool(found.whole)
        fields = tuple(dict.fromkeys(FIELDS[name][0] for name, _ in self._read))
        self._long = tuple(name for name in fields if name in _LONG)
        self._deciding: Callable[[UnifiedEvent], Any] | None = attrgetter(*fields) if fields else None
        self._results: dict[Any, bool | str] = {}

    def decision(self) -> Callable[[UnifiedEvent], Result]:
        """Return the quickest way to decide this term."""
        by_fields = self._deciding is not None and not (self._attributes or self._of_origin or self._long)
        return self._decide_by_fields if by_fields else self.decide

    def _decide_by_fields(self, event: UnifiedEvent) -> Result:
        """Decide a term that depends on nothing but fields with short values."""
        try:
            key = self._deciding(event)  # type: ignore[misc]
            found = self._results.get(key)
        except Exception:
            return self._evaluate(event)
        if found is None:
            found = self._evaluate(event)
            self._remember(self._results, key, found)
        return found

    def decide(self, event: UnifiedEvent) -> Result:
        """Return whether the term is true of an event, or why that cannot be told. Never raises."""
        try:
            results = self._of(event)
            if results is None:
                return self._evaluate(event)
            key = self._key(event)
            found = results.get(key)
        except Exception:  # a value that cannot be hashed, or is none of its field's type
            return self._evaluate(event)
        if found is None:
            found = self._evaluate(event)
            self._remember(results, key, found)
        return found

    def _of(self, event: UnifiedEvent) -> dict[Any, bool | str] | None:
        """Return where the results for events like this one are remembered; None for nowhere."""
        for name in self._long:
            if len(getattr(event, name)) > _LONGEST:
                return None
        if not self._of_origin:
            return self._results
        origin = event.shared
        if origin is None or ("attributes" in self._whole and event.own):
            return None
        results: dict[Any, bool | str] | None = origin.cache.get(self)
        if results is None:
            results = origin.cache[self] = {}
        return results

    def _key(self, event: UnifiedEvent) -> Any:
        fields = None if self._deciding is None else self._deciding(event)
        if not self._attributes:
            return fields
        get = event.get
        values: list[Any] = [fields]
        for name in self._attributes:
            value = get(name)
            # 1, 1.0 and true are equal to Python and not to CEL
            values.append(value if value.__class__ is str else (value.__class__, value))
        return tuple(values)

    def _remember(self, results: dict[Any, bool | str], key: Any, found: Result) -> None:
        if (found is True or found is False or found is MISSING) and _is_short(key):
            if len(results) >= (_MOST_RESULTS_OF_ORIGIN if self._of_origin else _MOST_RESULTS):
                results.clear()
            results[key] = found

    def _evaluate(self, event: UnifiedEvent) -> Result:
        try:
            values = self._values(event)
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:_LONGEST]
        result = self.run(values)
        if isinstance(result, UnicodeError | ValueError):  # a value that CEL cannot hold
            result = self.run({name: _held(value) for name, value in values.items()})
        if result is True or result is False:
            return result
        if isinstance(result, BaseException):
            return MISSING if isinstance(result, KeyError) else in_words(result)
        return f"the result is {result!r:.80}, not true or false"

    def run(self, values: Mapping[str, Any]) -> Any:
        """Return the term's value, or the error that the engine met, for values of the variables."""
        context = self._context
        try:
            if isinstance(context, dict):
                return self._program.execute({**context, **values})
            for name, value in values.items():
                context.add_variable(name, value)
            return self._program.execute(context)
        except BaseException as error:
            if not is_failure(error):
                raise
            return error.with_traceback(None)  # else it would hold whoever called, and what these hold

    def _values(self, event: UnifiedEvent) -> dict[str, Any]:
        values: dict[str, Any] = {name: read(event) for name, read in self._read}
        if self._attributes:
            values["attributes"] = _present({name: event.get(name) for name in self._attributes})
        if self._of_origin:
            self._add_shared(event, values)
        return values

    def _add_shared(self, event: UnifiedEvent, values: dict[str, Any]) -> None:
        seen = event.view()
        if ENTITY in self._whole:
            values[ENTITY] = entity_map(seen.entity)
        elif ENTITY in self._keys:
            values[ENTITY] = _part(seen.entity, self._keys[ENTITY])
        for name in MAPS:
            content = getattr(seen, name)
            if name in self._whole:
                values[name] = _present(content)
            elif name in self._keys and name != "attributes":
                values[name] = _present({key: content.get(key) for key in self._keys[name]})


def _context(found: References) -> Any:
    """Return what does not change from event to event: a dictionary, or an engine's context to call functions."""
    constants = {name: value for name, value in CONSTANTS.items() if name in found.variables}
    functions = {name: function for name, function in ADDED.items() if name in found.functions}
    return (
        engine().Context(constants, {_renamed(name): function for name, function in functions.items()})
        if functions
        else constants
    )


def _part(entity: EntityReference, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return some keys of an entity; its lineage is followed only where that is asked for."""
    if set(keys) <= set(ENTITY_TEXTS):
        return {name: getattr(entity, name) for name in keys}
    return entity_map(entity)


def _renamed(name: str) -> str:
    return "re2_matches" if name == "matches" else name


def _present(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is there, in values that the engine takes."""
    return {
        key: value if value.__class__ in _PLAIN else _bounded(value, 0) for key, value in content.items() if value is not None
    }


def _bounded(value: Any, depth: int) -> Any:
    """Return a value without what is deeper than the engine, which recurses, can take."""
    if isinstance(value, dict):
        return {key: _bounded(one, depth + 1) for key, one in value.items()} if depth < _MOST_DEEP else None
    if isinstance(value, list | tuple):
        return [_bounded(one, depth + 1) for one in value] if depth < _MOST_DEEP else None
    return value


def _held(value: Any) -> Any:
    """Return a value as CEL can hold it: characters that are none replaced, numbers too big infinite, foreign types as text."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_held(str(key)): _held(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_held(one) for one in value]
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return inf if value > 0 else -inf
    return value if value is None or isinstance(value, int | float | bytes) or hasattr(value, "tzinfo") else _held(str(value))


def _is_short(key: Any) -> bool:
    """Tell whether a key is worth remembering: short texts, whole numbers, nothing."""
    if key.__class__ is str:
        return len(key) <= _LONGEST
    if key.__class__ is tuple:
        return all(map(_is_short, key))
    return key.__class__ in _REMEMBERED or key.__class__ is type
