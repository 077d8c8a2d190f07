"""How a pattern file is written: the one specification that checking, messages and the reference are made from."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Word: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Keyword: TypeAlias = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
Transport: TypeAlias = Literal["audit", "driver", "syslog", "journal", "stdout", "kernel"]
TypeName: TypeAlias = Literal["str", "int", "float", "bytes", "duration", "ip", "hex"]

SUBJECTS: Final = ("process", "unit", "container", "pod", "cgroup", "interface", "device", "mount")
"""What `entity` may name, one of them."""
_BESIDE: Final = {"process": {"name"}, "pod": {"namespace", "uid"}}
"""What may stand beside each."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldOptions(_Options):
    """Say of which writers' texts a pattern speaks; an event of which none of these is known passes."""

    identifier: Word | list[Word] = Field(default=[], description="SYSLOG_IDENTIFIER, else _COMM; a glob or several.")
    unit: Word | list[Word] = Field(default=[], description="The systemd unit that wrote; a glob or several.")
    transport: Transport | list[Transport] = Field(default=[], description="How the text came to the journal.")
    priority: Keyword | list[Keyword] | None = Field(
        default=None, description="The declared severity: a keyword means that or worse, a list exactly these."
    )


class EntityOptions(_Options):
    """Name the groups that tell what a text is about: one of the kinds, and what belongs to it."""

    process: Word | None = Field(default=None, description="The group with the pid.")
    unit: Word | None = Field(default=None, description="The group with the systemd unit's name.")
    container: Word | None = Field(default=None, description="The group with the container's id.")
    pod: Word | None = Field(default=None, description="The group with the pod's name.")
    cgroup: Word | None = Field(default=None, description="The group with the path of a cgroup.")
    interface: Word | None = Field(default=None, description="The group with the network interface's name.")
    device: Word | None = Field(default=None, description="The group with the device's name.")
    mount: Word | None = Field(default=None, description="The group with the mount point.")
    name: Word | None = Field(default=None, description="With process: the group with its name.")
    namespace: Word | None = Field(default=None, description="With pod: the group with its namespace.")
    uid: Word | None = Field(default=None, description="With pod: the group with its UID.")


class ExampleOptions(_Options):
    """Hold a text with what is known of its writer, and a part of what must come of it."""

    text: str = Field(description="The text as its software writes it.")
    identifier: str = Field(default="", description="The writer's SYSLOG_IDENTIFIER.")
    unit: str = Field(default="", description="The unit that wrote.")
    transport: Transport | Literal[""] = Field(default="", description="How the text came to the journal.")
    priority: Keyword | None = Field(default=None, description="The declared severity.")
    attributes: dict[str, Any] = Field(default={}, description="Attributes that must be extracted, with their values.")
    entity: dict[str, str] = Field(default={}, description="What the subject must be: type, name, namespace, uid.")


class PatternOptions(_Options):
    """Be one entry of a pattern file."""

    name: Name = Field(description="What the pattern is called; a later file's pattern of the same name takes its place.")
    description: str = Field(default="", description="What it means when this is said, and what to do.")
    pattern: Word | Annotated[list[Word], Field(min_length=1)] = Field(
        description="An expression in RE2's syntax; of several, any one counts."
    )
    event_type: Name = Field(description="The type that events with such a text get.")
    severity: Keyword = Field(description="How bad it is at least; a declared severity that is worse stays.")
    category: Name | Literal[""] = Field(default="", description="The subject, such as memory or network.")
    fields: FieldOptions | None = Field(default=None, description="Of which writers' texts alone the pattern speaks.")
    extract: dict[str, TypeName] | list[Name] = Field(
        default={}, description="How named groups are read (default str), or the names of unnamed groups in their order."
    )
    entity: EntityOptions | None = Field(default=None, description="Which groups name what the text is about.")
    wrapped: bool = Field(
        default=False,
        description="Whether it knows a cause that other messages quote: it ranks after all others of its origin.",
    )
    title: str = Field(default="", description="One line instead of the text's first, with groups as {group}.")
    examples: list[str | ExampleOptions] = Field(default=[], description="Texts that must match.")
    counter_examples: list[str | ExampleOptions] = Field(default=[], description="Texts that must not match.")


def fault_of_subject(keys: set[str]) -> str:
    """Say what is wrong with the keys of `entity`, or return an empty text."""
    kinds = sorted(keys & set(SUBJECTS))
    if len(kinds) != 1:
        found = "none of them" if not kinds else " and ".join(kinds)
        return f"expected one of {', '.join(SUBJECTS)}, found {found}; a pattern has one subject"
    stray = sorted(keys - {kinds[0]} - _BESIDE.get(kinds[0], set()))
    return f"{', '.join(stray)} cannot stand beside {kinds[0]}; remove it" if stray else ""
