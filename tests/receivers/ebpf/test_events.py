"""Events made of observations."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.entities import EntityMapper
from tapio_otel.event import Severity
from tapio_otel.normalizers.ebpf import normalize
from tapio_otel.otlp.mapping import map_origin
from tapio_otel.receivers.ebpf.clock import WallClock
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.events import EventMaker, plain_reason
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName
from tapio_otel.receivers.ebpf.observations import (
    CgroupFacts,
    CpuThrottle,
    Flow,
    OomKill,
    PacketDrop,
    TcpReset,
    TcpRetransmit,
)

CONTAINER = "0123456789abcdef" * 4
POD = "11111111-2222-3333-4444-555555555555"
POD_PATH = f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope"
UNIT_PATH = "/system.slice/nginx.service"
BOOT = "b" * 32
DIFFERENCE = 1_700_000_000_000_000_000
FLOW = Flow("tcp", "10.0.0.1", 1234, "10.0.0.2", 80)

OOM = OomKill(
    1000,
    42,
    "java",
    5_000_000_000,
    uid=1000,
    oom_score_adj=0,
    trigger_pid=43,
    trigger_comm="gc",
    scope="cgroup",
    memory_limit=31457280,
    memory_usage=31457280,
    total_vm=99,
    anon_rss=30000000,
    file_rss=0,
    shmem_rss=0,
    page_tables=4096,
    cgroup=CgroupFacts(7, POD_PATH),
    memory_cgroup=CgroupFacts(8, POD_PATH),
    limit_cgroup=CgroupFacts(9, "/kubepods.slice"),
)
THROTTLE = CpuThrottle(2000, CgroupFacts(5, UNIT_PATH), 10**10, 5 * 10**9, 100, 50, 10**9, 20_000_000, 100_000_000)
DROP = PacketDrop(3000, FLOW, 6, "SOCKET_RCVBUFF", 3, 4500, suppressed=7, interface="eth0", network_namespace=4026531840, uid=0)
RETRANSMIT = TcpRetransmit(4000, FLOW, 2, "ESTABLISHED", network_namespace=1, cgroup=CgroupFacts(5, UNIT_PATH))
RESET = TcpReset(5000, "sent", FLOW, 1, "ESTABLISHED", "TCP_ABORT_ON_DATA")
ALL = [OOM, THROTTLE, DROP, RETRANSMIT, RESET]


@pytest.fixture
def entities(tmp_path: Path) -> EntityMapper:
    """Return a mapper of a machine without processes and cgroups."""
    return EntityMapper(tmp_path)


@pytest.fixture
def maker(entities: EntityMapper) -> EventMaker:
    """Return a maker with a clock that stands still and names of its own."""
    clock = WallClock(lambda: DIFFERENCE + 500, lambda: 500)
    return EventMaker(entities, BOOT, clock, {6: "SKB_DROP_REASON_SOCKET_RCVBUFF"}, {8: "SK_RST_REASON_TCP_ABORT_ON_DATA"})


def made(maker: EventMaker, *observations):
    """Return the events of observations."""
    return maker.events(observations, ObservedBy.LIBBPF, DIFFERENCE + 9000)


def test_each_kind_has_its_type_source_and_time(maker):
    """Timestamps are the kernel's, turned into wall-clock time; all wait for the normalizer."""
    events = made(maker, *ALL)
    assert [one.type for one in events] == ["oom_kill", "cpu_throttle", "network_drop", "tcp_retransmit", "tcp_reset"]
    assert {one.source for one in events} == {"ebpf"}
    assert [one.timestamp - DIFFERENCE for one in events] == [1000, 2000, 3000, 4000, 5000]
    assert {one.observed - DIFFERENCE for one in events} == {9000}
    assert [one.raw for one in events] == ALL


def test_an_oom_kill_has_these_attributes(maker):
    """The seed's names, and what the kernel knows besides; a memory cgroup with the same path is not told twice."""
    (event,) = made(maker, OOM)
    assert event.attributes == {
        "pid": 42,
        "comm": "java",
        "memory_limit": 31457280,
        "memory_usage": 31457280,
        "cgroup": POD_PATH,
        "uid": 1000,
        "oom_score_adj": 0,
        "anon_rss": 30000000,
        "file_rss": 0,
        "shmem_rss": 0,
        "total_vm": 99,
        "page_tables": 4096,
        "scope": "cgroup",
        "trigger_pid": 43,
        "trigger_comm": "gc",
        "limit_cgroup": "/kubepods.slice",
        "observed_by": "ebpf/libbpf",
    }


