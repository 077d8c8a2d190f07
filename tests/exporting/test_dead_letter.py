"""Dead letters: every request that is given up is kept with the reason, and nothing about that stops the sending."""

from __future__ import annotations

import asyncio
import base64
import json
import stat

import pytest

from tapio_otel.component import Kind, Scope
from tapio_otel.exporting.dead_letter import DeadLetters
from tapio_otel.exporting.options import DeadLetterOptions
from tapio_otel.exporting.reencode import JSON, PROTO
from tapio_otel.otlp.json import JsonRequestBuilder
from tapio_otel.otlp.wire import RequestBuilder
from tests.components import context, events
from tests.storage.files import fill, small_disk

SCOPE = Scope("tapio_otel.test", "1")


@pytest.fixture
def path(tmp_path):
    """Return where dead letters go."""
    return tmp_path / "dead.jsonl"


async def opened(path, encoding=PROTO, **options):
    """Return an open file of dead letters; its counts are in `.counts`."""
    surroundings = context(Kind.EXPORTER, "otlp/blue")
    letters = DeadLetters(DeadLetterOptions(path=str(path), **options), surroundings, encoding)
    await letters.open()
    return letters, surroundings.counters.counts


def body(encoding=PROTO, *titles: str) -> bytes:
    """Return a request."""
    builder = {PROTO: RequestBuilder, JSON: JsonRequestBuilder}[encoding]()
    builder.add(events(*titles), SCOPE)
    return builder.build()


@pytest.mark.parametrize("encoding", [PROTO, JSON])
async def test_a_request_is_a_line_of_otlp_json_with_the_reason(path, encoding):
    """It is in the file when `put` returns, and only its owner may read it."""
    letters, counts = await opened(path, encoding)
    await letters.put(body(encoding, "a", "b"), 2, "permanent", "HTTP 400: no\nsuch tenant")
    (line,) = path.read_text().splitlines()
    await letters.close()
    found = json.loads(line)
    letter = found.pop("deadLetter")
    assert letter.pop("time").endswith("Z")
    assert letter == {"exporter": "otlp/blue", "reason": "permanent", "message": "HTTP 400: no\nsuch tenant", "count": 2}
    assert [
        record["body"]["stringValue"]
        for resource in found["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ] == ["a", "b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert counts["dead_lettered"] == 2


async def test_what_is_no_request_is_kept_as_it_is(path):
    """In base64."""
    letters, _ = await opened(path)
    await letters.put(b"\xff\xff\xff", 1, "permanent", "")
    await letters.close()
    assert base64.b64decode(json.loads(path.read_text())["deadLetter"]["body"]) == b"\xff\xff\xff"


async def test_the_files_are_bounded(path):
    """A file is put aside at its size, and the oldest are removed."""
    letters, counts = await opened(path, max_bytes=65536, max_backups=2)
    for number in range(30):
        await letters.put(body(PROTO, f"{number}:{'x' * 20_000}"), 1, "permanent", "")
    await letters.close()
    files = sorted(path.parent.iterdir())
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < 3 * 65536 + 30_000
    assert "29:" in path.read_text()
    assert counts["dead_lettered"] == 30


async def test_a_full_disk_is_counted_and_does_not_hold_up_the_sending(tmp_path, caplog):
    """It is reported once, and the file is written again when there is room; no line is cut in half."""
    with small_disk(tmp_path / "disk") as disk:
        letters, counts = await opened(disk / "dead.jsonl")
        ballast = fill(disk)
        for _ in range(3):
            await letters.put(body(PROTO, "x" * 10_000), 5, "permanent", "")
        assert (counts["dead_letter_failed"], counts["dead_lettered"]) == (15, 0)
        assert caplog.text.count("No space left on device") == 2  # the file's own report, and that of what is lost
        ballast.unlink()
        await letters.put(body(PROTO, "y"), 1, "permanent", "")
        await letters.close()
        assert counts["dead_lettered"] == 1
        (line,) = (disk / "dead.jsonl").read_text().splitlines()
        assert '"y"' in line


async def test_requests_that_are_given_up_at_once_are_all_kept(path):
    """As by many consumers at a time."""
    letters, counts = await opened(path)
    await asyncio.gather(*(letters.put(body(PROTO, f"{number}:{'x' * 500_000}"), 1, "permanent", "") for number in range(40)))
    await letters.close()
    assert counts["dead_lettered"] == 40
    assert len(path.read_text().splitlines()) == 40
