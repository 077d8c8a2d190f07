"""`tapio run` with a queue on disk loses nothing, whatever happens to it."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.exporting.durable_agent import DEAD, DurableAgent, expect_all, messages, running
from tests.exporting.servers import GrpcServer, HttpServer, Step
from tests.integration.agent import TAPIO
from tests.journal import require_journal_remote
from tests.storage.files import fill, small_disk


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """Keep the machine's proxies out."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def agent(tmp_path: Path) -> DurableAgent:
    """Return an agent with a journal of a thousand entries, not yet started."""
    require_journal_remote()
    one = DurableAgent(tmp_path)
    one.write(1000)
    return one


def forget_the_journal(agent: DurableAgent) -> None:
    """Take away what the receiver could read again: what arrives from now on comes out of the queue."""
    shutil.rmtree(agent.journal)
    agent.journal.mkdir()


@pytest.mark.parametrize("exporter", ["otlphttp", "otlp"])
async def test_what_is_queued_outlives_a_kill_and_the_journal(tmp_path, exporter):
    """The backend is dead, the agent is killed, and the journal is gone: a new agent delivers everything, each entry once."""
    require_journal_remote()
    agent = DurableAgent(tmp_path, exporter)
    agent.write(1000)
    agent.aim(DEAD)
    async with running(agent):
        await agent.until(lambda: agent.queued().items >= 1000)
        agent.kill()
    forget_the_journal(agent)
    async with HttpServer() if exporter == "otlphttp" else GrpcServer() as server:
        agent.aim(f"http://localhost:{server.port}")
        async with running(agent):
            await agent.until(agent.is_up)
            await agent.until(lambda: len(messages(server.received)) >= 1000)
            assert await agent.end() == 0
    assert expect_all(agent, server.received) == 0
    assert agent.queued().requests == 0
    assert "goes on with 1000 events from before the start" in agent.log()
    assert "NOT ACCOUNTED FOR" not in agent.log()


async def test_an_ordinary_end_with_a_dead_backend_is_quick_and_loses_nothing(agent):
    """What is on disk is safe: the agent does not wait for its shutdown_timeout, and the next one sends it, each entry once."""
    agent.aim(DEAD)
    async with running(agent):
        await agent.until(lambda: agent.queued().items >= 1000)
        assert await agent.end() == 0
    assert "not everything could be delivered" not in agent.log()
    assert "in the queue on disk: they are sent after the next start" in agent.log()
    assert "NOT ACCOUNTED FOR" not in agent.log()
    agent.write(500)
    async with HttpServer() as server:
        agent.aim(server.url)
        async with running(agent):
            await agent.until(agent.is_up)
            await agent.until(lambda: len(messages(server.received)) >= agent.written)
            assert await agent.end() == 0
    assert expect_all(agent, server.received) == 0
    assert "NOT ACCOUNTED FOR" not in agent.log()


async def test_kills_at_random_moments_lose_nothing(agent):
    """With a backend that fails every third time and entries coming in: repeats have the id of the first."""
    draw = random.Random(7)
    async with HttpServer(*(Step(503 if number % 3 == 0 else 200, keep=number % 6 == 0) for number in range(400))) as server:
        agent.aim(server.url)
        for _ in range(6):
            async with running(agent):
                await agent.until(agent.is_up)
                agent.write(300)
                await asyncio.sleep(draw.uniform(0, 1.5))
                agent.kill()
        async with running(agent):
            await agent.until(agent.is_up)  # before that, SIGTERM ends any Python
            await agent.until(lambda: len(messages(server.received)) >= agent.written)
            assert await agent.end() == 0
    expect_all(agent, server.received)
    assert agent.queued().requests == 0
    assert "is damaged" not in agent.log()
    assert "NOT ACCOUNTED FOR" not in agent.log()


async def test_a_full_disk_makes_the_journal_wait(tmp_path):
    """The queue's disk is full and the backend dead: the agent waits, and delivers everything once there is room again."""
    require_journal_remote()
    agent = DurableAgent(tmp_path)
    agent.write(3000)
    with small_disk(tmp_path / "disk") as disk:
        agent.queues = disk / "queues"
        ballast = fill(disk)
        with ballast.open("ab") as file:
            file.truncate(ballast.stat().st_size - 700_000)
        agent.aim(DEAD, sending_queue={"batch": {"max_bytes": 100_000}})
        async with running(agent):
            await agent.until(agent.is_up)
            await agent.until(lambda: "database or disk is full; waiting until it works" in agent.log())
            ballast.unlink()
            await agent.until(lambda: agent.queued().items >= 3000)
            agent.kill()
        async with HttpServer() as server:
            agent.aim(server.url)
            async with running(agent):
                await agent.until(agent.is_up)
                await agent.until(lambda: len(messages(server.received)) >= agent.written)
                assert await agent.end() == 0
        expect_all(agent, server.received)
    assert "is written again" in agent.log()
    assert "NOT ACCOUNTED FOR" not in agent.log()