def test_an_oom_kill_is_about_the_container_in_its_pod(maker):
    """By the cgroup's path alone: the victim has gone."""
    (event,) = made(maker, OOM)
    kinds = [(one.type, one.uid) for one in event.entity.lineage()]
    assert kinds[:2] == [("container", CONTAINER), ("pod", POD)]


def test_an_oom_kill_of_no_container_or_unit_is_about_the_process(maker):
    """A process is pid and start."""
    (event,) = made(maker, OomKill(1, 42, "java", 5_000_000_000, cgroup=CgroupFacts(path="/tests")))
    assert (event.entity.type, event.entity.uid) == ("process", "process-42-500")


def test_the_memory_cgroup_tells_where_the_other_does_not(maker):
    """Where the unified hierarchy is not used for services, all processes are in its root."""
    seen = OomKill(1, 42, "java", 5, cgroup=CgroupFacts(1, "/"), memory_cgroup=CgroupFacts(2, POD_PATH))
    (event,) = made(maker, seen)
    assert event.entity.type == "container"
    assert event.attributes["cgroup"] == POD_PATH
    assert "memory_cgroup" not in event.attributes


@pytest.mark.parametrize(
    ("cgroup", "memory", "told", "memory_told"),
    [
        ("/", "/own", "/own", None),
        ("/own", "/", "/own", "/"),
        ("/", "/", "/", None),
        ("/", "", "/", None),
        (UNIT_PATH, "/system.slice", UNIT_PATH, "/system.slice"),
        (UNIT_PATH, POD_PATH, POD_PATH, None),
        ("/one", "/two", "/one", "/two"),
    ],
)
def test_of_two_paths_the_one_that_tells_most_is_told(maker, cgroup, memory, told, memory_told):
    """The root only where nothing else is known; it is what backends know as the process's cgroup."""
    (event,) = made(maker, OomKill(1, 42, "java", 5, cgroup=CgroupFacts(1, cgroup), memory_cgroup=CgroupFacts(2, memory)))
    assert event.attributes["cgroup"] == told
    assert event.attributes.get("memory_cgroup") == memory_told


def test_kills_without_a_pid_are_about_the_cgroup(maker):
    """Counters name no process, and may count several kills."""
    (event,) = made(maker, OomKill(1, scope="cgroup", limit_cgroup=CgroupFacts(3, POD_PATH), kills=3))
    assert event.entity.type == "container"
    assert event.attributes == {"scope": "cgroup", "limit_cgroup": POD_PATH, "kills": 3, "observed_by": "ebpf/libbpf"}


def test_a_throttled_unit_has_these_attributes(maker):
    """The ratio is that of periods."""
    (event,) = made(maker, THROTTLE)
    assert event.entity.name == "nginx.service"
    assert event.attributes == {
        "throttled_ns": 5 * 10**9,
        "runtime_ns": 10**9,
        "throttle_ratio": 0.5,
        "periods": 100,
        "throttled_periods": 50,
        "quota_ns": 20_000_000,
        "period_ns": 100_000_000,
        "window_ns": 10**10,
        "cgroup": UNIT_PATH,
        "observed_by": "ebpf/libbpf",
    }


def test_a_drop_has_these_attributes(maker, entities):
    """A packet of no known cgroup is the node's; the socket's owner is not the node's own uid."""
    (event,) = made(maker, DROP)
    assert event.entity == entities.node
    assert event.attributes == {
        "protocol": "tcp",
        "src_ip": "10.0.0.1",
        "src_port": 1234,
        "dst_ip": "10.0.0.2",
        "dst_port": 80,
        "reason": "SOCKET_RCVBUFF",
        "interface": "eth0",
        "length": 4500,
        "network_namespace": 4026531840,
        "count": 3,
        "suppressed": 7,
        "socket_uid": 0,
        "observed_by": "ebpf/libbpf",
    }


def test_tcp_events_have_these_attributes(maker):
    """A retransmit has no reason, a reset has a direction."""
    retransmit, reset = made(maker, RETRANSMIT, RESET)
    ends = {"protocol": "tcp", "src_ip": "10.0.0.1", "src_port": 1234, "dst_ip": "10.0.0.2", "dst_port": 80}
    common = {**ends, "state": "ESTABLISHED", "observed_by": "ebpf/libbpf"}
    assert retransmit.attributes == {**common, "count": 2, "network_namespace": 1, "cgroup": UNIT_PATH}
    assert reset.attributes == {**common, "count": 1, "direction": "sent", "reason": "TCP_ABORT_ON_DATA"}
    assert retransmit.entity.name == "nginx.service"


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (PacketDrop(1, reason=6), "SOCKET_RCVBUFF"),
        (PacketDrop(1, reason=7, reason_name="SKB_DROP_REASON_NOMEM"), "NOMEM"),
        (PacketDrop(1, reason=999), "999"),
        (PacketDrop(1, reason_name="UDP_IN_ERRORS"), "UDP_IN_ERRORS"),
        (PacketDrop(1), None),
        (TcpReset(1, reason="8"), "TCP_ABORT_ON_DATA"),
        (TcpReset(1, reason="SK_RST_REASON_NO_SOCKET"), "NO_SOCKET"),
        (TcpReset(1, reason="77"), "77"),
        (TcpReset(1), None),
    ],
)
def test_reasons_have_the_kernels_names(maker, seen, reason):
    """A number without a name is told as it is; no reason is no attribute."""
    assert made(maker, seen)[0].attributes.get("reason") == reason


