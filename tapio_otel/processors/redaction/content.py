"""Redacts what events are made of: texts, values with lists and maps inside, and maps of them. Knows nothing of events.

Maps and lists are never changed in place, as others may share them: where nothing is found, the very same object comes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from tapio_otel.otlp.mapping import RESOURCE_SOURCES
from tapio_otel.otlp.semconv import TRACE_FLAGS, convention
from tapio_otel.processors.redaction.checks import is_redacted, says_nothing
from tapio_otel.processors.redaction.config import BLOCKED_KEYS, Action, RedactionConfig
from tapio_otel.processors.redaction.detectors import WEAK_NAME
from tapio_otel.processors.redaction.scanner import MASK, Place, Scanner, decode, encode

PLAIN: Final = 1
SKIPPED: Final = 2
SECRET: Final = 3
BLOCKED: Final = 4
REMOVED: Final = 5

SHORTEST: Final = 6
"""Characters: a shorter text holds no secret with what makes it known as one."""
MAX_DEPTH: Final = 64
"""Levels of nesting, as OTLP's; what lies deeper is not exported either."""
ALLOWED_KEYS: Final = "allowed_keys"
ASSIGNMENT: Final = "assignment"
COMMAND_LINE: Final = "command_line"
SUMMARY: Final = "redaction."

_HARMLESS: Final = frozenset(
    (
        *("trace_id", "span_id", "parent_id", "trace_flags", "tapio.trace.source", "tapio.trace.from"),
        *("pattern", "category", "classifier"),
        *("dedup_count", "first_timestamp", "last_timestamp", "message_id", "boot_id", "machine_id", "invocation_id"),
        *("MESSAGE_ID", "_BOOT_ID", "_MACHINE_ID", "INVOCATION_ID", "_SYSTEMD_INVOCATION_ID", "TRACE_ID", "SPAN_ID"),
        *("PRIORITY", "SYSLOG_FACILITY", "SYSLOG_TIMESTAMP", "_TRANSPORT", "CODE_LINE", "CODE_FUNC"),
        *("__CURSOR", "__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP"),
        *("_SOURCE_REALTIME_TIMESTAMP", "_SOURCE_MONOTONIC_TIMESTAMP", "_SOURCE_BOOTTIME_TIMESTAMP"),
        *("pod_uid", "k8s.pod.uid", "container_id", "container.id", "log.record.uid"),
    )
)
"""Keys of ids, times and words of our own, which are not looked at."""
_COMMAND_LINE: Final = "process.command_line"
_ROUNDS: Final = 8
"""How often a text is looked at, at most; twice is what a text with a secret needs."""
_MAX_KEYS: Final = 4096
_REMOVE: Final = object()
_TEXTS: Final = frozenset((str, bytes))
_PAIR: Final = 2
_PAIRS: Final = (("name", "value"), ("key", "value"), ("Name", "Value"), ("Key", "Value"))
_WEAK_NAMES: Final = tuple(WEAK_NAME.split("|"))
_NUMBERS: Final = frozenset((int, float, bool, type(None)))


class Findings:
    """Keep count of what was redacted: by detector, and by key for the summary."""

    __slots__ = ("counts", "masked", "removed")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.masked: list[str] = []
        self.removed: list[str] = []

    def begin(self) -> None:
        """Begin with another event; the counts go on."""
        self.masked.clear()
        self.removed.clear()


