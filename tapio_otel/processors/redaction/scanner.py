"""Looks for secrets in texts: one pass of an RE2 set over a text, then only the detectors whose triggers are in it.

Linear in the text whatever its length, and bounded for what costs most: a detector replaces at most `MOST_SECRETS` in a text
and looks at no more than `MOST_SIGHTINGS` of its matches; the text from the next one on is masked as a whole. A scanner holds
no text and writes none anywhere.
"""

from __future__ import annotations

import hmac
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple

from tapio_otel.processors.redaction.checks import Sighting, whole
from tapio_otel.processors.redaction.config import BLOCKED_VALUES, REST, Action, RedactionConfig
from tapio_otel.processors.redaction.detectors import BUILTIN, Accept, Detector

MASK: Final = b"****"
MOST_SECRETS: Final = 1000
MOST_SIGHTINGS: Final = 4000
_MASKED: Final = re.compile(rb"\*{4,}(?:[0-9a-f]{16})?")
_MEMORY: Final = 32 << 20  # bytes that RE2 may use for the states of the set
_PATTERN_MEMORY: Final = 8 << 20
_TEXT_ANCHOR: Final = re.compile(r"\\[Az]")
_BLANK: Final = re.compile(rb"[ -]")
_HASH_DIGITS: Final = 16


class Place(NamedTuple):
    """Say where a secret is, in bytes, and which detector found it."""

    start: int
    end: int
    detector: int


class _Pattern(NamedTuple):
    """Hold a compiled pattern with the numbers of its groups called `secret`, and the names of its others."""

    compiled: Any
    secrets: tuple[int, ...]
    marks: frozenset[str]


class _Active(NamedTuple):
    """Hold a detector in use."""

    name: str
    action: Action
    patterns: tuple[_Pattern, ...]
    accept: Accept
    overlapping: bool


class Scanner:
    """Find secrets, and write what takes their place."""

    def __init__(self, config: RedactionConfig) -> None:
        self._salt = config.salt.get_secret_value().encode("utf-8", "surrogatepass")
        builtin = [(one, action) for one in BUILTIN if (action := config.action_of(one.name, one.default))]
        own = [(one, action) for one in _own(config) if (action := config.action_of(one.name))]
        self.active = (
            *(
                _Active(one.name, action, tuple(_compile(text, latin) for text in one.patterns), one.accept, one.overlapping)
                for detectors, latin in ((builtin, True), (own, False))
                for one, action in detectors
            ),
            _Active(REST, "mask", (), whole, False),
        )
        self._rest = len(self.active) - 1
        self._sets = [
            one
            for one in (
                _Set((one.triggers for one, _ in builtin), 0, latin=True),
                _Set((one.triggers for one, _ in own), len(builtin), latin=False),
            )
            if one.detectors
        ]
        self._allowed = [_compile(text, latin=False).compiled for text in config.allowed_values]
        self.joins = not any(_TEXT_ANCHOR.search(text) for one, _ in own for text in one.patterns)
        """Whether several texts may be looked at as one, a line break between them: not where a pattern asks for its end."""

    def suspects(self, text: str) -> bool:
        """Tell whether there may be a secret in a text: quick, and right when it says no."""
        encoded = _seen(encode(text))
        return any(one.match(encoded) for one in self._sets)

    def find(self, text: bytes) -> list[Place]:
        """Return the places of secrets in order, none overlapping another."""
        text = _seen(text)
        wanted = sorted({number for one in self._sets for index in one.match(text) for number in [one.detectors[index]]})
        if not wanted:
            return []
        places: list[Place] = []
        rest = len(text)
        for number in wanted:
            rest = min(rest, self._sightings(text, number, places))
        if places and MASK in text:
            places = _outside(places, (found.span() for found in _MASKED.finditer(text)))
        merged = _merged(self._without_allowed(text, places))
        return merged if rest == len(text) else self._up_to(merged, rest, len(text))

    def _up_to(self, places: list[Place], rest: int, end: int) -> list[Place]:
        """Return the places before the rest of a text, and that rest as one; it begins earlier where a secret lies across."""
        start = next((place.start for place in places if place.start < rest < place.end), rest)
        return [*(place for place in places if place.end <= start), Place(start, end, self._rest)]

    def _without_allowed(self, text: bytes, places: list[Place]) -> list[Place]:
        for allowed in self._allowed if places else ():
            places = _outside(places, (found.span() for found in allowed.finditer(text)))
        return places

    def allows(self, secret: bytes) -> bool:
        """Tell whether a whole value is allowed."""
        return bool(self._allowed) and not self._without_allowed(secret, [Place(0, len(secret), 0)])

    def replace(self, text: bytes, places: Iterable[Place], start: int = 0, end: int | None = None) -> bytes:
        """Return the text, or its part from `start` to `end`, with something else in those places."""
        end = len(text) if end is None else end
        pieces = []
        for place in places:
            if place.end > start and place.start < end:
                pieces += [text[start : place.start], self.substitute(text[place.start : place.end], place.detector)]
                start = place.end
        return b"".join([*pieces, text[start:end]])

    def substitute(self, secret: bytes, detector: int) -> bytes:
        """Return what is written instead of a secret."""
        return self.substitute_by(secret, self.active[detector].action)

    def substitute_by(self, secret: bytes, action: Action) -> bytes:
        """Return what an action writes instead of a secret."""
        if action != "hash":
            return MASK
        digest = hmac.new(self._salt, secret, sha256) if self._salt else sha256(secret)
        return MASK + digest.hexdigest()[:_HASH_DIGITS].encode()

    def _sightings(self, text: bytes, number: int, places: list[Place]) -> int:
        """Add the places that a detector finds; return where it found too many, the end of the text where it did not."""
        detector = self.active[number]
        secrets, sightings = MOST_SECRETS, MOST_SIGHTINGS
        end = len(text)
        for pattern in detector.patterns:
            for begin, found in _matches(pattern, text, detector.overlapping, detector.accept):
                if begin >= end:
                    break
                if secrets == 0 or sightings == 0:
                    end = begin
                    break
                sightings -= 1
                if found is not None and found[0] < found[1]:
                    secrets -= 1
                    places.append(Place(*found, number))
        return end


