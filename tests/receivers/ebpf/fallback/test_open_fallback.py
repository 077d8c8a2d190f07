"""Tests of which fallback serves a probe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.fallback import open_fallback
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
        (ProbeName.OOM, ObservedBy.KMSG),
        (ProbeName.CPU_THROTTLE, ObservedBy.CPU_STAT),
        (ProbeName.NET_DROP, ObservedBy.PROC_NET),
        (ProbeName.TCP_RETRANSMIT, ObservedBy.PROC_NET),
        (ProbeName.TCP_RESET, ObservedBy.PROC_NET),
    ],
)
def test_every_probe_has_a_fallback(tmp_path: Path, name: ProbeName, observed_by: ObservedBy) -> None:
    """Each reads below the host's root, and leaves nothing open."""
    before = open_descriptors()
    feed = open_fallback(name, EbpfConfig(), EntityMapper(complete(tmp_path)))
    assert feed.observed_by is observed_by
    assert feed.read() == [] and feed.lost() == {} and feed.interval >= 0
    feed.close()
    feed.close()
    assert open_descriptors() == before


def test_without_the_log_the_counters_serve(tmp_path: Path) -> None:
    """Where /dev/kmsg cannot be read, memory.events tells of kills."""
    unified(tmp_path)
    feed = open_fallback(ProbeName.OOM, EbpfConfig(), EntityMapper(tmp_path))
    assert feed.observed_by is ObservedBy.MEMORY_EVENTS
    feed.close()


def test_the_window_is_the_configured_one(tmp_path: Path) -> None:
    """A short window is read as often as it ends."""
    config = EbpfConfig.model_validate({"probes": {"cpu_throttle": {"window": "200ms"}}})
    feed = open_fallback(ProbeName.CPU_THROTTLE, config, EntityMapper(complete(tmp_path)))
    assert feed.interval == 0.2
    feed.close()


@pytest.mark.parametrize("name", list(ProbeName))
def test_where_nothing_can_be_read_every_cause_is_told(tmp_path: Path, name: ProbeName) -> None:
    """Cause and remedy of each way that was tried are in one line."""
    with pytest.raises(ProbeUnavailable) as error:
        open_fallback(name, EbpfConfig(), EntityMapper(tmp_path))
    assert str(tmp_path) in error.value.cause and error.value.remedy and "\n" not in str(error.value)
    if name is ProbeName.OOM:
        assert "kmsg" in error.value.cause and "memory controller" in error.value.cause and " Or: " in error.value.remedy


def test_namespaces_that_are_not_the_hosts_have_no_fallback(tmp_path: Path) -> None:
    """The option of the probe decides."""
    config = EbpfConfig.model_validate({"probes": {"net_drop": {"network_namespaces": ["4026531999"]}}})
    with pytest.raises(ProbeUnavailable, match="no other network namespace"):
        open_fallback(ProbeName.NET_DROP, config, EntityMapper(complete(tmp_path)))


def test_it_can_be_opened_a_hundred_times() -> None:
    """Opening and closing on the real machine leaves nothing open."""
    require("root", os.geteuid() == 0, "reading the kernel's log takes root")
    before = open_descriptors()
    for _ in range(100):
        for feed in [open_fallback(name, EbpfConfig(), EntityMapper()) for name in ProbeName]:
            feed.read()
            feed.close()
    assert open_descriptors() == before
