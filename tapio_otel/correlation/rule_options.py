"""How a rule file is written: the one specification that checking, messages and the reference are made from."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tapio_otel.config.types import Duration

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
Word: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Keyword: TypeAlias = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
Names: TypeAlias = Name | Annotated[list[Name], Field(min_length=1)]
EARLIEST: Final = "earliest"
"""What `root` says where no alias is the cause of the others: the first fact is."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EarliestOf(_Options):
    """Name aliases of which the earliest fact is the cause."""

    earliest: Annotated[list[Name], Field(min_length=1)] = Field(description="Aliases, in any order.")


class FactOptions(_Options):
    """Choose the facts that an alias stands for, by class or event type, and closer by the other keys, all of which count."""

    fact_class: Names | None = Field(
        default=None, alias="class", description="Class of fact, or several; see `tapio rules list`."
    )
    event_type: Names | None = Field(default=None, description="Type of event, or several; each event is a fact of its own.")
    has_pattern: Word | None = Field(default=None, description="RE2 that title or description must match; case is ignored.")
    having: list[Word] = Field(default=[], description="Attributes that the event must have.")
    where: Word | None = Field(default=None, description="Condition in CEL over the event.")
    severity: Keyword | None = Field(default=None, description="The event's severity: that or worse.")
    source: Word | list[Word] = Field(default=[], description="Sources whose events count; all when left out.")
    optional: bool = Field(default=False, description="Whether the rule may conclude without it, where it has no condition.")
    join: Word = Field(
        default="group",
        description="What makes it belong to the others: group (a key of group_by in common with the root), address (what it "
        "failed to reach is an address, service or unit of the root's, or of one so joined), a rank such as node, namespace or "
        "owner (that of the root), any (nothing).",
    )
    before: Duration = Field(
        default=0.0, ge=0, description="How long before the root it may have happened; it is then context, and no consequence."
    )


class ExampleEvent(BaseModel):
    """Hold an event of an example, abbreviated: `t` is its time after the example's beginning; the rest is the event JSON's.

    Left out are id (its index), severity (info), entity (the node `node`), title and description (empty), type (log).
    `entity` may be short: `pod/prod/web-0`, `systemd_unit/web.service`; its `parent` likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    t: Duration | str = Field(default=0.0, description="Time after the beginning, such as 1.5s; `-1s` is before it.")
    id: str = Field(default="", description="Id; the example's name and the index when left out.")
    source: str = Field(default="journald", description="Source.")
    type: str = Field(default="log", description="Type.")
    severity: Keyword = Field(default="info", description="Severity.")
    entity: str | dict[str, Any] | None = Field(default=None, description="Entity, short or as in the event JSON.")
    title: str = Field(default="", description="Title.")
    description: str = Field(default="", description="Description.")
    attributes: dict[str, Any] = Field(default={}, description="Attributes.")
    labels: dict[str, str] = Field(default={}, description="Labels.")
    annotations: dict[str, str] = Field(default={}, description="Annotations.")
    trace_id: str = Field(default="", description="Trace id.")
    span_id: str = Field(default="", description="Span id.")
    repeat: int = Field(default=1, ge=1, description="How often it happens, each `every` later than the one before.")
    every: Duration = Field(default=1.0, gt=0, description="The time between repeats.")


class ExpectedFinding(_Options):
    """Say what a finding must be; what is left out is not compared. Numbers are indexes of the example's events."""

    rule: Name | None = Field(default=None, description="The rule's name; that of the rule when left out.")
    root_cause: int | None = Field(default=None, description="The event that is the root cause.")
    impacts: list[int] | None = Field(default=None, description="The events that are its impacts, in their order.")
    members: list[int] | None = Field(default=None, description="All events, witnesses among them, in any order.")
    confidence: float | None = Field(default=None, description="The confidence.")
    title: str | None = Field(default=None, description="The title.")


class RuleExample(_Options):
    """Be events and what must come of them: findings, or nothing where the list is empty."""

    name: Word = Field(description="What happens, in a few words.")
    events: Annotated[list[ExampleEvent], Field(min_length=1)] = Field(description="The events, in any order.")
    findings: list[ExpectedFinding] = Field(description="The findings of this rule; [] where it must not fire.")


class RuleOptions(_Options):
    """Be one entry of a rule file."""

    name: Name = Field(description="What the rule is called; a later file's rule of the same name takes its place.")
    title: Word = Field(description="A finding's title, with {values}.")
    description: Word = Field(description="What happened in one paragraph of plain words, with {values}.")
    hint: str = Field(default="", description="What to check, with {values}.")
    severity: Keyword | None = Field(default=None, description="A finding's severity; the worst of its members when left out.")
    sources: list[Word] = Field(default=[], description="Sources whose events take part; all when left out.")
    window: Duration = Field(gt=0, description="How long after its first fact a finding takes further ones, by event time.")
    min_events: int = Field(default=1, ge=1, description="How many events, witnesses among them, there must be.")
    facts: Annotated[dict[Name, FactOptions], Field(min_length=1)] = Field(description="What takes part, by alias.")
    condition: str = Field(default="", description="When the rule concludes; every alias that is not optional if left out.")
    group_by: list[Word] = Field(
        default=["any"],
        description="Ranks of lineage (process, invocation, unit, cgroup, container, pod, owner, service, namespace, node, "
        "address), `attributes.NAME`, a name of `aliases`, or `any`: facts belong together that share one of these.",
    )
    aliases: dict[Name, dict[Name, Word]] = Field(
        default={}, description="Names for group_by that stand for an attribute of each alias: {target: {client: dst_ip}}."
    )
    root: Names | EarliestOf = Field(
        default=EARLIEST,
        description="The alias that is the cause; several by preference; `{earliest: [a, b]}` for whichever comes first; or "
        "`earliest`, of all.",
    )
    impacts: list[Name] | None = Field(default=None, description="The aliases that are consequences; all but the root's.")
    confidence: float = Field(gt=0, lt=1, description="How sure a finding is to begin with, from 0 to 1.")
    evidence: list[Name] = Field(default=[], description="Aliases whose absence makes a finding less sure.")
    suppresses: list[Name] = Field(
        default=[], description="Rules whose findings about the same are not told beside this one's."
    )
    repeats: Duration = Field(
        default=0.0,
        ge=0,
        description="How long after the last fact that can be its root a told finding takes further ones as the same story, "
        "each with what follows within `window`; zero: none beyond its window. Altogether it lasts six times as long at most.",
    )
    examples: list[RuleExample] = Field(
        default=[], description="Events with what must come of them; `tapio rules test` runs them."
    )
