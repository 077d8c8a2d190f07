"""The options of the journald receiver, by the names that the collector's receiver has for them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import ByteSize, Duration
from tapio_otel.receivers.journald.options import ReaderOptions, Start

PRIORITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_ALIASES: Final = {"emergency": 0, "critical": 2, "error": 3, "warn": 4}
_NAMESPACE = re.compile(r"[A-Za-z0-9_:.@-]{1,200}")
_FIELD_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


def _check_field(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no journal field: they consist of capital letters, digits and underscores")
    return name


def priority_range(text: str) -> range:
    """Return the PRIORITY values that `info` (that and everything worse) or `emerg..err` selects; raises ValueError."""
    first, separator, last = text.partition("..")
    low, high = (_priority(first), _priority(last)) if separator else (0, _priority(first))
    return range(min(low, high), max(low, high) + 1)


def _priority(text: str) -> int:
    word = text.strip().lower()
    if word in PRIORITIES:
        return PRIORITIES.index(word)
    if word in _ALIASES:
        return _ALIASES[word]
    if re.fullmatch("[0-7]", word):
        return int(word)
    raise ValueError(f"{text!r} is no priority: expected one of {', '.join(PRIORITIES)}, 0 to 7, or a range such as emerg..err")


def _check_priority(text: str | None) -> str | None:
    if text is not None:
        priority_range(text)
    return text


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_text(text: str) -> str:
    if not text.strip():
        raise ValueError(f"{text!r} selects nothing: name something, or leave the option out")
    return text


def _check_directory(value: object) -> object:
    if value == "":
        raise ValueError("'' is no directory: name one, or leave the option out to read this machine's journal")
    return value


def _check_namespace(name: str | None) -> str | None:
    if name is not None and not _NAMESPACE.fullmatch(name):
        raise ValueError(f"{name!r} is no journal namespace: expected a name such as LogNamespace= of a unit has it")
    return name


def _check_group(group: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    if not group:
        raise ValueError("an empty group matches nothing: name a field and its value, such as {PRIORITY: 3}")
    empty = [name for name, value in group.items() if value == []]
    if empty:
        raise ValueError(f"{empty[0]} has no values: name at least one")
    return group


FieldName = Annotated[str, AfterValidator(_check_field)]
Value = Annotated[str, BeforeValidator(_number_as_text)]
Name = Annotated[str, AfterValidator(_check_text)]


class JournaldConfig(ComponentConfig):
    """Choose which journal is read, from where, and which of its entries and fields."""

    directory: Annotated[Path | None, BeforeValidator(_check_directory)] = Field(
        None,
        description="Directory with journal files, read instead of this machine's journal.",
    )
    files: list[Path] = Field([], description="Journal files to read instead of this machine's; shell patterns allowed.")
    namespace: Annotated[str | None, AfterValidator(_check_namespace)] = Field(
        None, description="Journal namespace to read instead of the default one, see LogNamespace=."
    )
    start_at: Literal["beginning", "end"] = Field(
        "end",
        description="Where reading begins without a checkpoint: with the oldest entry, or the next one written. "
        "Unset with `follow: false`: with the oldest.",
    )
    follow: bool = Field(True, description="Wait for new entries; false reads to the end and finishes.")
    units: list[Name] = Field([], description="Only entries of these units, as `journalctl --unit` has it; patterns allowed.")
    identifiers: list[Name] = Field([], description="Only entries with one of these values of SYSLOG_IDENTIFIER.")
    matches: list[Annotated[dict[FieldName, Value | list[Value]], AfterValidator(_check_group)]] = Field(
        [], description="Only entries that one of these groups matches: all fields of a group, any of a field's values."
    )
    priority: Annotated[str | None, BeforeValidator(_number_as_text), AfterValidator(_check_priority)] = Field(
        None, description="Only entries of this priority or worse (`info`), or of a range (`emerg..err`); unset: all entries."
    )
    dmesg: bool = Field(False, description="Only the kernel's messages of the current boot.")
    current_boot_only: bool = Field(False, description="Only entries of the current boot.")
    max_message_size: ByteSize = Field(
        1 << 20,
        ge=64,
        description="Bytes of a message or field that are kept; the rest is cut off, marked and counted.",
    )
    fields: Literal["default", "all"] | list[FieldName] = Field(
        "default", description="Journal fields that become attributes: the useful ones, all, or a list (added to the identity)."
    )
    exclude_self: bool = Field(True, description="Leave out what the agent itself writes to the journal.")
    batch_size: int = Field(1000, ge=1, le=100_000, description="Most entries handed on at once.")
    read_interval: Duration = Field(
        0.02, ge=0, description="Shortest time between two reads while following; longer gathers more entries in a batch."
    )
    poll_interval: Duration = Field(
        5.0, gt=0, description="Longest time between two looks for new entries where the file system does not announce them."
    )

    isolation: Literal["process", "none"] = Field(
        "process",
        description="Where the journal's files are read: in a process of its own, so that a crash of libsystemd, as can happen "
        "when files are deleted under it, costs no more than a new start of that process; or in the agent itself (`none`).",
    )

    @property
    def begin(self) -> Start:
        """Return where reading begins without a checkpoint; what is not to be followed is read as a whole unless told."""
        return self.start_at if self.follow or "start_at" in self.model_fields_set else "beginning"

    def reader_options(self) -> ReaderOptions:
        """Return what the reader needs of these options."""
        return ReaderOptions(
            directory=self.directory,
            files=tuple(self.files),
            namespace=self.namespace,
            begin=self.begin,
            follow=self.follow,
            units=tuple(self.units),
            identifiers=tuple(self.identifiers),
            matches=tuple(self.matches),
            priorities=() if self.priority is None else tuple(priority_range(self.priority)),
            dmesg=self.dmesg,
            current_boot_only=self.current_boot_only,
            max_message_size=self.max_message_size,
            batch_size=self.batch_size,
            read_interval=self.read_interval,
            poll_interval=self.poll_interval,
        )

    @model_validator(mode="after")
    def _one_place(self) -> JournaldConfig:
        chosen = [name for name in ("directory", "files", "namespace") if getattr(self, name)]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other: keep one of them")
        return self
