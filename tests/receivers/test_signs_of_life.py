"""Receivers that promise to show that they are alive do so, though there may be nothing to tell for days."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapio_otel.entities import EntityMapper
from tapio_otel.receivers.ebpf import EbpfConfig, EbpfReceiver
from tapio_otel.receivers.ebpf import receiver as ebpf_module
from tapio_otel.receivers.journald import JournaldReceiver
from tapio_otel.receivers.systemd import SystemdConfig, SystemdReceiver
from tapio_otel.receivers.systemd import receiver as systemd_module
from tests.collect import CollectingOutput, context, running
from tests.lab import BootedSystemd, require_lab


class Watching(CollectingOutput):
    """Count the signs of life."""

    def __init__(self) -> None:
        super().__init__()
        self.signs = 0

    def alive(self) -> None:
        """Count one."""
        self.signs += 1


@pytest.fixture
def lab() -> Iterator[BootedSystemd]:
    """Give a test a systemd in which nothing happens."""
    require_lab()
    with BootedSystemd({}) as booted:
        yield booted


async def signs(output: Watching, count: int) -> None:
    """Wait for so many signs of life."""
    async with asyncio.timeout(20):
        while output.signs < count:
            await asyncio.sleep(0.01)


def test_only_receivers_whose_source_keeps_what_is_not_read_can_wait() -> None:
    """The journal does; the kernel's buffers and the bus drop what nobody reads."""
    assert JournaldReceiver.can_wait
    assert not EbpfReceiver.can_wait and not SystemdReceiver.can_wait


async def test_ebpf_shows_at_every_tick_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no probe has anything either, and soon enough for what it promises."""
    monkeypatch.setattr(ebpf_module, "QUIET_INTERVAL", 0.02)
    counters = tmp_path / "proc/1/net/snmp"
    counters.parent.mkdir(parents=True)
    counters.write_text("Udp: InDatagrams NoPorts\nUdp: 0 0\n")
    others: dict[str, Any] = {name: {"enabled": False} for name in ("oom", "cpu_throttle", "tcp_retransmit", "tcp_reset")}
    surroundings = context("ebpf")
    surroundings.entities = EntityMapper(tmp_path)
    config = EbpfConfig.model_validate({"loader": "none", "poll_interval": "10ms", "probes": others})
    one, output = EbpfReceiver(surroundings, config), Watching()
    await one.start()
    try:
        async with running(one, output):
            await signs(output, 3)
    finally:
        await one.shutdown()
    assert output.events == []
    slow = EbpfReceiver(surroundings, EbpfConfig.model_validate({"poll_interval": "60s"}))
    assert slow.heartbeat >= 60 + ebpf_module.QUIET_INTERVAL


async def test_systemd_is_asked_while_it_tells_nothing(lab: BootedSystemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is a sign of life; asking for one more often than is promised."""
    monkeypatch.setattr(systemd_module, "QUESTION_INTERVAL", 0.02)
    one = SystemdReceiver(context("systemd"), SystemdConfig.model_validate({"bus": f"unix:path={lab.bus}"}))
    output = Watching()
    async with running(one, output):
        await signs(output, 4)


def test_systemd_promises_no_more_than_its_pauses_between_attempts_allow() -> None:
    """While there is no connection a sign comes with each attempt only."""
    retry = {"initial_interval": "1s", "max_interval": "10m"}
    one = SystemdReceiver(context("systemd"), SystemdConfig.model_validate({"retry_on_failure": retry}))
    assert one.heartbeat >= 600
    usual = SystemdReceiver(context("systemd"), SystemdConfig())
    assert usual.heartbeat >= 2 * systemd_module.QUESTION_INTERVAL
