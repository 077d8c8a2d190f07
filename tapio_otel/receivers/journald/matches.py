"""Filters in the form that libsystemd applies: a conjunction of disjunctions of groups of matches.

libsystemd reads a sequence of matches, disjunctions and conjunctions as AND over OR over AND, where matches of one field
within a group are alternatives; see sd_journal_add_match(3). That is enough for every option, so filtering costs nothing in
Python, save for units given as shell patterns: those are asked once for every origin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from tapio_otel.receivers.journald.options import ReaderOptions

Group: TypeAlias = list[str]
"""Matches `FIELD=value` that must all hold; those of the same field are alternatives."""
Condition: TypeAlias = list[Group]
"""Groups of which one must hold."""

UNIT_SUFFIXES: Final = (
    *(".service", ".socket", ".target", ".device", ".mount", ".automount", ".swap", ".timer", ".path", ".slice"),
    ".scope",
)
_COREDUMP_MESSAGE: Final = "fc2e22bc6ee647b6b90729ab34a250b1"
_PATTERN_CHARACTERS: Final = frozenset("*?[")


def conditions(options: ReaderOptions, boot: Callable[[], str | None]) -> list[Condition]:
    """Return the conditions that must all hold; `boot` tells the id of the current boot when it is needed."""
    found: list[Condition] = []
    if options.current_boot_only or options.dmesg:
        found.append([[f"_BOOT_ID={boot() or 'none'}"]])
    if options.dmesg:
        found.append([["_TRANSPORT=kernel"]])
    if options.units and not _has_pattern(options):
        found.append([group for unit in options.units for group in unit_groups(unit)])
    if options.identifiers:
        found.append([[f"SYSLOG_IDENTIFIER={identifier}"] for identifier in options.identifiers])
    if options.priorities:
        found.append([[f"PRIORITY={priority}" for priority in options.priorities]])
    if options.matches:
        found.append([_group(match) for match in options.matches])
    return found


def is_filtered(options: ReaderOptions) -> bool:
    """Tell whether any entry may be left out by an option."""
    return bool(options.units or options.identifiers or options.matches or options.priorities) or (
        options.dmesg or options.current_boot_only
    )


def _group(match: Mapping[str, str | list[str]]) -> Group:
    group: Group = []
    for name, value in match.items():
        group += [f"{name}={one}" for one in (value if isinstance(value, list) else [value])]
    return group


def apply(reader: Any, wanted: list[Condition]) -> None:
    """Add the conditions to a libsystemd reader."""
    for condition in wanted:
        for group in condition:
            for match in group:
                reader.add_match(match)
            reader.add_disjunction()
        reader.add_conjunction()


def unit_name(text: str) -> str:
    """Complete a unit's name as journalctl does: `nginx` is `nginx.service`, a path is a mount or device."""
    if text.endswith(UNIT_SUFFIXES):
        return text
    if text.startswith("/dev/"):
        return f"{_escape_path(text)}.device"
    return f"{_escape_path(text)}.mount" if text.startswith("/") else f"{text}.service"


def _escape_path(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "-"
    text = "/".join(parts)
    escaped = [
        "-" if c == "/" else c if (c.isalnum() and c.isascii()) or c in ":_" or (c == "." and index) else _hex(c)
        for index, c in enumerate(text)
    ]
    return "".join(escaped)


def _hex(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def unit_groups(text: str) -> list[Group]:
    """Return the groups by which journalctl selects a unit: what it wrote, and what others reported about it."""
    unit = unit_name(text)
    groups = [
        [f"_SYSTEMD_UNIT={unit}"],
        [f"MESSAGE_ID={_COREDUMP_MESSAGE}", "_UID=0", f"COREDUMP_UNIT={unit}"],
        ["_PID=1", f"UNIT={unit}"],
        ["_UID=0", f"OBJECT_SYSTEMD_UNIT={unit}"],
    ]
    return [*groups, [f"_SYSTEMD_SLICE={unit}"]] if unit.endswith(".slice") else groups


def _has_pattern(options: ReaderOptions) -> bool:
    return any(map(_is_pattern, options.units))


def _is_pattern(unit: str) -> bool:
    return not _PATTERN_CHARACTERS.isdisjoint(unit)


def unit_filter(options: ReaderOptions) -> Callable[[Mapping[str, Any]], bool] | None:
    """Return what decides, from an origin's record, whether its units match the configured patterns; None without patterns."""
    if not _has_pattern(options):
        return None
    patterns = [unit if _is_pattern(unit) else unit_name(unit) for unit in options.units]

    def wanted(record: Mapping[str, Any]) -> bool:
        return any(fnmatchcase(name, pattern) for name in _units(record) for pattern in patterns)

    return wanted


def _units(record: Mapping[str, Any]) -> list[str]:
    """Return the units of an origin that can be believed: anyone may write UNIT=, only PID 1 is to be trusted with it."""
    names = [record.get("_SYSTEMD_UNIT")]
    if record.get("_PID") == b"1":
        names.append(record.get("UNIT"))
    if record.get("_UID") == b"0":
        names.append(record.get("OBJECT_SYSTEMD_UNIT"))
        if record.get("MESSAGE_ID") == _COREDUMP_MESSAGE.encode():
            names.append(record.get("COREDUMP_UNIT"))
    found = [name.decode("utf-8", "replace") for name in names if isinstance(name, bytes)]
    within = record.get("_SYSTEMD_SLICE")
    return [*found, within.decode("utf-8", "replace")] if isinstance(within, bytes) and within.endswith(b".slice") else found