def test_a_cgroup_known_by_id_is_told_by_path(maker, entities):
    """Each hierarchy has ids of its own: the memory controller's are looked up there."""
    entities.learn_cgroup(77, UNIT_PATH)
    (event,) = made(maker, TcpRetransmit(1, cgroup=CgroupFacts(77)))
    assert (event.attributes["cgroup"], event.entity.name) == (UNIT_PATH, "nginx.service")


def test_a_cgroup_that_nobody_knows_keeps_its_id(maker, entities):
    """Whoever has the path elsewhere can still join the two."""
    (event,) = made(maker, TcpRetransmit(1, cgroup=CgroupFacts(78)))
    assert (event.attributes["cgroup_id"], event.entity) == (78, entities.node)


def test_the_same_occurrence_has_the_same_id(maker, entities):
    """Ids tell boots, probes, times, and what happened at the same nanosecond, apart."""
    again = EventMaker(entities, BOOT)
    assert [one.id for one in made(maker, *ALL)] == [one.id for one in made(again, *ALL)]
    other_boot = EventMaker(entities, "c" * 32)
    twins = [
        DROP,
        PacketDrop(3000, Flow(), 6),
        PacketDrop(3000, FLOW, 7),
        TcpRetransmit(3000, FLOW),
        TcpReset(3000, "sent", FLOW),
    ]
    twins.append(TcpReset(3000, "received", FLOW))
    ids = [one.id for one in made(maker, *twins)]
    assert len({*ids, *(one.id for one in made(other_boot, *twins))}) == 12


def test_the_running_boot_is_the_default(entities):
    """Ids of two agents on one machine agree."""
    one, two = (made(EventMaker(entities), OOM)[0].id for _ in range(2))
    assert one == two


def test_losses_are_told_by_probe_and_reason(maker, entities):
    """One event a probe, about the node, waiting for its title like the others."""
    event = maker.loss(ProbeName.NET_DROP, {"ring_full": 5, "suppressed": 2}, 123)
    assert event.attributes == {"probe": "net_drop", "count": 7, "lost_ring_full": 5, "lost_suppressed": 2}
    assert (event.type, event.entity, event.timestamp, event.severity) == ("events_lost", entities.node, 123, Severity.WARNING)
    assert event.id == maker.loss(ProbeName.NET_DROP, {"ring_full": 5}, 123).id != maker.loss(ProbeName.OOM, {}, 123).id
    assert event.raw is not None


def config(**probes) -> EbpfConfig:
    """Return options with those of some probes."""
    return EbpfConfig.model_validate({"probes": probes})


@pytest.mark.parametrize(
    ("throttled_ns", "throttled_periods", "options", "passes"),
    [
        (10**9, 50, {}, True),
        (10**9, 5, {}, False),
        (10**7, 50, {}, False),
        (10**7, 5, {"min_ratio": 0, "min_throttled": 0}, True),
        (0, 0, {"min_ratio": 0, "min_throttled": 0}, False),
        (10**9, 10, {"min_ratio": 0.1, "min_throttled": "1s"}, True),
    ],
)
def test_throttling_passes_from_both_thresholds_on(maker, throttled_ns, throttled_periods, options, passes):
    """Ratio and time; where nothing was throttled there is nothing to tell."""
    seen = CpuThrottle(1, CgroupFacts(1, "/a"), 10**10, throttled_ns, 100, throttled_periods)
    assert maker.passes(seen, config(cpu_throttle=options)) is passes


