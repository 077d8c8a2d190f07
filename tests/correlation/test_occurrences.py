"""Facts of real events: each class has a producer, and what several sources tell of one occurrence is one fact.

The events are made by the receivers, the normalizers and the patterns from what the sources say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

import tapio_otel
from tapio_otel.cli.scenarios.events import events_of
from tapio_otel.cli.scenarios.form import Scenario
from tapio_otel.config.compose import compose
from tapio_otel.config.located import plain
from tapio_otel.correlation.classes import CLASSES
from tapio_otel.correlation.engine import Engine
from tapio_otel.correlation.examples import last_revisions, replay
from tapio_otel.correlation.library import load_rules
from tapio_otel.event import EventType, Origin, Severity, UnifiedEvent
from tests.correlation import incidents
from tests.correlation.incidents import happening, restart, rule

RULES = load_rules(("builtin",))
PATTERNS = sorted((Path(tapio_otel.__file__).parent / "config" / "patterns").glob("*.yaml"))
POD = "prod/web-5d-a"


def happened(*steps: dict, **scenario) -> list[UnifiedEvent]:
    """Return the events of what happened, in the order in which they arrive."""
    made = Scenario.model_validate({"name": "x", "events": list(steps), "findings": [], **scenario})
    return [event for _, event in events_of(made).arriving]


@lru_cache(maxsize=1)
def of_patterns() -> tuple[UnifiedEvent, ...]:
    """Return an event for each example of each pattern that has a type."""
    return tuple(_of_patterns())


def _of_patterns() -> Iterator[UnifiedEvent]:
    for file in PATTERNS:
        for one in plain(compose(file.read_text(), str(file)).root, bare=True)["patterns"]:
            for example in one["examples"] if "event_type" in one else ():
                text, told = (example, {}) if isinstance(example, str) else (example["text"], example.get("attributes", {}))
                severity = Severity.from_keyword(one.get("severity", "info"))
                yield UnifiedEvent("x", 1, "journald", one["event_type"], severity, description=text, attributes=dict(told))


@lru_cache(maxsize=1)
def of_receivers() -> tuple[UnifiedEvent, ...]:
    """Return what the kernel's probes, systemd and Kubernetes tell that no line of a log does."""
    flow = {"src_ip": "10.0.0.1", "src_port": 4000, "dst_ip": "10.0.0.2", "dst_port": 80, "state": "ESTABLISHED"}
    steps = [
        {
            "kernel": {
                "probe": "cpu_throttle",
                "unit": "a.service",
                "window_ns": 10**9,
                "throttled_ns": 9,
                "periods": 9,
                "throttled_periods": 9,
            }
        },
        {"kernel": {"probe": "tcp_retransmit", "unit": "a.service", **flow}},
        {"systemd": {"unit": "a.service", "to": "reloading/reload", "job": "reload"}},
        {"t": "1s", "systemd": {"unit": "a.service", "to": "active/running"}},
        {"t": "2s", "pod": {"name": POD, "conditions": {"Ready": "False"}}},
        {"t": "3s", "cluster_node": {"name": "node-1", "conditions": {"Ready": {"status": "Unknown"}}}},
        {"t": "4s", "cluster_event": {"about": "deployment/prod/web", "reason": "ScalingReplicaSet", "type": "Normal"}},
    ]
    return tuple(happened(*steps, cluster={"pods": [{"name": POD}]}))


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_every_class_is_told_by_a_real_event(kind):
    """A class without a producer would be a promise that nothing keeps."""
    assert any(kind.has(event) for event in (*of_patterns(), *of_receivers()))


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_every_type_that_a_class_names_is_produced(kind):
    """By a receiver or a pattern of this package."""
    core = {value for name, value in vars(EventType).items() if not name.startswith("_") and isinstance(value, str)}
    assert kind.types.keys() <= core | {event.type for event in of_patterns()} | {event.type for event in of_receivers()}


def test_a_reload_changes_the_configuration():
    """systemd tells it by the unit's state."""
    (reload,) = [event for event in of_receivers() if event.get("current_state") == "reloading"]
    assert CLASSES["config_changed"].has(reload)


UNIT_KILL = (
    {"t": "0s", "kernel": {"probe": "oom_kill", "unit": "web.service", "pid": 4242, "comm": "web", "scope": "cgroup"}},
    {
        "t": "1ms",
        "journal": {
            "kernel": 1,
            "MESSAGE": "Memory cgroup out of memory: Killed process 4242 (web) total-vm:912340kB, anon-rss:260096kB, "
            "file-rss:1024kB, shmem-rss:0kB, UID:33 pgtables:744kB oom_score_adj:0",
        },
    },
    {
        "t": "10ms",
        "journal": {
            "about": "web.service",
            "MESSAGE": "web.service: A process of this unit has been killed by the OOM killer.",
        },
    },
    {
        "t": "20ms",
        "journal": {
            "about": "web.service",
            "MESSAGE": "web.service: Failed with result 'oom-kill'.",
            "UNIT_RESULT": "oom-kill",
        },
    },
    {"t": "20ms", "systemd": {"unit": "web.service", "to": "failed/failed", "result": "oom-kill", "signal": 9}},
    {"t": "30ms", "systemd": {"unit": "web.service", "to": "activating/auto-restart"}},
)


