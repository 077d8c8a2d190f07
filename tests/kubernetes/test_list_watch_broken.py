"""Tests of list and watch against a server that is slow, cuts off, or speaks nonsense: what a real one does too rarely."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tapio_otel.kubernetes.pauses import Pauses
from tapio_otel.kubernetes.resources import PODS, Selection
from tests.kubernetes.listening import CHUNKED, LAST_CHUNK, Running, answering, chunk, connected, following, until, whole


def pod(name: str, version: str) -> dict[str, Any]:
    """Return an object."""
    return {"metadata": {"name": name, "resourceVersion": version}}


def line(type_: str, name: str, version: str) -> bytes:
    """Return a line of a watch."""
    return orjson.dumps({"type": type_, "object": pod(name, version)}) + b"\n"


def listing(version: str, *names: str) -> bytes:
    """Return a list."""
    return orjson.dumps({"metadata": {"resourceVersion": version}, "items": [pod(name, "1") for name in names]})


class Script:
    """Answer lists with one state and watches in turn with what `watches` say; the last one again and again."""

    def __init__(self, *watches: Callable[[asyncio.StreamWriter], Any], lists: bytes = listing("10", "a")) -> None:
        self.watches, self.lists = list(watches), lists
        self.paths: list[str] = []

    async def __call__(self, path: str, writer: asyncio.StreamWriter) -> None:
        self.paths.append(path)
        if "watch=true" not in path:
            body = listing("1000") if "limit=1&" in f"{path}&" else self.lists  # asked for nothing but its version
            writer.write(body if body.startswith(b"HTTP") else whole(body))
            return
        await (self.watches.pop(0) if len(self.watches) > 1 else self.watches[0])(writer)

    def versions(self) -> list[str]:
        """Return the versions that watches began at."""
        return [path.partition("resourceVersion=")[2].partition("&")[0] for path in self.paths if "watch=true" in path]


def says(*pieces: bytes, then: str = "") -> Callable[[asyncio.StreamWriter], Any]:
    """Return a watch that says these pieces, and then ends, is cut off, or stays silent."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for piece in pieces:
            writer.write(chunk(piece))
            await writer.drain()
            await asyncio.sleep(0.01)
        if then == "silence":
            await asyncio.sleep(60)
        elif then != "cut":
            writer.write(LAST_CHUNK)

    return answer


def refuses(status: str, body: bytes = b"{}", *headers: str) -> Callable[[asyncio.StreamWriter], Any]:
    """Return a watch that is answered with a status."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(whole(body, status, *headers))

    return answer


@asynccontextmanager
async def run(script: Script, **keywords: Any) -> AsyncIterator[Running]:
    """Follow pods as the script tells of them."""
    async with (
        answering(script) as url,
        connected(auth_type="none", server=url, quiet_timeout="500ms") as client,
        following(client, PODS, Selection(), **keywords) as running,
    ):
        yield running


SILENT = says(then="silence")


async def test_a_line_may_come_in_pieces_and_pieces_hold_many_lines() -> None:
    """However the bytes are cut, each line is told once and in order."""
    text = b"".join(line("ADDED", f"p{number}", str(11 + number)) for number in range(50))
    cut = [text[:7], text[7:200], text[200:201], text[201:]]
    async with run(Script(says(*cut, then="silence"))) as running:
        await until(lambda: len(running.memory.changes) == 50)
    assert [name for _, name in running.memory.told] == [f"p{number}" for number in range(50)]


async def test_a_watch_that_is_cut_within_a_line_goes_on_behind_the_last_whole_one() -> None:
    """The half line is not taken; the next watch begins at the version before it. Nothing is reported: it went on."""
    script = Script(says(line("ADDED", "b", "11"), line("ADDED", "c", "12")[:30], then="cut"), SILENT)
    async with run(script) as running:
        await until(lambda: script.versions() == ["10", "11"])
        assert running.memory.told == [("ADDED", "b")] and running.reports.all == []
        assert len(running.memory.lists) == 1


async def test_a_connection_that_is_cut_at_once_again_and_again_is_no_busy_loop() -> None:
    """The pauses grow, the failure is reported, and the version is kept: the server will be back."""
    script = Script(says(then="cut"))
    async with run(script, pauses=Pauses(shortest=0.05, longest=0.4)) as running:
        await until(lambda: len(script.versions()) == 4)
        await asyncio.sleep(1.0)
        assert len(script.versions()) <= 4 + 7
        assert running.reports.now and "cannot watch pods in all namespaces" in running.reports.now
        assert set(script.versions()) == {"10"} and len(running.memory.lists) == 1


async def test_empty_answers_to_a_version_lead_to_pauses_and_then_to_a_list() -> None:
    """Some servers answer a version that they have forgotten with an empty 200: the version is doubted after three."""
    script = Script(*[says()] * 3, SILENT)
    async with run(script) as running:
        await until(lambda: len(running.memory.lists) == 2)
        await until(lambda: len(script.versions()) == 4)
        assert running.reports.all[0] == (
            "cannot watch pods in all namespaces: the server ends the watch as soon as it is open"
        )
        await until(lambda: running.reports.now is None)  # the fourth stays open


async def test_endless_empty_answers_are_no_busy_loop() -> None:
    """Lists in between do not make it one: the pauses stay long until a watch says something."""
    script = Script(says())
    async with run(script, pauses=Pauses(shortest=0.05, longest=0.4)) as running:
        await until(lambda: len(running.memory.lists) >= 2)
        before = len(script.paths)
        await asyncio.sleep(1.0)
        assert len(script.paths) - before <= 9


async def test_a_410_within_the_stream_leads_to_a_list_at_once() -> None:
    """What was said before it is told first."""
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 11 (900)"}
    gone = orjson.dumps({"type": "ERROR", "object": status}) + b"\n"
    script = Script(says(line("ADDED", "b", "11") + gone), SILENT)
    async with run(script) as running:
        await until(lambda: len(running.memory.lists) == 2)
        assert running.memory.told == [("ADDED", "b")] and running.reports.all == []


async def test_endless_410s_are_no_busy_loop() -> None:
    """A list does not help here; after the first time there are pauses, and it is reported."""
    script = Script(refuses("410 Gone", b'{"kind": "Status", "message": "too old", "reason": "Expired"}'))
    async with run(script, pauses=Pauses(shortest=0.05, longest=0.4)) as running:
        await until(lambda: running.reports.now)
        await asyncio.sleep(1.0)
        assert len(script.paths) <= 24 and running.reports.now == "cannot watch pods in all namespaces: 410 too old"


async def test_another_error_within_the_stream_keeps_the_version() -> None:
    """An etcd without a leader, for example: the same watch is tried again."""
    status = {"kind": "Status", "code": 500, "message": "etcdserver: no leader"}
    script = Script(says(orjson.dumps({"type": "ERROR", "object": status}) + b"\n"), SILENT)
    async with run(script) as running:
        await until(lambda: script.versions() == ["10", "10"])
        assert running.reports.all[0] == "cannot watch pods in all namespaces: 500 etcdserver: no leader"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": {}}',
        b'{"type": "NEW", "object": {}}',
        b'{"type": ["ADDED"], "object": null}',
        b"\xff\xfe",
    ],
)
async def test_nonsense_in_the_stream_is_quoted_and_left(nonsense: bytes) -> None:
    """The watch is begun anew behind the last line that made sense."""
    script = Script(says(line("ADDED", "b", "11"), nonsense + b"\n"), says(nonsense + b"\n"), SILENT)
    async with run(script) as running:
        await until(lambda: len(script.versions()) == 3)
        assert script.versions() == ["10", "11", "11"] and running.counts["watch_failures:Malformed"] == 2
        assert running.reports.all[0] and "cannot watch pods" in running.reports.all[0]


async def test_a_line_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whatever is sent."""
    monkeypatch.setattr("tapio_otel.kubernetes.client.LONGEST_LINE", 100_000)
    script = Script(says(*[b"x" * 60_000] * 3, then="silence"), SILENT)
    async with run(script) as running:
        await until(lambda: len(script.versions()) == 2)
        assert running.counts["watch_failures:Malformed"] == 1


