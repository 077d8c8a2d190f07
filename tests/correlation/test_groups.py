"""Groups and windows: what belongs together, which groups a fact joins, and when a window begins."""

from __future__ import annotations

import pytest

from tapio_otel.correlation.library import load_rules
from tests.components import CountingSink
from tests.correlation.incidents import at, concluded, engine, happening, oom, refused, restart, rule, told

SHIPPED = {one.name: one for one in load_rules(("builtin",))}


def on(node, name="web.service", kind="systemd_unit"):
    """Return a unit, or another entity, of a node."""
    return {"type": kind, "name": name, "uid": name, "parent": f"node/{node}"}


def full(seconds, about, **attributes):
    """Return a program's complaint about a disk without space."""
    return happening(seconds, "journald", "disk_full", about, text="No space left on device", **attributes)


DISKS = rule(
    facts={"full": {"class": "disk_full", "join": "node"}, "failure": {"class": "crashed", "optional": True}},
    condition="failure or distinct(full) >= 2",
    root="full",
    impacts=["full", "failure"],
    group_by=["unit"],
)
"""A rule that takes a machine's disks for one."""


# --- Joins by a rank ----------------------------------------------------------------------------------------------------------


def test_disks_of_two_nodes_are_two_incidents():
    """Two programs on two machines without space are no cascade; on one machine they are."""
    assert concluded([full(0, on("a", "one.service")), full(5, on("b", "two.service"))], DISKS) == []
    (finding,) = concluded([full(0, on("a", "one.service")), full(5, on("a", "two.service"))], DISKS)
    assert finding.get("entities") == ["systemd_unit/one.service", "systemd_unit/two.service"]


def test_what_belongs_to_a_further_cause_belongs_to_the_group():
    """The second program without space ends: it shares nothing with the first but the machine."""
    crash = happening(7, "systemd", "service_crashed", on("a", "two.service"), current_state="failed", result="exit-code")
    (finding,) = concluded([full(0, on("a", "one.service")), full(5, on("a", "two.service")), crash], DISKS)
    assert finding.get("impacts")[-1] == crash.id


@pytest.mark.parametrize(("join", "found"), [("node", 1), ("namespace", 0), ("unit", 0), ("any", 1)])
def test_join_names_the_rank_that_relates_a_fact_to_the_root(join, found):
    """Whatever the others are grouped by."""
    joined = rule(
        facts={"oom": {"class": "oom"}, "slow": {"event_type": "service_timeout", "join": join}}, root="oom", group_by=["unit"]
    )
    events = [oom(0, on("a")), happening(1, "journald", "service_timeout", on("a", "mail.service"))]
    assert len(concluded(events, joined)) == found


# --- Several groups -----------------------------------------------------------------------------------------------------------


def postgres(seconds, **attributes):
    """Return the end of the database."""
    return happening(seconds, "systemd", "service_crashed", on("n", "postgresql.service"), **attributes)


def test_a_client_that_failed_before_is_found_by_its_dependencys_group_too():
    """The client's first crash has opened a group of its own, by the same key."""
    shop = on("n", "shop.service")
    ended = {"current_state": "failed", "result": "exit-code"}
    early = happening(-1, "systemd", "service_crashed", shop, **ended)
    down = postgres(0, **ended)
    reset = happening(
        *(0.1, "ebpf", "tcp_reset", on("n", "postgresql.service")),
        **{"direction": "sent", "state": "ESTABLISHED", "src_ip": "192.0.2.10", "src_port": 5432},
    )
    client = refused(2, shop, host="192.0.2.10", port=5432)
    limit = happening(8, "systemd", "restart_limit_hit", shop, current_state="failed")
    name = "restart_limit_after_dependency_failure"
    (finding,) = concluded([early, down, reset, client, limit], SHIPPED[name])
    assert finding.get("root_cause") == down.id
    assert finding.get("impacts") == [client.id, limit.id]


def test_a_key_leads_to_the_latest_groups_only():
    """However many groups one client has joined, a fact of it joins four; state and time are bounded."""
    cascade = rule(
        facts={
            "oom": {"class": "oom"},
            "client": {"class": "connection_failed", "join": "address", "optional": True},
            "restart": {"class": "unit_restarted", "optional": True},
        },
        root="oom",
    )
    pods = [
        {"type": "pod", "name": f"p{n}", "namespace": "prod", "uid": f"u{n}", "attributes": {"pod_ip": f"10.0.0.{n}"}}
        for n in range(10)
    ]
    kills = [oom(n / 10, pods[n], pid=100 + n) for n in range(10)]
    clients = [refused(2 + n / 10, on("n"), dst_ip=f"10.0.0.{n}", dst_port=80) for n in range(10)]
    again = restart(5, on("n"))
    found = concluded([*kills, *clients, again], cascade)
    assert len(found) == 10
    assert [one.get("root_cause") for one in found if again.id in one.get("impacts")] == [one.id for one in kills[-4:]]