def most_kills(events: list[UnifiedEvent]) -> int:
    """Return how many facts of the class `oom` one group has at most."""
    found = [0]
    cascade = next(one for one in RULES if one.name == "oom_cascade")
    kills = {"oom": cascade.facts["oom"]}
    counting = replace(
        cascade, facts=kills, condition=None, min_events=1, correlate=lambda groups: found.append(len(groups["oom"]))
    )
    replay(Engine([counting]), events)
    return max(found)


def concluded(events: list[UnifiedEvent]) -> list[UnifiedEvent]:
    """Return what all rules that ship conclude."""
    return last_revisions(replay(Engine(RULES), events))


def test_the_kernel_its_log_the_unit_and_its_manager_tell_one_kill():
    """Five witnesses of three sources, and the restart is what came of it."""
    events = happened(*UNIT_KILL)
    (finding,) = concluded(events)
    kill, again = events[0], events[-1]
    assert [CLASSES["oom"].has(event) for event in events] == [True] * 5 + [False]
    assert (finding.get("rule"), finding.get("root_cause"), finding.get("impacts")) == ("oom_cascade", kill.id, [again.id])
    assert sorted(finding.get("members")) == sorted(event.id for event in events)
    assert finding.get("confidence") == round(1 - 0.1 * 0.7**2, 3)


@pytest.mark.parametrize("ahead", ["0s", "-55s", "55s"])
def test_the_kernel_its_log_the_pod_and_its_restart_tell_one_kill(ahead):
    """The clock of Kubernetes may be nearly a minute off: it is one kill all the same, with one finding."""
    steps = (
        {"t": "60s", "kernel": {"probe": "oom_kill", "container": POD, "pid": 4242, "comm": "web", "scope": "cgroup"}},
        {**UNIT_KILL[1], "t": "60.001s"},
        {"t": "61s", "pod": {"name": POD, "terminated": {"reason": "OOMKilled", "exitCode": 137}}},
        {"t": "63s", "pod": {"name": POD, "restarted": True}},
    )
    events = happened(*steps, cluster={"pods": [{"name": POD}]}, clocks={"kubernetes": ahead})
    found = concluded(events)
    assert sum(CLASSES["oom"].has(event) for event in events) == 4
    assert most_kills(events) == 1
    if ahead == "0s":
        (finding,) = found
        assert finding.get("impacts") == [event.id for event in events if event.type == "container_restart"]
        assert sorted(finding.get("sources")) == ["ebpf", "journald", "kubernetes"]


def test_two_kills_in_two_containers_of_one_pod_are_two():
    """They share the pod and the time, and not the process or the container."""
    steps = [
        {"t": "1s", "kernel": {"probe": "oom_kill", "container": f"{POD}/{name}", "pid": pid, "comm": name, "scope": "cgroup"}}
        for name, pid in (("app", 100), ("proxy", 200))
    ]
    events = happened(*steps, cluster={"pods": [{"name": POD, "containers": ["app", "proxy"]}]})
    assert most_kills(events) == 2


@pytest.mark.parametrize("value", [["oom-kill"], {"oom-kill": 1}])
def test_an_attribute_of_many_values_is_none_of_those_that_are_asked_for(value):
    """As foreign logs may have them; it fails nowhere."""
    event = happening(0, "systemd", "service_state", result=value, current_state=value)
    assert [name for name, one in CLASSES.items() if one.has(event)] == []


def test_who_wrote_a_line_is_not_who_it_is_about():
    """What systemd tells of a killed unit names no process as killed; what the line's text names is. Read back or not."""

    def told(own: dict[str, object], is_detached: bool = False) -> str:
        line = happening(0, "journald", "oom_kill", severity=Severity.CRITICAL)
        event = UnifiedEvent.of_origin(
            Origin(line.entity, {"pid": 1, "comm": "systemd"}),
            "of systemd",
            line.timestamp,
            line.timestamp,
            "journald",
            "oom_kill",
            Severity.CRITICAL,
            "A process of this unit has been killed by the OOM killer.",
            "A process of this unit has been killed by the OOM killer.",
            own,
        )
        if is_detached:  # as one that was read from a file is
            event.attributes["seen"] = True
            assert event.shared is None
        texts = {"description": "Memory ran out[, and the kernel killed {root.comm}][ (PID {root.pid})]."}
        (finding,) = incidents.concluded([event, restart()], rule(**texts))
        return finding.description

    assert told({}) == told({}, True) == "Memory ran out."
    assert told({"subject_pid": 4242}) == told({"subject_pid": 4242}, True) == "Memory ran out (PID 4242)."
