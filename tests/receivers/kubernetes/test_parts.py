"""Positions, the way out, times, and the options: the parts that need no server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapio_otel.event import Severity, UnifiedEvent
from tapio_otel.receivers.kubernetes import KubernetesConfig
from tapio_otel.receivers.kubernetes.outlet import BATCH, Outlet
from tapio_otel.receivers.kubernetes.position import MOST_HANDED, BadPosition, Position, Reached
from tapio_otel.receivers.kubernetes.reasons import SEVERITIES
from tapio_otel.receivers.kubernetes.receiver import divide
from tapio_otel.receivers.kubernetes.times import micro_time, nanoseconds
from tests.collect import CollectingOutput

HELD = {"uid": "u", "version": "7", "name": "n", "count": 3}
STEPS = st.builds(Reached, st.integers(1, 10**12).map(str), st.integers(0, 2**62))
POSITIONS = st.builds(
    Position,
    st.dictionaries(st.sampled_from(["events", "pods", "nodes"]), st.dictionaries(st.sampled_from(["", "a", "b"]), STEPS)),
    st.sampled_from([(), (HELD,)]),
)


@given(POSITIONS)
def test_a_position_survives_its_two_forms(position: Position) -> None:
    """That of the checkpoint and that of the Lease's annotation."""
    assert Position.load(position.dump()) == Position.of_annotation(position.annotation()) == position


@given(POSITIONS, POSITIONS)
def test_the_later_of_two_positions_is_never_behind_either(one: Position, other: Position) -> None:
    """Per resource and namespace; so whoever takes over repeats nothing that either had told."""
    later = one.later(other)
    for position in (one, other):
        for resource, found in position.reached.items():
            for namespace, step in found.items():
                reached = later.of(resource, namespace)
                assert reached is not None and reached.number >= step.number


def test_what_is_held_back_follows_the_events() -> None:
    """A replica that was a leader long ago does not tell again what it held back then."""
    old = Position({"events": {"": Reached("5", 1)}}, (HELD,))
    new = Position({"events": {"": Reached("9", 1)}})
    assert old.later(new).held == new.later(old).held == ()
    assert Position().later(old).held == (HELD,)


def test_an_annotation_has_room_for_the_latest_of_what_is_held() -> None:
    """The API refuses too much."""
    many = tuple({**HELD, "uid": str(number), "note": "x" * 1000} for number in range(256))
    position = Position({"events": {"": Reached("9", 1)}}, many)
    assert len(position.annotation()) < MOST_HANDED + 200
    assert Position.of_annotation(position.annotation()).held[-1]["uid"] == "255"


@pytest.mark.parametrize(
    "saved",
    [
        5,
        [],
        {},
        {"version": 2},
        {"version": 1, "reached": 5, "held": []},
        {"version": 1, "reached": {"pods": {"": 5}}, "held": []},
        {"version": 1, "reached": {"pods": {"": {"version": 5, "time": 5}}}, "held": []},
        {"version": 1, "reached": {}, "held": [{"uid": "u"}]},
    ],
)
def test_a_checkpoint_of_something_else_is_refused(saved: Any) -> None:
    """With what was found."""
    with pytest.raises(BadPosition, match="expected a checkpoint"):
        Position.load(saved)


def test_an_annotation_that_is_no_json_is_refused() -> None:
    """Somebody may have edited the Lease."""
    with pytest.raises(BadPosition, match="expected JSON"):
        Position.of_annotation("{")


def plain(count: int) -> list[UnifiedEvent]:
    """Return some events."""
    return [UnifiedEvent(str(number), 1, "kubernetes") for number in range(count)]


def version(checkpoint: Any, resource: str) -> int:
    """Return the version of a resource in a checkpoint."""
    return int(checkpoint["reached"][resource][""]["version"]) if resource in checkpoint["reached"] else 0


async def test_large_lists_go_out_in_batches_with_one_position_at_the_end() -> None:
    """So a restart between them begins before all of them."""
    output = CollectingOutput()
    await Outlet(output, Position()).send(lambda: plain(2 * BATCH + 1), "events", "", "9")
    assert [count for count, _ in output.batches] == [BATCH, BATCH, 1]
    assert [checkpoint is not None for _, checkpoint in output.batches] == [False, False, True]
    await Outlet(output, Position()).send(lambda: plain(BATCH), "events", "", "9")
    assert [count for count, _ in output.batches[3:]] == [BATCH]


