"""Tests of credentials that are kept valid: how often they are read, and what happens when that fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from tapio_otel.component import ComponentError
from tapio_otel.kubernetes.access import Access, TlsFiles
from tapio_otel.kubernetes.credentials import FRESH, Credentials
from tapio_otel.notices import Notices
from tests.exporting.certificates import Authority


class Source:
    """Give the tokens t1, t2… as they are read; `refresh` gives the last again."""

    def __init__(self) -> None:
        self.reads = self.refreshes = 0
        self.token = ""
        self.error: ComponentError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.tls = TlsFiles()

    def read(self) -> Access:
        self.reads += 1
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        self.token = f"t{self.reads}"
        return self.access

    def refresh(self) -> Access:
        self.refreshes += 1
        if self.error is not None:
            raise self.error
        return self.access

    @property
    def access(self) -> Access:
        return Access("https://server", authorization=self.token, tls=self.tls)


class Clock:
    """Tell the time that it is set to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
def source() -> Source:
    """Give a source of tokens."""
    return Source()


@pytest.fixture
def credentials(source: Source, clock: Clock) -> Credentials:
    """Give credentials from that source."""
    return Credentials(source, Notices(logging.getLogger("test.credentials")), clock)


async def test_many_who_are_refused_read_the_credentials_once(credentials: Credentials, source: Source) -> None:
    """Ten watches get 401 at once: one runs the plugin, and all go on with what it gave."""
    refused = await credentials.open()
    assert all(await asyncio.gather(*[credentials.renew(refused) for _ in range(10)]))
    assert source.reads == 2 and (await credentials.current())[0].authorization == "t2"


async def test_credentials_refused_again_are_not_read_again_at_once(
    credentials: Credentials, source: Source, clock: Clock
) -> None:
    """A server that refuses everything does not make a plugin run for every attempt."""
    await credentials.renew(await credentials.open())
    access, _ = await credentials.current()
    assert not await credentials.renew(access) and source.reads == 2
    clock.now += FRESH
    assert await credentials.renew(access) and source.reads == 3


async def test_what_may_have_expired_is_looked_at_now_and_then(credentials: Credentials, source: Source, clock: Clock) -> None:
    """Not for each request."""
    await credentials.open()
    for _ in range(5):
        await credentials.current()
    assert source.refreshes == 0
    clock.now += FRESH
    source.token = "newer"
    assert (await credentials.current())[0].authorization == "newer" and source.refreshes == 1


async def test_what_cannot_be_read_leaves_the_earlier_in_use(
    credentials: Credentials, source: Source, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A file is missing while it is replaced: that is logged, and the next look finds it."""
    refused = await credentials.open()
    source.error = ComponentError("no such file: token")
    clock.now += FRESH
    assert (await credentials.current())[0].authorization == "t1"
    assert not await credentials.renew(refused)
    assert "no such file: token; going on with the credentials read before" in caplog.text
    source.error = None
    clock.now += FRESH
    assert await credentials.renew(refused)


async def test_reading_that_never_ends_is_waited_for_in_vain_but_once(
    credentials: Credentials, source: Source, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that hangs is not started a second time; when it ends, what it gave is taken."""
    monkeypatch.setattr("tapio_otel.kubernetes.credentials.PATIENCE", 0.05)
    refused = await credentials.open()
    source.gate.clear()
    assert not await credentials.renew(refused)
    clock.now += FRESH
    assert not await credentials.renew(refused) and source.reads == 2
    source.gate.set()
    clock.now += FRESH
    assert await credentials.renew(refused) and source.reads == 2


async def test_the_tls_context_is_made_anew_when_its_files_change(
    credentials: Credentials, source: Source, clock: Clock, tmp_path: Path
) -> None:
    """A rotated CA takes effect; the same files keep the context, and with it the open connections."""
    authority = tmp_path / "ca.crt"
    authority.write_bytes(Authority(tmp_path / "one").pem)
    source.tls = TlsFiles.read(str(authority))
    await credentials.open()
    first = (await credentials.current())[1]
    clock.now += FRESH
    assert (await credentials.current())[1] is first
    authority.write_bytes(Authority(tmp_path / "two").pem)
    source.tls = TlsFiles.read(str(authority))
    clock.now += FRESH
    assert (await credentials.current())[1] is not first


async def test_files_that_are_no_certificates_are_named(credentials: Credentials, source: Source, tmp_path: Path) -> None:
    """With what is wrong."""
    (tmp_path / "ca.crt").write_text("nonsense")
    source.tls = TlsFiles.read(str(tmp_path / "ca.crt"))
    with pytest.raises(ComponentError, match=r"cannot speak TLS with the Kubernetes API by .*ca\.crt: .*check the files"):
        await credentials.open()


def test_credentials_are_not_shown() -> None:
    """Not where an access is written to a log by mistake."""
    shown = repr(Access("https://server", authorization="Bearer secret", proxy="http://user:secret@proxy"))
    assert "secret" not in shown


def test_a_plugin_that_hangs_does_not_keep_the_agent_from_ending(source: Source) -> None:
    """Its thread is left behind: the end of the event loop does not wait for it."""
    source.gate.clear()

    async def give_up() -> None:
        opening = asyncio.create_task(Credentials(source, Notices(logging.getLogger("test.credentials"))).open())
        while not source.reads:
            await asyncio.sleep(0.01)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(give_up())
    assert source.token == "", "the plugin was waited for"
    source.gate.set()
