"""attributes: sets, deletes, renames, hashes, extracts and converts attributes, labels or annotations.

`actions` run in the order in which they are written, each one on what those before it have made; `when` limits one action, or
all of them, to events of which a condition in CEL is true. What an action does not find it leaves alone. A missing attribute
and one that is null are the same.

Guarantees: no event is dropped, the order stays; an event that no action concerns is untouched. What events share is changed
once for all of them, so that to delete or hash an attribute of a process costs each event no more than a look-up. A value that
`convert` cannot read stays as it is, and is counted as `refused` with `reason: convert`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from pydantic import Field, model_validator

from tapio_otel.component import ComponentConfig, ComponentContext, Processor, Stability
from tapio_otel.conditions import Condition, ConditionErrors, ConditionText, refuse_foreign
from tapio_otel.event import Origin, UnifiedEvent
from tapio_otel.processors.attributes.actions import Action, Draft, change_of

_OF_THE_COLLECTOR: Final = frozenset(("include", "exclude"))


class AttributesConfig(ComponentConfig):
    """Be the options of `attributes`."""

    actions: list[Action] = Field(
        default_factory=list, description="What to do with attributes, in this order, as in {key: user, action: delete}."
    )
    when: ConditionText | None = Field(
        None, description="Condition in CEL: only events of which it is true are changed. All events when left out."
    )

    @model_validator(mode="before")
    @classmethod
    def _is_our_own(cls, options: Any) -> Any:
        instead = "here a condition in CEL chooses events; write it as in when: source == 'journald'"
        return refuse_foreign(options, _OF_THE_COLLECTOR, instead)

    @model_validator(mode="after")
    def _does_something(self) -> AttributesConfig:
        if not self.actions:
            raise ValueError("there is no action: write one, as in actions: [{key: user, action: delete}]")
        return self


class _Step:
    """Do what adjacent actions with the same condition do, on one event or on the origin that many share."""

    __slots__ = ("_changes", "_names", "_touches", "condition", "option")

    def __init__(self, actions: list[Action], option: str = "") -> None:
        made = [change_of(action) for action in actions]
        self.option = option
        """Where the condition is written."""
        self.condition = Condition.compile(actions[0].when) if actions[0].when is not None else None
        self._changes = [one.apply for one in made]
        self._names = frozenset(name for one in made for name in one.names)
        self._touches = [one.touches for one in made if one.touches is not None]

    def apply(self, event: UnifiedEvent) -> int:
        """Change an event; returns how many values could not be converted."""
        origin = event.shared
        if origin is None:
            return self._run(Draft(event.attributes, event.labels, event.annotations))
        own = event.own
        if own and self._concerns(own):
            return self._apply_to_both(event, origin)
        done: tuple[Origin, int] | None = origin.cache.get(self)
        if done is None:
            done = origin.cache[self] = self._changed(origin)
        event.shared = done[0]
        return done[1]

    def _run(self, draft: Draft) -> int:
        for change in self._changes:
            change(draft)
        return draft.refused

    def _concerns(self, own: Iterable[str]) -> bool:
        """Tell whether attributes of the event alone are read or written."""
        return not self._names.isdisjoint(own) or any(touches(name) for touches in self._touches for name in own)

    def _changed(self, origin: Origin) -> tuple[Origin, int]:
        """Return what the origin becomes, itself where nothing changes, and the number of values that were refused."""
        draft = Draft(dict(origin.attributes), dict(origin.labels), dict(origin.annotations))
        refused = self._run(draft)
        same = (draft.attributes, draft.labels, draft.annotations) == (origin.attributes, origin.labels, origin.annotations)
        if same and list(map(type, draft.attributes.values())) == list(map(type, origin.attributes.values())):
            return origin, refused
        return Origin(origin.entity, draft.attributes, draft.labels, draft.annotations, origin.record), refused

    def _apply_to_both(self, event: UnifiedEvent, origin: Origin) -> int:
        """Change what the event alone has together with what it shares, and tell them apart again."""
        own, shared = event.own, origin.attributes
        before = {**shared, **{name: value for name, value in own.items() if value is not None}}
        draft = Draft(dict(before), dict(origin.labels), dict(origin.annotations))
        refused = self._run(draft)
        after = draft.attributes
        removed = frozenset(name for name in before if name not in after)
        for name, value in after.items():
            if name not in before or before[name] is not value:
                own[name] = value
        for name in removed:
            own.pop(name, None)
        labels, annotations = draft.labels, draft.annotations
        if not removed.isdisjoint(shared) or labels != origin.labels or annotations != origin.annotations:
            event.shared = self._without(origin, removed.intersection(shared), draft)
        return refused

    def _without(self, origin: Origin, removed: frozenset[str], draft: Draft) -> Origin:
        """Return the origin without some attributes, and with the labels and annotations of the draft, which follow from it."""
        found: Origin | None = origin.cache.get((self, removed))
        if found is None:
            attributes = {name: value for name, value in origin.attributes.items() if name not in removed}
            found = Origin(origin.entity, attributes, draft.labels, draft.annotations, origin.record)
            origin.cache[self, removed] = found
        return found


class AttributesProcessor(Processor[AttributesConfig]):
    """Change attributes of events."""

    type = "attributes"
    Config = AttributesConfig
    stability = Stability.BETA

    def __init__(self, context: ComponentContext, config: AttributesConfig) -> None:
        super().__init__(context, config)
        self._when = Condition.compile(config.when) if config.when is not None else None
        self._steps = list(_steps(config.actions))
        conditions = {"when": self._when, **{step.option: step.condition for step in self._steps}}
        self._errors = ConditionErrors(context, {option: one for option, one in conditions.items() if one is not None})

    def process(self, events: list[UnifiedEvent]) -> list[UnifiedEvent]:
        """Change the events in place; returns the same list."""
        chosen = events if self._when is None else [event for event in events if self._when.matches(event)]
        refused = 0
        for step in self._steps:
            apply, condition = step.apply, step.condition
            if condition is None:
                for event in chosen:
                    refused += apply(event)
            else:
                matches = condition.matches
                for event in chosen:
                    if matches(event):
                        refused += apply(event)
        if refused:
            self.context.counters.add("refused", refused, reason="convert")
        self._errors.tell()
        return events


def _steps(actions: Sequence[Action]) -> Iterator[_Step]:
    """Yield the actions, those without a condition that follow each other in one step.

    Actions under a condition stay alone, as what the one changes may decide about the next.
    """
    for conditional, group in groupby(enumerate(actions), lambda numbered: numbered[1].when is not None):
        if conditional:
            yield from (_Step([action], f"actions[{place}].when") for place, action in group)
        else:
            yield _Step([action for _, action in group])