def _outside(places: list[Place], spans: Iterable[tuple[int, int]]) -> list[Place]:
    """Return the places that do not lie within one of the spans, which are in order and do not overlap."""
    known = list(spans)
    starts = [start for start, _ in known]
    return [place for place in places if not _is_within(place, known, bisect_right(starts, place.start))]


def _merged(places: list[Place]) -> list[Place]:
    """Join what overlaps; the first of their detectors names it."""
    merged: list[Place] = []
    for place in sorted(places, key=lambda one: (one.start, one.detector)):
        last = merged[-1] if merged else None
        if last is None or place.start >= last.end:
            merged.append(place)
        else:
            merged[-1] = Place(last.start, max(last.end, place.end), min(last.detector, place.detector))
    return merged


def _own(config: RedactionConfig) -> list[Detector]:
    """Return the detectors that the configuration describes."""
    described: list[tuple[str, tuple[str, ...]]] = [(name, (pattern,)) for name, pattern in config.patterns.items()]
    if config.blocked_values:
        described.append((BLOCKED_VALUES, tuple(config.blocked_values)))
    return [Detector(name, tuple(f"(?m:{pattern})" for pattern in patterns), patterns, whole) for name, patterns in described]


class _Set:
    """Tell which of many triggers are in a text; `detectors` has the number of the detector of each trigger."""

    def __init__(self, triggers: Iterable[tuple[str, ...]], first: int, latin: bool) -> None:
        import re2

        self.detectors: list[int] = []
        chosen = re2.Set.SearchSet(_options(latin, _MEMORY))
        for number, patterns in enumerate(triggers, first):
            for pattern in patterns:
                chosen.Add(pattern)
                self.detectors.append(number)
        chosen.Compile()
        self.match: Any = chosen._set.Match  # the wrapper around it would encode and test what is known here


def _options(latin: bool, memory: int) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    if latin:
        options.encoding = re2.Options.Encoding.LATIN1
    return options


def _compile(text: str, latin: bool) -> _Pattern:
    import re2

    compiled = re2.compile(text.encode() if latin else text, _options(latin, _PATTERN_MEMORY))
    groups = {(name.decode() if isinstance(name, bytes) else name): number for name, number in compiled.groupindex.items()}
    if not latin:  # only `secret` itself means something in an expression that a user wrote
        groups = {name: number for name, number in groups.items() if name == "secret"}
    secrets = tuple(sorted(number for name, number in groups.items() if name.startswith("secret")))
    return _Pattern(compiled, secrets, frozenset(name for name in groups if not name.startswith("secret")))


def _matches(pattern: _Pattern, text: bytes, overlapping: bool, accept: Accept) -> Iterator[tuple[int, tuple[int, int] | None]]:
    """Yield where each match begins, and its place where it is accepted.

    `overlapping` looks again behind the first blank of a refused one.
    """
    if not overlapping:
        for match in pattern.compiled.finditer(text):
            yield match.start(), accept(text, _sighting(pattern, match))
        return
    match = pattern.compiled.search(text)
    while match is not None:
        found = accept(text, _sighting(pattern, match))
        yield match.start(), found
        blank = None if found else _BLANK.search(text, *match.span())
        match = pattern.compiled.search(text, blank.end() if blank else match.end())


def _sighting(pattern: _Pattern, match: Any) -> Sighting:
    group = next((number for number in pattern.secrets if match.start(number) >= 0), 0)
    return Sighting(match.start(), match.start(group), match.end(group), pattern.marks)


def _is_within(place: Place, spans: list[tuple[int, int]], after: int) -> bool:
    return after > 0 and place.end <= spans[after - 1][1]


def _seen(text: bytes) -> bytes:
    """Return a text as detectors see it: the null bytes between the arguments of a process are blanks."""
    return text.replace(b"\0", b" ") if b"\0" in text else text


def encode(text: str) -> bytes:
    """Return a text as UTF-8, halves of surrogate pairs as what UTF-8 would have made of them."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def decode(text: bytes) -> str:
    """Return the text of `encode`, whatever was cut out of it."""
    try:
        return text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace")
