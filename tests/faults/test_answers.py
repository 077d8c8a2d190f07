"""A backend that answers by script: what it asks to send again arrives, what it refuses is counted and kept.

The scripted servers stand in for a collector, which cannot be told to answer so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.exporting.servers import GrpcServer, HttpServer, Step
from tests.faults import balances
from tests.faults.agent import FaultAgent
from tests.faults.oracle import Arrivals, of_server
from tests.faults.report import Figures


@dataclass(frozen=True)
class Script:
    """Say how a backend answers, and what becomes of the entries for it."""

    steps: tuple[Step, ...]
    grpc: bool = False
    refused_requests: int = 0
    """Refused for good."""
    rejected_entries: int = 0
    """Rejected out of requests that were accepted."""
    repeats: bool = False
    """Whether what was taken is answered as if it had not been."""


def times(count: int, *steps: Step) -> tuple[Step, ...]:
    """Return the steps so many times."""
    return steps * count


SCRIPTS = {
    "429 with Retry-After": Script(times(4, Step(429, retry_after="1"))),
    "503 with Retry-After": Script(times(2, Step(503, retry_after="1"), Step())),
    "503 with a date": Script(times(6, Step(503, retry_after="Thu, 01 Jan 1970 00:00:00 GMT"))),
    "502, 504 and taken all the same": Script(times(5, Step(502, keep=True), Step(504)), repeats=True),
    "400": Script(times(3, Step(400, words="bad"), Step()), refused_requests=3),
    "partial success": Script(times(4, Step(rejected=7, words="too old"), Step()), rejected_entries=28),
    "cut off without an answer": Script(times(8, Step(close=True))),
    "cut off after taking it": Script(times(4, Step(close=True, keep=True), Step()), repeats=True),
    "no answer within the timeout": Script(times(2, Step(hang=True)), repeats=True),
    "nonsense for an answer": Script(times(4, Step(body=b"\xff\xff<html>", content_type="text/html"))),
    "RESOURCE_EXHAUSTED with RetryInfo": Script(times(8, Step("RESOURCE_EXHAUSTED", retry_seconds=0.3)), grpc=True),
    "RESOURCE_EXHAUSTED without RetryInfo": Script(
        times(3, Step("RESOURCE_EXHAUSTED", words="quota"), Step()), grpc=True, refused_requests=3
    ),
    "UNAVAILABLE": Script(times(8, Step("UNAVAILABLE", words="draining")), grpc=True),
    "INVALID_ARGUMENT": Script(times(3, Step("INVALID_ARGUMENT"), Step()), grpc=True, refused_requests=3),
    "partial success over gRPC": Script(times(4, Step(rejected=7), Step()), grpc=True, rejected_entries=28),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
async def test_answers(agent: FaultAgent, figures: Figures, script: Script) -> None:
    """All that may be sent again arrives; what the backend refuses for good is counted, and kept as dead letters."""
    server = (GrpcServer if script.grpc else HttpServer)(*script.steps)
    async with server:
        agent.aim(f"http://localhost:{server.port}", exporter="otlp" if script.grpc else "otlphttp")
        async with agent.running():
            await agent.until(lambda: settled(agent, of_server(server.received), script) >= agent.written)
            assert await agent.end() == 0
    arrivals = of_server(server.received)
    refused, rejected = dead_letters(agent, "permanent"), dead_letters(agent, "rejected")
    assert len(refused) == script.refused_requests and sum(rejected) >= script.rejected_entries
    arrivals.check(agent.written, lost=sum(refused))
    assert (arrivals.repeated > 0) is script.repeats
    balances.check_whole(agent.log(), agent.ends, agent.written)
    sent = balances.runs(agent.log())[0].counted["sent"]
    assert sent == agent.written - sum(refused) - script.rejected_entries
    figures.take(agent.written, arrivals, agent.peak, sum(refused))
    figures.more |= {"attempts": server.received.attempts} | ({"rejected": script.rejected_entries} if rejected else {})


def settled(agent: FaultAgent, arrivals: Arrivals, script: Script) -> int:
    """Return how many entries have come to an end."""
    return arrivals.delivered + (sum(dead_letters(agent, "permanent")) if script.refused_requests else 0)


def dead_letters(agent: FaultAgent, reason: str) -> list[int]:
    """Return the sizes of the requests that were kept for a reason."""
    lines = agent.dead_letters.read_bytes().split(b"\n")[:-1] if agent.dead_letters.exists() else []
    letters = [json.loads(line)["deadLetter"] for line in lines]
    return [letter["count"] for letter in letters if letter["reason"] == reason]
