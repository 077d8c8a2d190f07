"""How well rules conclude: precision, recall and root-cause accuracy on labelled scenarios.

A finding is right when it is of an expected finding's rule and shares an event with that; each counts once. Its root cause is
right when it is the expected event. A trap is a scenario of which no finding is expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tapio_otel.config.compose import compose
from tapio_otel.config.explain import check
from tapio_otel.config.files import Unreadable, read_text
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.examples import example_events, last_revisions, replay
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.rule_options import ExampleEvent, Name, Word
from tapio_otel.event import UnifiedEvent


class LabelledFinding(BaseModel):
    """Say what a finding must be; numbers are indexes of the scenario's events."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    rule: Name = Field(description="The rule's name.")
    root_cause: int = Field(ge=0, description="The event that is the root cause.")
    impacts: list[int] | None = Field(default=None, description="The events that are its impacts; not compared if left out.")


class Scenario(BaseModel):
    """Be events and what must be concluded from them: nothing where the list is empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Word = Field(description="What happens, in a few words.")
    description: str = Field(default="", description="What is special about it.")
    events: Annotated[list[ExampleEvent], Field(min_length=1)] = Field(description="The events, in any order.")
    findings: list[LabelledFinding] = Field(description="All findings that must be told; [] for a trap.")


@dataclass(slots=True)
class RuleEvaluation:
    """Hold what came of scenarios."""

    scenarios: int = 0
    traps: int = 0
    expected: int = 0
    found: int = 0
    right: int = 0
    right_roots: int = 0
    right_impacts: int = 0
    labelled_impacts: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, float]:
        """Return the figures, each from 0 to 1; 1 where there is nothing to be wrong."""
        return {
            "precision": _share(self.right, self.found),
            "recall": _share(self.right, self.expected),
            "root cause": _share(self.right_roots, self.right),
        }

    def reaches(self, goal: float) -> bool:
        """Tell whether each figure is the goal or better."""
        return all(figure >= goal for figure in self.figures.values())

    def table(self) -> str:
        """Return the figures as text."""
        head = f"{self.scenarios} scenarios, {self.traps} of them traps; {self.expected} findings expected, {self.found} found"
        rows = [f"{name:<12}{figure:>7.3f}" for name, figure in self.figures.items()]
        impacts = f"impacts exactly as labelled in {self.right_impacts} of {self.labelled_impacts}"
        return "\n".join((head, *rows, impacts, f"{len(self.wrong)} scenarios with something wrong"))

    def take(self, file: str, scenario: Scenario, found: Sequence[UnifiedEvent], ids: Sequence[Sequence[str]]) -> None:
        """Add one scenario."""
        self.scenarios += 1
        self.traps += not scenario.findings
        self.expected += len(scenario.findings)
        self.found += len(found)
        rest = list(found)
        faults = []
        for label in scenario.findings:
            match = _best(label, rest, ids)
            if match is None:
                faults.append(f"missing: {label.rule} of event {label.root_cause}")
                continue
            rest.remove(match)
            faults += self._compare(label, match, ids)
        faults += [f"too much: {one.get('rule')}: {one.title}" for one in rest]
        if faults:
            self.wrong.append({"file": file, "scenario": scenario.name, "wrong": faults})

    def _compare(self, label: LabelledFinding, found: UnifiedEvent, ids: Sequence[Sequence[str]]) -> Iterator[str]:
        self.right += 1
        if found.get("root_cause") in ids[label.root_cause]:
            self.right_roots += 1
        else:
            yield f"{label.rule}: the root cause is {found.get('root_cause')!r}, expected event {label.root_cause}"
        if label.impacts is not None:
            self.labelled_impacts += 1
            wanted = [identity for index in label.impacts for identity in ids[index]]
            if found.get("impacts") == wanted:
                self.right_impacts += 1
            else:
                yield f"{label.rule}: the impacts are {found.get('impacts')!r}, expected {wanted!r}"


def _best(label: LabelledFinding, found: Sequence[UnifiedEvent], ids: Sequence[Sequence[str]]) -> UnifiedEvent | None:
    """Return the finding that is meant: the one with the root cause, else one that shares an event."""
    own = [one for one in found if one.get("rule") == label.rule]
    wanted = {identity for index in (label.root_cause, *(label.impacts or ())) for identity in ids[index]}
    exact = [one for one in own if one.get("root_cause") in ids[label.root_cause]]
    near = [one for one in own if wanted.intersection(one.get("members") or ())]
    return next(iter((*exact, *near)), None)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def evaluate_files(paths: Iterable[str], rules: Sequence[Rule]) -> RuleEvaluation:
    """Return what comes of scenarios; raises `ConfigError` with everything that is wrong with the files."""
    read = [(file, *read_scenario(file)) for path in paths for file in _files(Path(path))]
    problems = [problem for _, _, found in read for problem in found]
    if problems:
        raise ConfigError(problems)
    result = RuleEvaluation()
    for file, scenario, _ in read:
        if scenario is not None:
            events, ids = example_events(scenario.events)
            result.take(str(file), scenario, last_revisions(replay(Engine(rules), events)), ids)
    return result


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.yaml"))
    if not found:
        raise ConfigError([Problem(str(path), None, "", "there is no *.yaml in this directory; check the path")])
    return found


def read_scenario(file: Path) -> tuple[Scenario | None, list[Problem]]:
    """Return a file's scenario, and all that is wrong with it."""
    try:
        text = read_text(file)
    except Unreadable as error:
        return None, [Problem(str(file), error.line, "", str(error))]
    composed = compose(text, str(file))
    if composed.root is None or composed.problems:
        return None, composed.problems or [Problem(str(file), None, "", "the file is empty; write a scenario")]
    checked = check(Scenario, composed.root, ())
    scenario = checked.config
    if scenario is None or checked.problems:
        return None, list(checked.problems)
    last = len(scenario.events) - 1
    problems = [
        composed.root.position.problem(("findings", place), f"there is no event {index}; the last one is {last}")
        for place, one in enumerate(scenario.findings)
        for index in (one.root_cause, *(one.impacts or ()))
        if not 0 <= index <= last
    ]
    return (None if problems else scenario), problems
