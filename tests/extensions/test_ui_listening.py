"""`ui`: a port that another process has is waited for, and told; it never keeps the agent from its work."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tapio_otel.component import ComponentError, Kind
from tapio_otel.extensions.ui import UiConfig, UiExtension, listening
from tapio_otel.extensions.ui.config import Endpoint
from tapio_otel.extensions.ui.listening import holder_of, problem_of
from tests.components import context
from tests.extensions.ui_agent import CONFIGURATION, STORES, event, running


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """Have a port that the extension cannot have."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(listening, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(listening, "LONGEST_PAUSE", 0.02)


def port_of(one: socket.socket) -> int:
    """Return a socket's port."""
    port: int = one.getsockname()[1]
    return port


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_port_that_is_taken_is_told_once_and_had_as_soon_as_it_is_free(taken, caplog):
    """Health has who holds it and what to do, and is well again afterwards; the log then says where the page is."""
    caplog.set_level(logging.INFO)
    reports: list[str | None] = []
    endpoint = f"127.0.0.1:{port_of(taken)}"
    extension = UiExtension(replace(context(Kind.EXTENSION, "ui"), report=reports.append), UiConfig(endpoint=endpoint))
    await extension.start()
    assert not extension.is_listening
    await until(lambda: len(reports) > 3)
    taken.close()
    await until(lambda: extension.is_listening)
    told = reports[0] or ""
    assert f"endpoint: {endpoint} is taken by " in told
    assert f"(PID {os.getpid()})" in told
    assert "set extensions.ui.endpoint to another port" in told
    assert "127.0.0.1:0 for any that is free" in told
    assert set(reports[:-1]) == {told}
    assert reports[-1] is None
    assert caplog.text.count("is taken by") == 1
    assert f"the page: http://{endpoint}/" in caplog.text
    await extension.shutdown()
    assert not extension.is_listening


async def test_the_agent_does_its_work_without_the_page(taken, tmp_path):
    """Events pass and health says what is wrong, while a second extension can be asked."""
    yaml = CONFIGURATION % (STORES["memory"][0], "", STORES["memory"][1])
    yaml = yaml.replace("extensions: {ui:", f"extensions: {{ui/other: {{endpoint: '127.0.0.1:{port_of(taken)}'}}, ui:", 1)
    async with running(tmp_path, yaml=yaml.replace("extensions: [ui]", "extensions: [ui, ui/other]")) as agent:
        await agent.feed(event(0))
        told = await agent.json("health")
        assert (told["status"], told["pipelines"][0]["passed_on"]) == ("degraded", 1)
        (problem,) = told["problems"]
        assert problem["component"] == "extensions/ui/other"
        assert "set extensions.ui/other.endpoint" in problem["problem"]
        taken.close()
        async with asyncio.timeout(20):
            while (await agent.json("health"))["problems"]:
                await asyncio.sleep(0.02)


async def test_it_can_be_stopped_while_it_waits_for_its_port(taken):
    """And tries no more."""
    extension = UiExtension(context(Kind.EXTENSION, "ui"), UiConfig(endpoint=f"127.0.0.1:{port_of(taken)}"))
    await extension.start()
    await extension.shutdown()
    await extension.shutdown()
    port = port_of(taken)
    taken.close()
    await asyncio.sleep(0.05)
    assert holder_of(port) == ""


async def test_what_cannot_pass_is_an_error_at_the_start():
    """A name that nobody knows is a mistake in the configuration."""
    extension = UiExtension(context(Kind.EXTENSION, "ui"), UiConfig(endpoint="no.such.host.invalid:0", token="x" * 16))
    with pytest.raises(ComponentError, match=r"endpoint: cannot listen on 'no\.such\.host\.invalid:0': .*set extensions\.ui"):
        await extension.start()
    await extension.shutdown()


def test_an_address_that_the_machine_does_not_have_is_told_as_such():
    """It may come, with a network that is not up yet."""
    told = problem_of(OSError(errno.EADDRNOTAVAIL, "x"), Endpoint("192.0.2.1", 8321), "extensions.ui.endpoint", "")
    assert "this machine has no address 192.0.2.1 at the moment" in told
    assert "such as 127.0.0.1:8321" in told


def test_a_holder_that_cannot_be_seen_is_to_be_looked_for():
    """With the command that names it, and a port that there is."""
    told = problem_of(OSError(errno.EADDRINUSE, "x"), Endpoint("127.0.0.1", 65535), "extensions.ui.endpoint", "")
    assert "`ss -ltnp 'sport = :65535'`" in told
    assert "such as 127.0.0.1:1," in told


def test_a_holder_is_looked_for_in_what_proc_has(tmp_path):
    """By the listening sockets on the port, whatever the address; a process that is gone meanwhile is passed over."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: {address}:2081 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100\n"
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(head + row.format(address="0100007F", state="01", inode=11))
    (tmp_path / "net/tcp6").write_text(head + row.format(address="0" * 32, state="0A", inode=12))
    (tmp_path / "41").mkdir()
    (tmp_path / "42/fd").mkdir(parents=True)
    (tmp_path / "42/comm").write_text("nc\n")
    (tmp_path / "42/fd/3").symlink_to("socket:[11]")
    assert holder_of(0x2081, tmp_path) == ""
    (tmp_path / "42/fd/4").symlink_to("socket:[12]")
    assert holder_of(0x2081, tmp_path) == "'nc' (PID 42)"
    assert holder_of(0x2082, tmp_path) == ""