class Redactor:
    """Redact texts and values by one configuration."""

    def __init__(self, config: RedactionConfig) -> None:
        import re2

        self.scanner = Scanner(config)
        self._config = config
        self._ignored = frozenset(config.ignored_keys)
        self._allowed = frozenset(config.allowed_keys)
        self._ignored_patterns = [re2.compile(pattern) for pattern in config.ignored_key_patterns]
        self._blocked_patterns = [re2.compile(pattern) for pattern in config.blocked_key_patterns]
        self._blocked_action = config.action_of(BLOCKED_KEYS)
        self._numbers: dict[str, int] = {one.name: number for number, one in enumerate(self.scanner.active)}
        self._names = _Names() if ASSIGNMENT in self._numbers else None
        self.kinds: dict[str, int] = {}
        """What is done with the value of a key, as far as met."""

    def kind_of(self, key: str) -> int:
        """Return what is done with the value of a key."""
        kind = self.kinds.get(key)
        if kind is None:
            kind = self._judge(key)
            if len(self.kinds) >= _MAX_KEYS:
                self.kinds.clear()
            self.kinds[key] = kind
        return kind

    def _judge(self, key: Any) -> int:
        if isinstance(key, bytes):
            key = key.decode("latin-1")
        if not isinstance(key, str):
            return PLAIN
        text = key.encode("utf-8", "replace").decode()
        if key in self._ignored or key.startswith(SUMMARY) or any(one.search(text) for one in self._ignored_patterns):
            return SKIPPED
        if self._blocked_action and any(one.search(text) for one in self._blocked_patterns):
            return BLOCKED
        if not (self._config.allow_all_keys or key in self._allowed or is_identity(key)):
            return REMOVED
        if key in _HARMLESS:
            return SKIPPED
        return SECRET if self._names is not None and self._names.is_secret(text) else PLAIN

    def text(self, text: str, part: str, findings: Findings) -> tuple[str, str]:
        """Return a text and a part of it redacted: a secret that the part cuts off is found all the same.

        A part that is in the text nowhere is looked at by itself. What is to be dropped is masked: without it, the words
        around it would get another meaning.
        """
        whole, some = encode(text), encode(part)
        at = whole.find(some)
        if at < 0:
            return self.text(text, "", findings)[0], self.text(part, "", findings)[0]
        before, replace = whole, self.scanner.replace
        for _ in range(_ROUNDS):
            if not (places := self._places(whole, findings)):
                break
            whole, some = replace(whole, places), replace(whole, places, at, at + len(some))
            at = whole.find(some)
        return (text, part) if whole is before else (decode(whole), decode(some))

    def mapping(self, values: Mapping[Any, Any], findings: Findings, removing: bool = True) -> Mapping[Any, Any]:
        """Return attributes, labels or annotations redacted: the same object where nothing was found."""
        changed: dict[Any, Any] = {}
        removed: list[Any] = []
        for key, value in values.items():
            kind = self.kind_of(key)
            if kind == SKIPPED:
                continue
            new = self._value_of(key, kind, value, findings, removing)
            if new is _REMOVE:
                removed.append(key)
            elif new is not value:
                changed[key] = new
        if not changed and not removed:
            return values
        findings.masked += map(str, changed)
        findings.removed += map(str, removed)
        gone = frozenset(removed)
        return {key: changed.get(key, value) for key, value in values.items() if key not in gone}

    def _value_of(self, key: str, kind: int, value: Any, findings: Findings, removing: bool) -> Any:
        if kind == REMOVED:
            if not removing:
                return self._value(value, findings, 0)
            findings.counts[ALLOWED_KEYS] += 1
            return _REMOVE
        if kind == BLOCKED:
            return self._blocked(value, findings)
        if kind == SECRET:
            return self._secret(key, value, findings, 0)
        return self._value(value, findings, 0)

    def _blocked(self, value: Any, findings: Findings) -> Any:
        """Redact the whole of a value, whatever it is."""
        if value is None or is_redacted(_as_bytes(value)):
            return value
        findings.counts[BLOCKED_KEYS] += 1
        return self._substitute(value, self._blocked_action or "mask")

    def _secret(self, key: Any, value: Any, findings: Findings, depth: int) -> Any:
        """Redact the value of a key that is called like a secret, unless it is none."""
        if isinstance(value, list | tuple):
            return self._elements(value, findings, depth, key)
        if isinstance(value, Mapping) or value.__class__ in {bool, float, type(None)}:
            return self._value(value, findings, depth)
        secret = _as_bytes(value)
        name = str(key).lower()
        if secret.isdigit() and name.endswith(_WEAK_NAMES):
            return value
        if not secret or says_nothing(secret) or (name.endswith("pwd") and secret[:1] in {b"/", b"~"}):
            return value
        if self.scanner.allows(secret):
            return value
        detector = self.scanner.active[self._numbers[ASSIGNMENT]]
        findings.counts[ASSIGNMENT] += 1
        return self._substitute(value, detector.action)

    def _substitute(self, value: Any, action: Action) -> Any:
        if action == "drop":
            return _REMOVE
        masked = self.scanner.substitute_by(_as_bytes(value), action)
        return masked if isinstance(value, bytes) else masked.decode()

    def _value(self, value: Any, findings: Findings, depth: int) -> Any:
        kind = value.__class__
        if kind is str:
            return value if len(value) < SHORTEST else self._text(value, encode(value), findings)
        if kind in _NUMBERS:
            return self._number(value, findings) if self._config.redact_all_types else value
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(value, bytes(value), findings)
        if isinstance(value, Mapping):
            return self._map(value, findings, depth + 1)
        if isinstance(value, list | tuple):
            return self._elements(value, findings, depth + 1)
        return self._text(value, encode(str(value)), findings)

    def _text(self, value: Any, encoded: bytes, findings: Findings) -> Any:
        redacted, active = encoded, self.scanner.active
        for _ in range(_ROUNDS):
            if not (places := self._places(redacted, findings)):
                break
            if any(active[place.detector].action == "drop" for place in places):
                return _REMOVE
            redacted = self.scanner.replace(redacted, places)
        if redacted is encoded:
            return value
        return redacted if isinstance(value, bytes | bytearray | memoryview) else decode(redacted)

    def _places(self, encoded: bytes, findings: Findings) -> list[Place]:
        """Find and count. Called until nothing is found: what was replaced may have hidden what stands beside it."""
        places = self.scanner.find(encoded)
        for place in places:
            findings.counts[self.scanner.active[place.detector].name] += 1
        return places

    def _number(self, value: Any, findings: Findings) -> Any:
        if isinstance(value, bool | None) or (isinstance(value, int) and value.bit_length() > 4096):
            return value
        return self._text(value, str(value).encode(), findings)

    def _map(self, values: Mapping[Any, Any], findings: Findings, depth: int) -> Any:
        if depth > MAX_DEPTH:
            return MASK.decode()
        changed: dict[Any, Any] = {}
        named = self._named_elsewhere(values)
        for key, value in values.items():
            kind = SECRET if key == named else self.kind_of(key)
            if kind == SKIPPED:
                continue
            if kind == BLOCKED:
                changed[key] = self._blocked(value, findings)
            elif kind == SECRET:
                changed[key] = self._secret(key, value, findings, depth)
            else:
                changed[key] = self._value(value, findings, depth)
        if all(new is values[key] for key, new in changed.items()):
            return values
        return {key: new for key, value in values.items() if (new := changed.get(key, value)) is not _REMOVE}

    def _named_elsewhere(self, values: Mapping[Any, Any]) -> str | None:
        """Return the key of a value that is a secret by what stands beside it, as in `{name: DB_PASSWORD, value: …}`."""
        for named, value in _PAIRS:
            if value in values and isinstance(name := values.get(named), str) and self.kind_of(name) == SECRET:
                return value
        return None

    def _elements(self, values: Any, findings: Findings, depth: int, key: Any = None) -> Any:
        """Redact a list: `key` is the name of a secret that it holds. In a list of arguments, one follows `--password`."""
        if depth > MAX_DEPTH:
            return MASK.decode()
        found = []
        option: Any = key
        seen = values if key is not None else self._arguments(values, findings)
        for value in seen:
            if value is _REMOVE:
                found.append(value)
                continue
            found.append(
                self._value(value, findings, depth) if option is None else self._secret(option, value, findings, depth + 1)
            )
            is_option = self._names is not None and value.__class__ in _TEXTS and self._names.is_option(value)
            option = value if is_option else key
        if all(new is value for new, value in zip(found, values, strict=True)):
            return values
        return [new for new in found if new is not _REMOVE]

    def _arguments(self, values: Any, findings: Findings) -> Any:
        """Return a list of texts with what is redacted that is a secret only on one command line: `[mysql, -p…]`."""
        if len(values) < _PAIR or any(value.__class__ is not str for value in values):
            return values
        encoded = [encode(value) for value in values]
        line = b" ".join(encoded)
        places = [place for place in self.scanner.find(line) if self.scanner.active[place.detector].name == COMMAND_LINE]
        if not places:
            return values
        start = 0
        redacted: list[Any] = []
        for value, text in zip(values, encoded, strict=True):
            own = [
                Place(max(one.start, start) - start, min(one.end, start + len(text)) - start, one.detector) for one in places
            ]
            own = [one for one in own if one.start < one.end]
            for one in own:
                findings.counts[self.scanner.active[one.detector].name] += 1
            if any(self.scanner.active[one.detector].action == "drop" for one in own):
                redacted.append(_REMOVE)
            else:
                redacted.append(decode(self.scanner.replace(text, own)) if own else value)
            start += len(text) + 1
        return redacted


class _Names:
    """Know the names of secrets among keys, and among options in a list of arguments."""

    def __init__(self) -> None:
        import re2

        from tapio_otel.processors.redaction.detectors import SECRET_NAME, SECRET_OPTION

        self._name, self._option = re2.compile(SECRET_NAME), re2.compile(SECRET_OPTION)

    def is_secret(self, key: str) -> bool:
        """Tell whether the value of such a key is a secret."""
        return self._name.search(key) is not None

    def is_option(self, argument: str | bytes) -> bool:
        """Tell whether a secret follows this argument."""
        if isinstance(argument, bytes):
            argument = argument[: SHORTEST * 32].decode("latin-1")
        return argument[:1] == "-" and argument.isascii() and self._option.search(argument[: SHORTEST * 32]) is not None


def is_identity(key: str) -> bool:
    """Tell whether a key says where events come from and so stays whatever is allowed: OTLP's resource but the command line."""
    known = convention(key)
    return (known.resource and known.name != _COMMAND_LINE) or key == TRACE_FLAGS or key in RESOURCE_SOURCES


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return encode(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, int) and value.bit_length() > 4096:
        return hex(value).encode()
    return encode(str(value))