async def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    """The seconds of Retry-After count, up to a bound."""
    busy = refuses("429 Too Many Requests", b'{"message": "slow down"}', "Retry-After: 1")
    script = Script(busy)
    async with run(script) as running:
        await until(lambda: running.reports.now)
        assert running.reports.now == "cannot watch pods in all namespaces: 429 slow down"
        await asyncio.sleep(0.7)
        assert len(script.versions()) == 1


async def test_a_server_may_not_silence_the_agent_for_ever() -> None:
    """More than the bound is not waited for."""
    script = Script(refuses("429 Too Many Requests", b"{}", "Retry-After: 86400"), SILENT)
    async with run(script, pauses=Pauses(shortest=0.01, longest=0.02, longest_asked=0.05)):
        await until(lambda: len(script.versions()) == 2)


async def test_a_silent_watch_is_begun_anew_without_a_report() -> None:
    """Nothing heard within quiet_timeout: another connection at the same version, no list."""
    script = Script(SILENT)
    async with run(script) as running:
        await until(lambda: len(script.versions()) == 3)
        assert set(script.versions()) == {"10"} and running.reports.all == [] and len(running.memory.lists) == 1


@pytest.mark.parametrize(
    "answer", [whole(b"[]"), whole(b'{"items": {}}'), whole(b'"x"'), whole(b"<html>"), whole(b'{"metadata": 1, "items": []}')]
)
async def test_a_list_that_is_none_is_reported(answer: bytes) -> None:
    """The answer of something else than the API ends in a report, not in a crash."""
    async with run(Script(SILENT, lists=answer)) as running:
        await until(lambda: running.reports.now)
        assert running.memory.lists == []


async def test_an_empty_list_may_be_null() -> None:
    """Go writes an empty slice so."""
    async with run(Script(SILENT, lists=b'{"metadata": {"resourceVersion": "7"}, "items": null}')) as running:
        await until(lambda: running.memory.lists)
        assert running.memory.lists == [("", [], "7")]


async def test_an_object_that_cannot_be_trimmed_is_left_out_and_counted() -> None:
    """One odd object does not stop the others."""

    def trim(raw: dict[str, Any]) -> Any:
        if raw["metadata"]["name"] == "odd":
            raise KeyError("spec")
        return raw["metadata"]["name"], ""

    watch = says(line("ADDED", "odd", "11") + line("ADDED", "b", "12"), then="silence")
    async with run(Script(watch, lists=listing("10", "a", "odd")), trim=trim) as running:
        await until(lambda: running.memory.changes)
        assert running.memory.known == {"a": "", "b": ""} and running.counts["watch_failures:untrimmed"] == 2