async def test_a_damaged_file_keeps_nobody_from_starting(agent):
    """What can be read is delivered, the rest is kept aside and told."""
    agent.aim(DEAD, sending_queue={"batch": {"max_size": 10}})
    async with running(agent):
        await agent.until(lambda: agent.queued().items >= 1000)
        assert await agent.end() == 0
    forget_the_journal(agent)
    with agent.file.open("r+b") as file:
        file.seek(agent.file.stat().st_size // 2)
        file.write(b"\xa5" * 4096)
    async with HttpServer() as server:
        agent.aim(server.url)
        async with running(agent):
            await agent.until(agent.is_up)
            await agent.until(lambda: len(messages(server.received)) >= 900)
            assert await agent.end() == 0
    assert "is damaged" in agent.log()
    assert 900 <= sum(messages(server.received).values()) == len(messages(server.received)) < 1000
    assert list(agent.queues.glob("*.damaged-*"))
    assert "NOT ACCOUNTED FOR" not in agent.log()


async def test_a_second_agent_on_the_same_directory_is_refused(agent, tmp_path):
    """It ends with an error that names the first, which does not notice."""
    agent.aim(DEAD)
    async with running(agent):
        await agent.until(lambda: agent.queued().items >= 1000)
        assert agent.process is not None
        text = agent.path.read_text().replace(str(agent.room / "state"), str(agent.room / "other"))
        (tmp_path / "second.yaml").write_text(text)
        done = await asyncio.to_thread(
            subprocess.run,
            [*TAPIO, "run", "--config", str(tmp_path / "second.yaml")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert f"extensions.file_storage: directory: another agent (pid {agent.process.pid}) uses" in done.stderr
        assert await agent.end() == 0


async def test_a_reload_takes_the_queue_along(agent):
    """The backend's address was wrong: the exporter that takes over sends what is on disk, each entry once."""
    agent.aim(DEAD)
    async with HttpServer() as server, running(agent):
        await agent.until(lambda: agent.queued().items >= 1000)
        agent.aim(server.url)
        agent.hang_up()
        await agent.until(lambda: len(messages(server.received)) >= 1000)
        assert await agent.end() == 0
    assert expect_all(agent, server.received) == 0
    assert "NOT ACCOUNTED FOR" not in agent.log()


async def test_a_storage_that_does_not_run_is_refused_with_what_to_do(agent):
    """The extension is not listed in service.extensions, or is none."""
    agent.aim(DEAD)
    agent.path.write_text(agent.path.read_text().replace('"extensions": [\n   "file_storage"\n  ],', ""))
    done = await asyncio.to_thread(
        subprocess.run, [*TAPIO, "run", "--config", str(agent.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "sending_queue.storage: there is no running extension 'file_storage'" in done.stderr
    assert "list it in service.extensions" in done.stderr


async def test_a_dead_exporter_neither_blocks_nor_loses_the_data_of_the_other(agent):
    """Each has a queue of its own; when the dead one's backend comes back it gets everything, too."""
    async with HttpServer() as living, HttpServer() as late:
        port, _ = late.port, await late._site.stop()
        queue = {"storage": "file_storage", "batch": {"flush_timeout": "20ms"}}
        retry = {"initial_interval": "20ms", "max_interval": "100ms"}
        exporters = {
            "otlphttp/living": {"endpoint": living.url, "sending_queue": queue},
            "otlphttp/dead": {"endpoint": f"http://localhost:{port}", "sending_queue": queue, "retry_on_failure": retry},
        }
        agent.configure(
            extensions={"file_storage": {"directory": str(agent.queues)}},
            exporters=exporters,
            service={"extensions": ["file_storage"], "shutdown_timeout": "20s"},
        )
        async with running(agent):
            await agent.until(agent.is_up)
            await agent.until(lambda: len(messages(living.received)) >= 1000)
            agent.write(1000)
            await agent.until(lambda: len(messages(living.received)) >= 2000)
            agent.kill()
        async with running(agent):
            await late.listen()
            await agent.until(lambda: len(messages(late.received)) >= 2000)
            assert await agent.end() == 0
    expect_all(agent, living.received)
    expect_all(agent, late.received)
    assert "NOT ACCOUNTED FOR" not in agent.log()
