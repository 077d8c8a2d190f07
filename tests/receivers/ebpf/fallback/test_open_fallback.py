"""Tests of which fallback serves a probe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.fallback import open_counters, open_log
from tapio_otel.receivers.ebpf.feed import ObservedBy, ProbeName, ProbeUnavailable
from tests.receivers.ebpf.fallback.machine import open_descriptors, unified, write
from tests.requirements import require


def complete(root: Path) -> Path:
    """Make a stand-in for a host on which everything can be read."""
    unified(root)
    write(root, {"dev/kmsg": "", "proc/1/net/snmp": "Tcp: OutRsts\nTcp: 1\n"})
    return root


@pytest.mark.parametrize(
    ("name", "observed_by"),
    [
        (ProbeName.OOM, ObservedBy.MEMORY_EVENTS),
        (ProbeName.CPU_THROTTLE, ObservedBy.CPU_STAT),
        (ProbeName.NET_DROP, ObservedBy.PROC_NET),
        (ProbeName.TCP_RETRANSMIT, ObservedBy.PROC_NET),
        (ProbeName.TCP_RESET, ObservedBy.PROC_NET),
    ],
)
def test_every_probe_has_a_fallback(tmp_path: Path, name: ProbeName, observed_by: ObservedBy) -> None:
    """Each reads below the host's root, and leaves nothing open."""
    before = open_descriptors()
    feed = open_counters(name, EbpfConfig(), EntityMapper(complete(tmp_path)))
    assert feed.observed_by is observed_by
    assert feed.read() == [] and feed.lost() == {} and feed.interval >= 0
    feed.close()
    feed.close()
    assert open_descriptors() == before


def test_the_log_is_the_hosts(tmp_path: Path) -> None:
    """It is opened below the host's root, and its absence told with the place."""
    with pytest.raises(ProbeUnavailable, match=str(tmp_path / "dev/kmsg")) as error:
        open_log(EntityMapper(tmp_path))
    assert error.value.remedy
    feed = open_log(EntityMapper(complete(tmp_path)))
    assert feed.observed_by is ObservedBy.KMSG
    feed.close()


def test_the_window_is_the_configured_one(tmp_path: Path) -> None:
    """A short window is read as often as it ends."""
    config = EbpfConfig.model_validate({"probes": {"cpu_throttle": {"window": "200ms"}}})
    feed = open_counters(ProbeName.CPU_THROTTLE, config, EntityMapper(complete(tmp_path)))
    assert feed.interval == 0.2
    feed.close()


@pytest.mark.parametrize("name", list(ProbeName))
def test_where_nothing_can_be_read_the_cause_is_told(tmp_path: Path, name: ProbeName) -> None:
    """Cause and remedy are in one line, which is the same for all probes that it concerns."""
    with pytest.raises(ProbeUnavailable) as error:
        open_counters(name, EbpfConfig(), EntityMapper(tmp_path))
    assert str(tmp_path) in error.value.cause and error.value.remedy and "\n" not in str(error.value)
    assert name.value not in str(error.value)


@pytest.mark.parametrize(
    ("option", "cause"), [("network_namespaces", "no other network namespace"), ("cgroups", "the option cgroups is set")]
)
def test_what_is_wanted_of_the_network_alone_has_no_fallback(tmp_path: Path, option: str, cause: str) -> None:
    """The option of the probe decides."""
    wanted = {"network_namespaces": ["4026531999"], "cgroups": ["/system.slice/*"]}[option]
    config = EbpfConfig.model_validate({"probes": {"net_drop": {option: wanted}}})
    with pytest.raises(ProbeUnavailable, match=cause):
        open_counters(ProbeName.NET_DROP, config, EntityMapper(complete(tmp_path)))
    open_counters(ProbeName.TCP_RESET, config, EntityMapper(tmp_path)).close()


def test_it_can_be_opened_a_hundred_times() -> None:
    """Opening and closing on the real machine leaves nothing open."""
    require("root", os.geteuid() == 0, "reading the kernel's log takes root")
    before = open_descriptors()
    for _ in range(100):
        counters = [open_counters(name, EbpfConfig(), EntityMapper()) for name in ProbeName]
        for feed in [open_log(EntityMapper()), *counters]:
            feed.read()
            feed.close()
    assert open_descriptors() == before