async def test_resources_share_a_checkpoint_that_never_goes_back() -> None:
    """One that waits for the pipeline while another sends does not overwrite what that has reached."""

    class Slow(CollectingOutput):
        async def emit(self, events: list[UnifiedEvent], checkpoint: Any | None = None) -> None:
            await asyncio.sleep(0.01)
            await super().emit(events, checkpoint)

    output = Slow()
    outlet = Outlet(output, Position())
    steps = [outlet.send(lambda: plain(1), ("events", "pods")[number % 2], "", str(number)) for number in range(1, 9)]
    await asyncio.gather(*steps)
    reached = [[version(checkpoint, "events"), version(checkpoint, "pods")] for _, checkpoint in output.batches]
    assert reached == sorted(reached) and reached[-1] == [8, 7]


async def test_changes_of_no_interest_move_the_position_without_a_write_for_each() -> None:
    """The first is saved, so that a restart finds it; others with the next that matters."""
    output = CollectingOutput()
    outlet = Outlet(output, Position())
    for version in ("1", "2", "3"):
        await outlet.send(list, "pods", "", version)
    assert len(output.batches) == 1
    await outlet.send(lambda: plain(1), "events", "", "5")
    assert output.checkpoint["reached"]["pods"][""]["version"] == "3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("2026-11-23T12:00:00.123456Z", 1_795_435_200_123_456_000),
        ("2026-11-23T13:00:00+01:00", 1_795_435_200_000_000_000),
        ("1970-01-01T00:00:01", 1_000_000_000),
        ("soon", 0),
        ("", 0),
        (None, 0),
        (5, 0),
    ],
)
def test_times_are_read_as_the_api_writes_them(text: Any, expected: int) -> None:
    """To the microsecond; what is no time is none."""
    assert nanoseconds(text) == expected


@given(st.integers(0, 4 * 10**15))
def test_a_time_that_is_written_is_read_again(microseconds: int) -> None:
    """As leases need it."""
    assert nanoseconds(micro_time(microseconds * 1000)) == microseconds * 1000


@pytest.mark.parametrize(
    ("options", "always", "as_leader"),
    [
        ({"node_name": ""}, {"events", "pods", "nodes"}, set()),
        ({"node_name": "n"}, {"events", "pods", "nodes"}, set()),
        ({"node_name": "", "leader_election": {"enabled": True}}, set(), {"events", "pods", "nodes"}),
        ({"node_name": "n", "leader_election": {"enabled": True}}, {"pods", "nodes"}, {"events"}),
        ({"node_name": "n", "leader_election": {"enabled": True}, "resources": ["pods"]}, {"pods"}, set()),
    ],
)
def test_what_is_of_the_whole_cluster_is_the_leaders(options: Any, always: set[str], as_leader: set[str]) -> None:
    """And what is of a node is that node's."""
    assert divide(KubernetesConfig.model_validate(options)) == (always, as_leader)


def test_the_node_is_that_of_the_environment_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a DaemonSet sets it; empty means the whole cluster."""
    monkeypatch.setenv("K8S_NODE_NAME", "node-17")
    assert [KubernetesConfig(node_name=name).node for name in (None, "", "other")] == ["node-17", "", "other"]
    monkeypatch.delenv("K8S_NODE_NAME")
    assert KubernetesConfig().node == ""


def test_the_documented_table_is_the_table() -> None:
    """docs/kubernetes-events.md names every reason with its severity, and no other."""
    document = (Path(__file__).parents[3] / "docs" / "kubernetes-events.md").read_text("utf-8")
    rows = re.findall(r"^\| (critical|error|warning|notice) \| (`.+`) \|$", document, re.MULTILINE)
    told = {reason: Severity.from_keyword(keyword) for keyword, row in rows for reason in re.findall("`([^`]+)`", row)}
    assert told == SEVERITIES


def test_severities_are_given_by_keyword() -> None:
    """Another word is refused."""
    assert KubernetesConfig(severities={"BackOff": "notice"}).own_severities == {"BackOff": Severity.NOTICE}
    with pytest.raises(ValidationError, match="'notice'"):
        KubernetesConfig.model_validate({"severities": {"BackOff": "nice"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resources": []}, "at least 1"),
        ({"resources": ["deployments"]}, "'events', 'pods' or 'nodes'"),
        ({"namespaces": ["Prod"]}, "'Prod' is no name of a Kubernetes object"),
        ({"field_selector": {"deployments": "x"}}, "'events', 'pods' or 'nodes'"),
        ({"leader_election": {"lease_name": ""}}, "'' is no name"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    """With what was found and what is expected."""
    with pytest.raises(ValidationError, match=message):
        KubernetesConfig.model_validate(options)