def test_ignored_reasons_do_not_pass(maker):
    """Whoever saw it: a feed that cannot ignore in the kernel leaves it to this."""
    ignoring = config(net_drop={"ignored_reasons": ["SOCKET_RCVBUFF"]})
    assert not maker.passes(DROP, ignoring)
    assert maker.passes(PacketDrop(1, reason_name="NO_SOCKET"), ignoring)
    assert not maker.passes(PacketDrop(1, reason_name="NOT_SPECIFIED"), config())


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, True),
        ({"cgroups": ["/kubepods.slice/*"]}, True),
        ({"cgroups": ["/system.slice/*", "*containerd*"]}, True),
        ({"cgroups": ["/system.slice/*"]}, False),
        ({"cgroups": ["/kubepods.slice"]}, False),
        ({"exclude_cgroups": ["/kubepods*"]}, False),
        ({"cgroups": ["/kubepods*"], "exclude_cgroups": ["*.scope"]}, False),
        ({"exclude_cgroups": ["/kubepods.slice"]}, True),
    ],
)
def test_cgroup_patterns_choose(maker, options, passes):
    """Whole paths; `*` matches slashes too; what is left out stays out; the cgroup with the limit does not count."""
    assert maker.passes(OOM, config(oom=options)) is passes


def test_an_unknown_cgroup_matches_no_pattern(maker):
    """Neither of those wanted nor of those left out."""
    assert not maker.passes(RESET, config(tcp_reset={"cgroups": ["*"]}))
    assert maker.passes(RESET, config(tcp_reset={"exclude_cgroups": ["*"]}))


def test_every_probe_has_patterns_of_its_own(maker):
    """Another probe's do not matter."""
    assert maker.passes(OOM, config(tcp_reset={"cgroups": ["/no"]}, oom={}))


def test_an_oom_kill_of_a_container_is_exported_as_the_process_in_it(maker):
    """The victim is part of the resource beside its container and pod; what was measured is the record's."""
    (event,) = made(maker, OOM)
    normalize([event])
    mapped = map_origin(event.view(), event.source, {})
    resource = mapped.resource
    assert (resource["container.id"], resource["k8s.pod.uid"]) == (CONTAINER, POD)
    assert (resource["process.pid"], resource["process.command"], resource["process.user.id"]) == (42, "java", 1000)
    assert mapped.attributes["tapio.memory_limit"] == 31457280
    assert mapped.attributes["process.linux.cgroup"] == POD_PATH
    assert mapped.attributes["tapio.observed_by"] == "ebpf/libbpf"


def test_network_events_are_exported_by_the_conventions(maker):
    """A socket's owner is no trait of the node."""
    mapped = [map_origin(one.view(), one.source, {}) for one in made(maker, DROP, RESET)]
    drop, reset = (one.attributes for one in mapped)
    assert (drop["source.address"], drop["source.port"], drop["network.transport"]) == ("10.0.0.1", 1234, "tcp")
    assert (drop["tapio.reason"], drop["network.interface.name"], drop["tapio.socket_uid"]) == ("SOCKET_RCVBUFF", "eth0", 0)
    assert (reset["network.connection.state"], reset["network.io.direction"]) == ("established", "transmit")
    assert not [key for one in mapped for key in one.resource if key.startswith("process.")]


cgroups = st.builds(CgroupFacts, st.none() | st.integers(0, 2**64 - 1), st.sampled_from(["", "/", POD_PATH, UNIT_PATH]))
numbers = st.none() | st.integers(0, 2**64 - 1)
texts = st.text(max_size=16)
flows = st.builds(Flow, texts, texts, numbers, texts, numbers)
observations = st.one_of(
    *(
        st.builds(OomKill, st.integers(0, 2**63), numbers, texts, numbers, scope=texts, memory_limit=numbers, cgroup=cgroups),
        st.builds(CpuThrottle, st.integers(0, 2**63), cgroups, *[st.integers(0, 2**63)] * 4, numbers, numbers, numbers),
        st.builds(PacketDrop, st.integers(0, 2**63), flows, numbers, texts, st.integers(0, 2**63), numbers, cgroup=cgroups),
    ),
    *(
        st.builds(TcpRetransmit, st.integers(0, 2**63), flows, st.integers(0, 2**63), texts, cgroup=cgroups),
        st.builds(TcpReset, st.integers(0, 2**63), texts, flows, st.integers(0, 2**63), texts, texts, cgroup=cgroups),
    ),
)


@given(st.lists(observations, max_size=5))
def test_whatever_was_seen_becomes_events_without_empty_attributes(seen):
    """And the normalizer gives each a title and a sentence."""
    maker = EventMaker(EntityMapper(Path("/nonexistent")), BOOT)
    events = maker.events(seen, ObservedBy.KMSG, 1)
    normalize(events)
    assert len(events) == len(seen)
    for event in events:
        assert not [key for key, value in event.attributes.items() if value is None or value == ""]
        assert event.title and event.description.endswith(".")
        assert event.raw is None


@given(st.text())
def test_prefixes_go_and_names_stay(name):
    """A name has at most one prefix."""
    for prefix in ("", "SKB_DROP_REASON_", "SK_RST_REASON_"):
        if not name.startswith(("SKB_", "SK_")):
            assert plain_reason(prefix + name) == name