def test_an_address_that_is_learnt_later_joins_the_clients_that_wait():
    """The client's clock is behind: it fails before the cause, and whose address it is shows only after it."""
    cascade = rule(facts={"oom": {"class": "oom"}, "client": {"class": "connection_failed", "join": "address"}}, root="oom")
    client = refused(-4, on("other", "shop.service"), host="10.0.2.21", port=5432)
    reset = happening(
        *(0.4, "ebpf", "tcp_reset", on("n")),
        **{"direction": "sent", "state": "ESTABLISHED", "src_ip": "10.0.2.21", "src_port": 5432},
    )
    (finding,) = concluded([oom(0, on("n")), client, reset], cascade)
    assert finding.get("impacts") == [client.id]


def test_two_services_of_one_machine_do_not_share_their_address():
    """A connection of one tells its port, and says nothing of another port of the same address."""
    cascade = rule(facts={"oom": {"class": "oom"}, "client": {"class": "connection_failed", "join": "address"}}, root="oom")
    reset = happening(
        *(0, "ebpf", "tcp_reset", on("n")),
        **{"direction": "sent", "state": "ESTABLISHED", "src_ip": "10.0.2.21", "src_port": 8080},
    )
    assert concluded([reset, oom(1, on("n")), refused(2, on("m"), host="10.0.2.21", port=5432)], cascade) == []
    assert len(concluded([reset, oom(1, on("n")), refused(2, on("m"), host="10.0.2.21", port=8080)], cascade)) == 1


def test_who_listened_is_a_target():
    """Where the kernel has told who listened at an address, the client's event says it."""
    cascade = rule(facts={"oom": {"class": "oom"}, "client": {"class": "connection_failed", "join": "address"}}, root="oom")
    client = refused(1, on("n", "shop.service"), host="127.0.0.1", port=80, target_unit="web.service")
    assert len(concluded([oom(0, on("n")), client], cascade)) == 1
    assert concluded([oom(0, on("other")), client], cascade) == []


# --- Windows ------------------------------------------------------------------------------------------------------------------

MANY = rule(
    "many", facts={"client": {"class": "connection_failed"}}, condition="count(client) >= 5", group_by=["any"], window="5m"
)


def test_a_window_slides_until_its_condition_holds():
    """One failure long before a burst does not end the window amid it."""
    early = refused(0, "pod/prod/a", id="early")
    burst = [refused(290 + 5 * n, f"pod/prod/{n}", id=f"burst {n}") for n in range(5)]
    (finding,) = concluded([early, *burst], MANY)
    assert finding.get("root_cause") == "burst 0"
    assert finding.get("impacts") == [one.id for one in burst[1:]]


def test_five_within_any_stretch_are_found_and_four_are_not():
    """Whatever came before them."""
    for gap in (10, 70, 74):
        spread = [refused(gap * n, "pod/prod/a", id=f"{n:02}") for n in range(12)]
        assert len(concluded(spread, MANY)) >= 1
    assert concluded([refused(76 * n, "pod/prod/a", id=f"{n:02}") for n in range(12)], MANY) == []


def test_a_full_window_slides_too():
    """A thousand failures of one client do not hide that others fail as well."""
    outage = rule(
        "outage", facts={"client": {"class": "connection_failed"}}, condition="distinct(client) >= 3", group_by=["any"]
    )
    sink = CountingSink()
    noise = [refused(n / 100, "pod/prod/a", id=f"{n:05}") for n in range(2500)]
    others = [refused(26 + n, f"pod/prod/b{n}", id=f"other {n}") for n in range(2)]
    (finding,) = concluded([*noise, *others], outage, counters=sink)
    assert set(finding.get("impacts")) >= {"other 0", "other 1"}
    assert sink.counts["correlation_evicted:facts"] == 0


def test_a_window_slides_with_what_came_shortly_before_its_new_beginning():
    """The restart that one kill waited for in vain belongs to the next kill."""
    cascade = rule(condition="oom and count(restart) >= 2", window="30s")
    events = [oom(0, pid=1000), oom(25, pid=1001), restart(26), restart(40)]
    (finding,) = concluded(events, cascade)
    assert (finding.get("root_cause"), finding.get("impacts")) == (events[1].id, [events[2].id, events[3].id])


