"""Scenarios are made into events by the receivers' own code, and wrong ones are refused with their place."""

from __future__ import annotations

import pytest

from tapio_otel.cli.scenarios import Scenario, events_of, read_scenarios
from tapio_otel.config.problem import ConfigError

POD = {"name": "prod/web-0", "owner": "deployment/web", "ip": "10.1.0.5", "services": ["web"]}


def events(*steps, **more):
    """Return the events of steps, in the order of their arrival."""
    written = {"name": "x", "events": list(steps), "findings": [], **more}
    return [event for _, event in events_of(Scenario.model_validate(written)).arriving]


def test_a_journal_entry_is_parsed_and_understood():
    """With the entity of its writer and the type that the patterns give it."""
    (event,) = events({"journal": {"unit": "shop.service", "MESSAGE": "dial tcp 10.0.0.1:5432: connect: connection refused"}})
    assert (event.source, event.type, event.entity.name) == ("journald", "connection_failed", "shop.service")
    assert (event.get("host"), event.get("port")) == ("10.0.0.1", 5432)


def test_what_the_service_manager_says_is_about_the_unit():
    """And not about init.scope."""
    (event,) = events({"journal": {"about": "web.service", "MESSAGE": "web.service: Failed with result 'oom-kill'."}})
    assert (event.type, event.entity.name, event.get("result")) == ("unit_failed", "web.service", "oom-kill")


def test_a_container_s_output_is_about_it_with_its_whole_lineage():
    """As enrichment knows it from the cluster."""
    (event,) = events({"journal": {"container": "prod/web-0", "MESSAGE": "hello"}}, cluster={"pods": [POD]})
    lineage = [(one.type, one.name) for one in event.entity.lineage()]
    assert lineage[:2] == [("container", "app"), ("pod", "web-0")]
    assert ("deployment", "web") in lineage
    assert event.get("tapio.k8s.services") == ["web"]


def test_the_kernel_s_observation_becomes_the_receiver_s_event():
    """About the container in whose cgroup it was."""
    step = {"kernel": {"probe": "oom_kill", "container": "prod/web-0", "pid": 7, "comm": "app", "scope": "cgroup"}}
    (event,) = events(step, cluster={"pods": [POD]})
    assert (event.source, event.type, event.entity.type, event.get("pid")) == ("ebpf", "oom_kill", "container", 7)


def test_units_go_through_their_states():
    """The tracker tells a crash, its restart, and that there were too many."""
    unit = {"unit": "web.service"}
    told = events(
        {"t": "0s", "systemd": {**unit, "to": "failed/failed", "result": "exit-code", "exit_code": 3}},
        {"t": "1s", "systemd": {**unit, "to": "activating/auto-restart"}},
        {"t": "2s", "systemd": {**unit, "to": "inactive/dead", "restarts": 1}},
        {"t": "3s", "systemd": {**unit, "to": "failed/failed"}},
    )
    assert [event.type for event in told] == ["service_crashed", "service_restart", "service_state", "restart_limit_hit"]
    assert told[0].get("exit_code") == 3


def test_a_run_of_a_unit_has_one_invocation_in_all_sources():
    """A restart begins another."""
    unit = {"unit": "web.service"}
    first, _, entry, started, other = events(
        {"t": "0s", "systemd": {**unit, "to": "failed/failed", "result": "signal", "signal": 9}},
        {"t": "1s", "systemd": {**unit, "to": "activating/auto-restart"}},
        {"t": "1.5s", "journal": {"about": "web.service", "MESSAGE": "x"}},
        {"t": "2s", "systemd": {**unit, "to": "active/running", "restarts": 1}},
        {"t": "3s", "journal": {"about": "web.service", "MESSAGE": "x"}},
    )
    assert first.get("invocation_id") == entry.get("INVOCATION_ID")
    assert started.get("invocation_id") == other.get("INVOCATION_ID") != first.get("invocation_id")


def test_pods_change_as_the_api_tells():
    """The end of a container, its restart, a condition."""
    pod = {"name": "prod/web-0"}
    told = events(
        {"t": "1s", "pod": {**pod, "terminated": {"reason": "OOMKilled", "exitCode": 137}}},
        {"t": "2.7s", "pod": {**pod, "restarted": True}},
        {"t": "4s", "pod": {**pod, "conditions": {"Ready": "False"}}},
        {"t": "5s", "pod": {**pod, "deleted": True}},
        cluster={"pods": [POD]},
    )
    assert [event.type for event in told] == ["pod_state", "container_restart", "pod_state", "pod_state"]
    assert told[1].get("last_terminated_reason") == "OOMKilled"
    assert told[1].timestamp % 1_000_000_000 == 0, "Kubernetes tells times to the second"
    assert told[2].get("conditions") == {"Ready": "False"}
    assert told[3].get("change") == "deleted"


def test_nodes_and_events_of_the_cluster_are_told():
    """Conditions and taints; an event by its own words."""
    told = events(
        {"cluster_node": {"name": "node-2", "conditions": {"Ready": {"status": "Unknown"}}, "taints": ["a/b:NoSchedule"]}},
        {"t": "1s", "cluster_event": {"about": "pod/prod/web-0/app", "reason": "BackOff", "message": "Back-off"}},
        cluster={"pods": [POD]},
    )
    assert [event.get("change") for event in told] == ["condition", "taint_added", None]
    assert (told[2].entity.name, told[2].get("k8s.container.name")) == ("web-0", "app")


def test_clocks_differ_and_events_are_late_and_repeated():
    """The time of an event is its source's; its arrival is not."""
    step = {
        "t": "10s",
        "late": "3s",
        "deliveries": 2,
        "systemd": {"unit": "web.service", "to": "failed/failed", "result": "signal"},
    }
    first, again = events(step, clocks={"systemd": "-5s"})
    assert first.id == again.id
    assert first.observed - first.timestamp == 8_050_000_000


def test_noise_is_made_from_its_seed():
    """Always the same one, of other machines."""
    one, other = ([event.id for event in events({"noise": {"seed": seed, "count": 50}})] for seed in (1, 2))
    assert one == [event.id for event in events({"noise": {"seed": 1, "count": 50}})]
    assert (len(one), one == other) == (50, False)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{journal: {MESSAGE: x}, noise: {seed: 1}}", "found journal, noise: write one step for each"),
        ("{systemd: {unit: x.service, to: failed/failed, reslt: signal}}", "reslt"),
        ("{label: a, journal: {MESSAGE: x}}", "no event with the label 'b'; labels are a"),
    ],
)
def test_a_wrong_scenario_is_refused_with_its_file(tmp_path, step, message):
    """Before anything is made of it."""
    file = tmp_path / "wrong.yaml"
    file.write_text(f"name: x\nevents: [{step}]\nfindings: [{{rule: oom_cascade, root_cause: b}}]\n")
    with pytest.raises(ConfigError) as found:
        read_scenarios([file])
    assert "wrong.yaml" in str(found.value)
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"journal": {"container": "prod/none", "MESSAGE": "x"}}, "events[0]: there is no pod prod/none"),
        ({"kernel": {"probe": "oom_kill", "pidd": 1}}, "events[0]: the probe oom_kill knows nothing of pidd"),
        ({"kernel": {"probe": "nothing"}}, "events[0]: there is no probe 'nothing'"),
    ],
)
def test_what_cannot_be_made_is_told_with_its_number(step, message):
    """Instead of a finding that nobody understands."""
    with pytest.raises(ValueError, match="events") as found:
        events(step)
    assert message in str(found.value)
