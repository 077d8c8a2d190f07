"""How well rules conclude: what they tell of labelled scenarios against what they should.

- A finding is **right** (a true positive) when it is of an expected finding's rule and has that one's root cause; each counts
  once. Precision is the share of right ones among those told, recall among those expected.
- **Root-cause accuracy** is the share of right ones among the expected findings about which their rule told something: a
  finding that shares an event with them, whatever it takes for the root cause.
- **Impacts** are compared for right findings: precision and recall of the labels together are their F1. Witnesses of one fact
  have one label, so that it counts once, whichever of them a finding names.
- A **trap** is passed when nothing is told that is not expected.
- A finding that another one supersedes is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tapio_otel.cli.scenarios import LabelledFinding, Scenario, ScenarioEvents, events_of, read_scenarios
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.examples import last_revisions
from tapio_otel.correlation.rule import Rule
from tapio_otel.event import UnifiedEvent

_SECOND: Final = 1_000_000_000
_AFTERWARDS: Final = 1_800 * _SECOND
"""How long nothing happens at the end of a scenario: longer than the window of any rule."""
FIGURES: Final = ("precision", "recall", "root cause", "impacts F1")


@dataclass(slots=True)
class Tally:
    """Count what came of the findings of one rule, or of all."""

    expected: int = 0
    found: int = 0
    right: int = 0
    near: int = 0
    impacts_right: int = 0
    impacts_expected: int = 0
    impacts_found: int = 0

    @property
    def figures(self) -> dict[str, float]:
        """Return the figures, each from 0 to 1; 1 where there is nothing to be wrong."""
        return {
            "precision": _share(self.right, self.found),
            "recall": _share(self.right, self.expected),
            "root cause": _share(self.right, self.near),
            "impacts F1": _share(2 * self.impacts_right, self.impacts_expected + self.impacts_found),
        }

    def add(self, other: Tally) -> None:
        """Add the counts of another tally."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class RuleEvaluation:
    """Hold what came of scenarios; `wrong` has those with a fault: file, name, whether it is a trap, the faults in words."""

    scenarios: int = 0
    traps: int = 0
    traps_passed: int = 0
    by_rule: dict[str, Tally] = field(default_factory=dict)
    wrong: list[dict[str, Any]] = field(default_factory=list)

    @property
    def total(self) -> Tally:
        """Return the counts of all rules together."""
        total = Tally()
        for tally in self.by_rule.values():
            total.add(tally)
        return total

    @property
    def figures(self) -> dict[str, float]:
        """Return the figures over all rules, and the share of traps that are passed."""
        return {**self.total.figures, "traps": _share(self.traps_passed, self.traps)}

    def reaches(self, minimum: float) -> bool:
        """Tell whether precision, recall and root-cause accuracy are the minimum or better."""
        return all(self.figures[name] >= minimum for name in FIGURES[:3])

    def tally(self, rule: str) -> Tally:
        """Return the counts of a rule."""
        return self.by_rule.setdefault(rule, Tally())

    def take(self, file: str, scenario: Scenario, events: ScenarioEvents, found: Sequence[UnifiedEvent]) -> None:
        """Add one scenario."""
        self.scenarios += 1
        rest, faults = list(found), []
        for one in found:
            self.tally(str(one.get("rule"))).found += 1
        for label in scenario.findings:
            faults += self._expect(label, rest, events)
        excess = [f"too much: {one.get('rule')}: {one.title}" for one in rest]
        if scenario.is_trap:
            self.traps += 1
            self.traps_passed += not excess
        if faults or excess:
            told = {"file": Path(file).name, "scenario": scenario.name, "trap": scenario.is_trap}
            self.wrong.append({**told, "wrong": [*faults, *excess]})

    def _expect(self, label: LabelledFinding, rest: list[UnifiedEvent], events: ScenarioEvents) -> list[str]:
        """Look for one expected finding among those that are left; returns what is wrong with it."""
        tally = self.tally(label.rule)
        tally.expected += 1
        own = [one for one in rest if one.get("rule") == label.rule]
        exact = next((one for one in own if one.get("root_cause") in events.ids[label.root_cause]), None)
        if exact is not None:
            rest.remove(exact)
            tally.right += 1
            tally.near += 1
            return self._compare(label, exact, events, tally)
        about = {identity for one in (label.root_cause, *(label.impacts or ())) for identity in events.ids[one]}
        near = next((one for one in own if about.intersection(one.get("members") or ())), None)
        if near is None:
            return [f"missing: {label.rule} of {_shown(label.root_cause)}"]
        tally.near += 1
        rest.remove(near)
        told = ", ".join(map(_shown, _labels(near.get("root_cause"), events))) or "an event without a label"
        return [f"{label.rule}: the root cause is {told}, expected {_shown(label.root_cause)}"]

    def _compare(self, label: LabelledFinding, found: UnifiedEvent, events: ScenarioEvents, tally: Tally) -> list[str]:
        """Compare the impacts of a finding whose root cause is right."""
        if label.impacts is None:
            return []
        wanted = set(label.impacts)
        open_to = {identity for one in label.also for identity in events.ids[one]}
        named = [one for one in found.get("impacts") or () if one not in open_to]
        told = [(identity, _labels(identity, events, wanted)) for identity in named]
        hit = {one for one in wanted if any(one in labels for _, labels in told)}
        excess = {labels[0] if labels else identity for identity, labels in told if not wanted.intersection(labels)}
        tally.impacts_right += len(hit)
        tally.impacts_expected += len(wanted)
        tally.impacts_found += len(hit) + len(excess)
        missing = [f"{label.rule}: {_shown(one)} is not among the impacts" for one in label.impacts if one not in hit]
        return missing + [f"{label.rule}: {_shown(one)} is no impact of it" for one in sorted(excess, key=str)]

    def table(self) -> str:
        """Return the figures as text."""
        lines = [self._summary(), *(f"{name:<12}{figure:>7.3f}" for name, figure in self.figures.items()), ""]
        lines.append(f"{'rule':<44}{'expected':>9}{'found':>7}{'right':>7}" + "".join(f"{name:>12}" for name in FIGURES))
        for name, tally in sorted(self.by_rule.items()):
            figures = "".join(f"{figure:>12.3f}" for figure in tally.figures.values())
            lines.append(f"{name:<44}{tally.expected:>9}{tally.found:>7}{tally.right:>7}{figures}")
        lines += ["", f"{len(self.wrong)} scenarios with something wrong"]
        lines += [f"{one['file']}: {fault}" for one in self.wrong for fault in one["wrong"]]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return the figures and every fault as Markdown."""
        lines = [f"{self._summary()}.", "", "| figure | value |", "|---|---|"]
        lines += [f"| {name} | {figure:.3f} |" for name, figure in self.figures.items()]
        lines += ["", "| rule | expected | told | right | " + " | ".join(FIGURES) + " |", "|---|" + "---|" * (3 + len(FIGURES))]
        for name, tally in sorted(self.by_rule.items()):
            figures = " | ".join(f"{figure:.3f}" for figure in tally.figures.values())
            lines.append(f"| `{name}` | {tally.expected} | {tally.found} | {tally.right} | {figures} |")
        lines.append("")
        if not self.wrong:
            return "\n".join([*lines, "Nothing is wrong in any scenario."])
        lines += [f"In {len(self.wrong)} scenarios something is wrong:", ""]
        lines += [f"- `{one['file']}` ({one['scenario']}): {'; '.join(one['wrong'])}" for one in self.wrong]
        return "\n".join(lines)

    def row(self) -> dict[str, Any]:
        """Return everything for JSON."""
        counts = {name: {key: getattr(one, key) for key in Tally.__slots__} for name, one in sorted(self.by_rule.items())}
        head = {"scenarios": self.scenarios, "traps": self.traps, "traps_passed": self.traps_passed}
        return {**head, "figures": self.figures, "rules": counts, "wrong": self.wrong}

    def _summary(self) -> str:
        total = self.total
        return (
            f"{self.scenarios} scenarios, {self.traps} of them traps ({self.traps_passed} passed); "
            f"{total.expected} findings expected, {total.found} found, {total.right} right"
        )


def _labels(identity: Any, events: ScenarioEvents, wanted: Iterable[Any] = ()) -> list[Any]:
    """Return what an event is called: by labels that are wanted, else by words, else by its number."""
    found = [label for label, ids in events.ids.items() if identity in ids]
    preferred = [label for label in found if label in set(wanted)]
    return preferred or [label for label in found if isinstance(label, str)] or found


def _shown(label: Any) -> str:
    return f"event {label}" if isinstance(label, int) else repr(label)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def evaluate_files(paths: Iterable[str], rules: Sequence[Rule]) -> RuleEvaluation:
    """Return what comes of scenarios; raises `ConfigError` with everything that is wrong with the files."""
    result = RuleEvaluation()
    problems = []
    for file, scenario in read_scenarios(paths):
        try:
            events = events_of(scenario)
        except ValueError as error:
            problems.append(Problem(file, None, "", str(error)))
            continue
        result.take(file, scenario, events, concluded(rules, events))
    if problems:
        raise ConfigError(problems)
    return result


def concluded(rules: Sequence[Rule], events: ScenarioEvents, counters: Any = None) -> list[UnifiedEvent]:
    """Return the last revision of each finding that rules tell of events, which arrive one second after the other."""
    engine = Engine(rules, counters=counters)
    found: list[UnifiedEvent] = []
    now = 0
    for second, arriving in groupby(events.arriving, key=lambda one: one[0] // _SECOND):
        now = second * _SECOND
        found += engine.advance(now)
        engine.add([event for _, event in arriving])
    found += engine.advance(now + _AFTERWARDS)
    return last_revisions([*found, *engine.advance(0, final=True)])


def as_text(result: RuleEvaluation, form: str) -> str:
    """Return a result in one of `FORMS`."""
    return _FORMS[form](result)


def _json(result: RuleEvaluation) -> str:
    import orjson

    return orjson.dumps(result.row(), option=orjson.OPT_INDENT_2).decode()


_FORMS: Final[Mapping[str, Callable[[RuleEvaluation], str]]] = {
    "text": RuleEvaluation.table,
    "markdown": RuleEvaluation.markdown,
    "json": _json,
}
FORMS: Final = tuple(_FORMS)
"""Forms of output."""