def test_after_an_absence_was_not_concluded_the_next_cause_is_looked_at():
    """The first unit failure was mended in time, the second was not."""
    unstarted = rule(
        facts={"down": {"class": "unit_failed"}, "up": {"class": "unit_started", "optional": True}},
        condition="down and absent(up)",
        group_by=["unit"],
        root="down",
    )
    down = [happening(n, "systemd", "service_state", current_state="failed", id=f"down {n}") for n in (0, 20)]
    up = happening(10, "systemd", "service_state", current_state="active")
    tick = happening(60, "journald", "log")
    (finding,) = told(engine(unstarted), [*down, up, tick])
    assert (finding.get("root_cause"), finding.observed) == ("down 20", at(50))


def test_groups_that_must_go_early_do_not_begin_anew():
    """However many there are of which the window has ended since: each that opens closes one."""
    sink = CountingSink()
    one = engine(rule(condition="oom and count(restart) >= 9"), max_open=50, counters=sink)
    kills = [oom(n / 100, f"systemd_unit/u{n % 1500}.service", pid=1000 + n) for n in range(3000)]
    one.add([*kills, happening(4000, "journald", "log")])
    assert one.advance(0) == []
    assert (one.open_groups, sink.counts["correlation_evicted:open"] >= 1450) == (0, True)


def test_nothing_is_left_of_windows_that_slid():
    """State ends with the events."""
    one = engine(MANY)
    one.add([refused(20 * n, "pod/prod/a", id=f"{n:02}") for n in range(4)])
    one.advance(at(4000))
    (state,) = one._assembly.states
    assert (one.open_groups, state.by_key, one._teller.timers) == (0, {}, [])


# --- Before the root, and which is the root -----------------------------------------------------------------------------------


def test_what_came_long_before_the_root_is_context_and_no_consequence():
    """It counts in the condition and is a member; `context` names it."""
    changed = rule(
        facts={
            "change": {"event_type": "service_state", "before": "60s", "having": ["job_type"]},
            "oom": {"class": "oom"},
            "restart": {"class": "unit_restarted"},
        },
        root="oom",
        condition="change and oom and restart",
    )
    change = happening(-40, "systemd", "service_state", current_state="active", job_type="reload")
    events = [change, oom(0), restart(1)]
    (finding,) = concluded(events, changed)
    assert (finding.get("impacts"), finding.get("context")) == ([events[2].id], [change.id])
    assert finding.get("members")[0] == change.id
    assert concluded([happening(-61, "systemd", "service_state", job_type="reload"), *events[1:]], changed) == []
    (plain,) = concluded(events[1:])
    assert plain.get("context") is None


def test_of_several_causes_the_earliest_can_be_chosen():
    """`root: [a, b]` prefers a whenever it came; `{earliest: [a, b]}` what came first."""
    facts = {"change": {"class": "config_changed"}, "invalid": {"class": "config_invalid"}, "crash": {"class": "crashed"}}
    invalid = happening(0, "journald", "configuration_invalid")
    crash = happening(1, "systemd", "service_crashed", current_state="failed", result="exit-code")
    mended = happening(20, "systemd", "service_state", current_state="reloading")
    options = {"facts": facts, "condition": "crash and invalid and change", "group_by": ["unit"]}
    (preferred,) = concluded([invalid, crash, mended], rule(root=["change", "invalid"], **options))
    assert preferred.get("root_cause") == mended.id
    (first,) = concluded([invalid, crash, mended], rule(root={"earliest": ["change", "invalid"]}, **options))
    assert first.get("root_cause") == invalid.id
    shipped = SHIPPED["config_change_then_crash"]
    (finding,) = concluded([invalid, crash, mended], shipped)
    assert finding.get("root_cause") == invalid.id


# --- Witnesses ----------------------------------------------------------------------------------------------------------------


def test_a_value_that_a_later_witness_brings_is_counted():
    """Two kills are first told without the container's name, and then with it."""
    counting = rule(condition="distinct(oom, image) >= 2", group_by=["node"])
    kills = [oom(n, f"systemd_unit/u{n}.service", pid=100 + n) for n in range(2)]
    named = [oom(n + 2, f"systemd_unit/u{n}.service", "journald", pid=100 + n, image=f"i{n}") for n in range(2)]
    assert concluded(kills, counting) == []
    assert len(concluded([*kills, *named], counting)) == 1
    named[1].attributes["image"] = "i0"
    assert concluded([*kills, *named], counting) == []


