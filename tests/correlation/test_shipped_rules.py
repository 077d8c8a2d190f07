"""The rules that ship: what each promises by its examples, and what they say beside one another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from random import Random

import pytest

import tapio_otel
from tapio_otel.config.compose import compose
from tapio_otel.config.located import plain
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.examples import example_events, last_revisions, replay, run_examples
from tapio_otel.correlation.library import load_rules
from tapio_otel.correlation.rule import Rule
from tapio_otel.correlation.rule_options import RuleExample
from tapio_otel.event import EventType, UnifiedEvent

SHIPPED = {rule.name: rule for rule in load_rules(("builtin",))}
NAMES = {
    *("oom_cascade", "network_partition", "crash_loop", "restart_limit_after_dependency_failure", "disk_full_cascade"),
    *("cpu_throttle_then_probe_failure", "filesystem_readonly", "dns_outage", "dependency_down", "node_not_ready_cascade"),
    *("image_pull_outage", "config_change_then_crash", "oom_by_neighbour", "clock_jump", "conntrack_exhaustion"),
    *("certificate_expiry", "kernel_hang_then_timeouts", "deploy_then_errors"),
}
EXAMPLES = [(rule, example) for rule in SHIPPED.values() for example in rule.examples]
every_rule = pytest.mark.parametrize("rule", SHIPPED.values(), ids=SHIPPED.keys())
every_example = pytest.mark.parametrize(
    ("rule", "example"), EXAMPLES, ids=[f"{rule.name}: {example.name}" for rule, example in EXAMPLES]
)


def found(example: RuleExample, *rules: Rule) -> list[UnifiedEvent]:
    """Return what rules conclude from the events of an example."""
    return last_revisions(replay(Engine(rules), example_events(example.events)[0]))


@lru_cache(maxsize=1)
def known_types() -> frozenset[str]:
    """Return the types of event that receivers and the pattern library produce."""
    receivers = {value for name, value in vars(EventType).items() if not name.startswith("_") and isinstance(value, str)}
    return frozenset(receivers) | frozenset(_types_of_patterns())


def _types_of_patterns() -> Iterator[str]:
    for file in sorted((Path(tapio_otel.__file__).parent / "config" / "patterns").glob("*.yaml")):
        composed = compose(file.read_text(), str(file))
        for one in plain(composed.root, bare=True)["patterns"]:
            if "event_type" in one:
                yield one["event_type"]


def test_all_rules_are_there():
    """Each is read without a problem, and bears its name."""
    assert SHIPPED.keys() == NAMES


@every_rule
def test_a_rule_shows_when_it_fires_and_when_not(rule):
    """At least two examples each; the seed's two rules have fewer that fire, as they were given."""
    firing = [example for example in rule.examples if example.findings]
    assert len(firing) >= (1 if rule.name == "network_partition" else 2)
    assert len(rule.examples) - len(firing) >= 2


@every_rule
def test_the_examples_of_a_rule_hold(rule):
    """Each finds what it says, alone."""
    assert [(one.example, one.problem) for one in run_examples(rule) if one.problem] == []


@every_example
def test_an_example_has_events_as_they_come(rule, example):
    """Their types are those of receivers and patterns."""
    assert {event.type for event in example.events} - known_types() == set()


@every_example
def test_a_finding_reads_well(rule, example):
    """No value is unknown, no bracket or brace is left over, no count of nothing, no part that is empty."""
    for finding in found(example, rule):
        told = " ".join((finding.title, finding.description, finding.get("hint"))).replace("from 0 to", "from none to")
        assert not [wrong for wrong in ("unknown", "[", "]", "{", "}", "  ", " 0 ", "()", " .", "..") if wrong in told], told


@every_example
def test_an_example_holds_whatever_the_order_of_arrival(rule, example):
    """The findings are the same, whole."""
    events, _ = example_events(example.events)
    shuffled = list(events)
    Random(7).shuffle(shuffled)
    in_order, otherwise = (replay(Engine([rule]), one) for one in (events, shuffled))
    assert [one.view().attributes for one in in_order] == [one.view().attributes for one in otherwise]


@every_example
def test_an_incident_is_told_once_beside_all_rules(rule, example):
    """What an example finds is found by one rule; where another one tells it better, this one is among what that suppresses."""
    together = found(example, *SHIPPED.values())
    roots = [finding.get("root_cause") for finding in together]
    names = {finding.get("rule") for finding in together}
    assert len(roots) == len(set(roots)), names
    if example.findings:
        assert rule.name in names or any(rule.name in SHIPPED[name].suppresses for name in names), names
    else:
        assert names <= {"oom_cascade"}, "what is no incident of one rule is none of another, but for a limit that was reached"
