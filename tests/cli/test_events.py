"""`tapio events` and `tapio top`: from a running agent and from a store's file."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tapio_otel.cli import main
from tapio_otel.cli.told_events import TOKEN_VARIABLE
from tapio_otel.event import Severity
from tapio_otel.event_json import to_dict
from tests.extensions.ui_agent import POD, TOKEN, Agent, event, finding, running

GIVEN = (
    event(0, "the first", type="oom_kill", severity=Severity.CRITICAL, source="ebpf", entity=POD),
    event(1, "\x1b[2Jthe second\u202e"),
    event(2, "the third", source="kubernetes"),
)


async def tapio(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the command as a user does; returns status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from tapio_otel.cli import entry; entry()", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", "TZ": "UTC", **environment},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@contextlib.asynccontextmanager
async def following(*arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run `tapio events --follow` meanwhile; it is ended as by Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from tapio_otel.cli import entry; entry()", "events", "--follow", *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TZ": "UTC"},
    )
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.send_signal(2)
        assert await asyncio.wait_for(process.wait(), 20) == 130


async def line(reader: asyncio.StreamReader) -> str:
    """Return the next line."""
    return (await asyncio.wait_for(reader.readline(), 30)).decode()


def origins(agent: Agent, state: Path) -> tuple[tuple[str, ...], ...]:
    """Return the options for both ways to read the same."""
    return ("--endpoint", agent.address), ("--store", str(state / "events"))


async def test_events_are_printed_as_lines_the_newest_last(tmp_path):
    """The same from the agent and from its store; nothing in them acts on the terminal."""
    async with running(tmp_path, "sqlite") as agent:
        await agent.feed(*GIVEN)
        await agent.kept(3)
        for origin in origins(agent, tmp_path):
            status, output, errors = await tapio("events", *origin)
            assert (status, errors) == (0, "")
            assert output.splitlines() == [
                "2026-09-21 14:13:20.000 critical  pod prod/web-0: the first [oom_kill]",
                "2026-09-21 14:13:21.000 warning   web.service: \\x1b[2Jthe second\\u202e",
                "2026-09-21 14:13:22.000 warning   web.service: the third",
            ]


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        (("--severity", "error"), ["the first"]),
        (("--entity", "pod/prod/web-0"), ["the first"]),
        (("--type", "oom_kill", "--type", "nothing"), ["the first"]),
        (("--source", "kubernetes"), ["the third"]),
        (("--text", "third"), ["the third"]),
        (("--limit", "1"), ["the third"]),
        (("--since", "2026-09-21T14:13:22Z"), ["the third"]),
        (("--until", "2026-09-21T14:13:20Z"), ["the first"]),
        (("--since", "1m"), []),
    ],
)
async def test_filters_choose_events(tmp_path, options, titles):
    """The same ones from the agent and from its store."""
    async with running(tmp_path, "sqlite") as agent:
        await agent.feed(*GIVEN)
        await agent.kept(3)
        for origin in origins(agent, tmp_path):
            status, output, errors = await tapio("events", "--format", "json", *origin, *options)
            assert (status, errors) == (0, "")
            assert [json.loads(one)["title"] for one in output.splitlines()] == titles


async def test_following_goes_on_as_events_come(tmp_path):
    """From the agent by its stream, from the store by looking; each once, findings with each revision."""
    root = event(10)
    async with running(tmp_path, "sqlite") as agent:
        await agent.feed(GIVEN[0], GIVEN[2])
        await agent.kept(2)
        for number, origin in enumerate(origins(agent, tmp_path)):
            async with following(*origin, "--format", "json", "--severity", "warning", "-n", "1") as output:
                assert json.loads(await line(output))["type"] in {"log", "correlation"}
                for revision in range(2):
                    made = finding(root, revision=number * 2 + revision)
                    await agent.feed(made)
                    assert json.loads(await line(output)) == to_dict(made)
                later = event(100 + number)
                await agent.feed(event(200 + number, severity=Severity.INFO), later)
                assert json.loads(await line(output)) == to_dict(later)


async def test_a_token_is_taken_from_the_environment(tmp_path):
    """Without it the error says where it belongs."""
    async with running(tmp_path, options=f"token: {TOKEN}") as agent:
        await agent.feed(*GIVEN)
        status, output, errors = await tapio("events", "--endpoint", agent.address)
        assert (status, output) == (1, "")
        assert f"a token is needed: put it into the environment variable {TOKEN_VARIABLE}" in errors
        status, output, errors = await tapio("events", "--endpoint", agent.address, **{TOKEN_VARIABLE: TOKEN})
        assert (status, len(output.splitlines()), errors) == (0, 3, "")


@pytest.mark.parametrize("command", ["events", "top"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--endpoint", "http://127.0.0.1:1"),
            "no agent answers at http://127.0.0.1:1/api/v1/: [Errno 111] Connection refused",
        ),
        (("--endpoint", "127.0.0.1:1"), "write a URL such as http://127.0.0.1:8321"),
        (("--endpoint", "file:///etc/passwd"), "write a URL such as"),
        (("--store", "/nonexistent"), "/nonexistent"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what_to_do(command, options, words):
    """With status 1 and without a traceback."""
    result = CliRunner().invoke(main, [command, *options])
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert words in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "yesterday"), "write a time in RFC 3339"),
        (("--follow", "--until", "1h"), "leave out --until or --follow"),
    ],
)
async def test_options_that_make_no_sense_are_refused(tmp_path, options, words):
    """In the words of whoever was asked."""
    async with running(tmp_path, "sqlite") as agent:
        for origin in origins(agent, tmp_path):
            status, output, errors = await tapio("events", *origin, *options)
            assert (status, output) == (1, "")
            assert words in errors


async def test_top_shows_what_the_agent_is_doing(tmp_path):
    """Rates by source and component, what is kept, findings and the worst events; nothing acts on the terminal."""
    async with running(tmp_path, "sqlite") as agent:
        recent = event(5, "just \x1b[2Jnow", timestamp=time.time_ns(), severity=Severity.ALERT)
        await agent.feed(*GIVEN, finding(GIVEN[0]), recent)
        await agent.kept(5)
        agent.receiver.context.report("it is degraded")
        status, output, errors = await tapio("top", "--once", "--interval", "300ms", "--endpoint", agent.address)
        assert (status, errors) == (0, "")
        assert "\x1b" not in output
        for words in (
            *("5 events and 1 findings in the sqlite store", "receivers/feed: it is degraded", "degraded", "in no pipeline"),
            *("receiver feed", "exporter sqlite", "Memory ran out, revision 0", "just \\x1b[2Jnow", "alert"),
        ):
            assert words in output


async def test_top_reads_a_store_without_an_agent(tmp_path):
    """Then there is what was stored."""
    async with running(tmp_path, "sqlite") as agent:
        await agent.feed(*GIVEN, finding(GIVEN[0]))
        await agent.kept(4)
    status, output, errors = await tapio("top", "--once", "--interval", "200ms", "--store", str(tmp_path / "events"))
    assert (status, errors) == (0, "")
    for words in ("kubernetes", "journald", "ebpf", "Memory ran out, revision 0", "the first"):
        assert words in output


async def test_top_gives_the_terminal_back_on_ctrl_c(tmp_path):
    """And ends without an error; while the agent is gone it shows what there was."""
    ours, theirs = os.openpty()
    seen = b""
    async with running(tmp_path) as agent:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from tapio_otel.cli import entry; entry()", "top", "--interval", "200ms"),
            *("--endpoint", agent.address),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "60"},
        )
        os.close(theirs)

        async def until(words: bytes) -> bytes:
            found = b""
            async with asyncio.timeout(30):
                while words not in found:
                    found += await asyncio.to_thread(os.read, ours, 65536)
            return found

        seen += await until(b"Worst events")
    seen += await until(b"no agent answers")
    process.send_signal(2)
    seen += await until(b"\x1b[?1049l")
    assert await asyncio.wait_for(process.wait(), 20) == 0
    os.close(ours)
    assert b"\x1b[?1049h" in seen
    assert b"Traceback" not in seen


async def test_top_prints_look_after_look_where_there_is_no_terminal(tmp_path):
    """Such as into a file."""
    async with running(tmp_path) as agent:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from tapio_otel.cli import entry; entry()", "top", "--interval", "200ms"),
            *("--endpoint", agent.address),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        for _ in range(2):
            await asyncio.wait_for(process.stdout.readuntil(b"Worst events"), 30)
        process.send_signal(2)
        await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"[]"), (200, b'{"error": 1}'), (200, b"no JSON"), (400, '{"error": {"message": "\x9b31m \u202egnp"}}'.encode())],
)
@pytest.mark.parametrize("arguments", [["events"], ["top", "--once"]])
def test_another_server_on_the_port_is_told_apart(arguments, status, body):
    """Not by a stack trace, nor by what it would like the terminal to do."""

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            told = CliRunner().invoke(main, [*arguments, "--endpoint", f"http://127.0.0.1:{other.server_port}"])
        finally:
            other.shutdown()
            thread.join()
    assert told.exit_code == 1
    assert "error: " in told.output
    assert told.output.isascii()
    assert told.exception is None or isinstance(told.exception, SystemExit)