def test_one_condition_may_ask_twice_for_the_same_values():
    """As for a range."""
    ranged = rule(facts={"oom": {"class": "oom"}}, condition="distinct(oom) >= 2 and distinct(oom) < 4", group_by=["node"])
    assert len(concluded([oom(n, f"systemd_unit/u{n}.service", pid=100 + n) for n in range(2)], ranged)) == 1


def test_units_of_one_name_on_two_machines_are_two_entities():
    """As agents and kubelets are: what only one of them meets is no outage."""
    many = rule(facts={"client": {"class": "connection_failed"}}, condition="distinct(client) >= 2", group_by=["any"])

    def unit(machine):
        return {"type": "systemd_unit", "name": "kubelet.service", "uid": "kubelet.service", "parent": f"node/{machine}"}

    assert concluded([refused(0, unit("a")), refused(9, unit("a"))], many) == []
    assert len(concluded([refused(0, unit("a")), refused(9, unit("b"))], many)) == 1


def test_one_fact_counts_as_one_entity_whatever_its_witnesses_call_it():
    """The process first, then its unit: one kill of one thing."""
    counting = rule(condition="distinct(oom) >= 2", group_by=["node"])
    process = {"type": "process", "name": "web", "uid": "process-42-1", "parent": "node/node"}
    assert concluded([oom(0, process), oom(1, source="journald")], counting) == []


def test_a_restart_that_tells_of_the_kill_is_witness_and_consequence():
    """Kubernetes may tell both by one event; the kill's time in it is what counts, and the restart is still one."""
    container = {"type": "container", "name": "web", "uid": "new", "parent": "pod/prod/web-0"}
    kill = oom(0, {**container, "uid": "old"})
    again = happening(
        *(50, "kubernetes", "container_restart", container),
        **{"exit_code": 137, "last_terminated_reason": "OOMKilled", "terminated_container_id": "old", "restart_count": 3},
        finished_at="2026-01-01T00:00:00Z",
    )
    cascade = rule(facts={"oom": {"class": "oom"}, "restart": {"class": "container_restarted"}}, root="oom", window="2m")
    (finding,) = concluded([kill, again], cascade)
    assert (finding.get("root_cause"), finding.get("impacts"), finding.get("witnesses")) == (kill.id, [again.id], 2)
    assert finding.get("confidence") == 0.93
    assert (
        concluded(
            [again],
            rule(
                condition="oom and restart",
                facts={"oom": {"class": "oom"}, "restart": {"class": "container_restarted"}},
                root="oom",
                min_events=1,
            ),
        )
        == []
    )


def test_the_end_that_two_classes_tell_is_no_consequence_of_itself():
    """A line about the killed process comes first, and only the unit's result shows that it is the same end."""
    cascade = rule(
        facts={"oom": {"class": "oom"}, "down": {"class": "crashed", "optional": True}, "up": {"class": "unit_restarted"}},
        root="oom",
    )
    line = happening(0.1, "journald", "service_process_killed")
    result = happening(0.2, "systemd", "service_crashed", current_state="failed", result="oom-kill")
    again = restart(0.3)
    (finding,) = concluded([oom(0), line, result, again], cascade)
    assert finding.get("impacts") == [again.id]


# --- Conditions over events ---------------------------------------------------------------------------------------------------


def test_a_where_that_cannot_be_decided_is_counted_logged_once_and_not_met(caplog):
    """Nothing is raised; the other events are judged as ever."""
    sink = CountingSink()
    asking = rule(
        facts={"oom": {"class": "oom", "where": "attributes.limit > 5"}, "restart": {"class": "unit_restarted"}}, root="oom"
    )
    one = engine(asking, counters=sink)
    bad = [oom(n, f"systemd_unit/u{n}.service", pid=100 + n, limit="much") for n in range(3)]
    one.add([*bad, oom(5, limit=10), restart(6)])
    assert len(one.advance(at(60))) == 1
    one.add([oom(70, "systemd_unit/late.service", limit="more")])
    one.advance(at(90))
    assert sink.counts["correlation_errors:oom_cascade"] == 4
    (record,) = [one for one in caplog.records if "cannot tell" in one.getMessage()]
    assert "the rule oom_cascade cannot tell 'attributes.limit > 5' of some events" in record.getMessage()
