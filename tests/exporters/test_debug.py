"""`debug` writes for people: what it shows, and what it does when nobody reads."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from tapio_otel.component import Batch, Delivery
from tapio_otel.event import EntityReference, EntityType, Severity, UnifiedEvent
from tapio_otel.exporters.debug import DebugExporter, wants_colour
from tests.components import SCOPE, events, make
from tests.journal import entries, write_journal


def event(title: str = "disk is full", **fields) -> UnifiedEvent:
    """Return an event of a unit."""
    entity = EntityReference(EntityType.SYSTEMD_UNIT, "nginx.service")
    return UnifiedEvent("id-1", 1_700_000_000_123_456_789, "journald", **{"title": title, "entity": entity} | fields)


async def shown(*what: UnifiedEvent, **options) -> str:
    """Return what is written for one batch."""
    read, write = os.pipe()
    collected: list[bytes] = []
    reader = threading.Thread(target=lambda: collected.extend(iter(lambda: os.read(read, 65536), b"")))
    reader.start()
    exporter = make(DebugExporter, **options)
    exporter.descriptor = write
    settled: list[int] = []
    await exporter.start()
    await exporter.consume(Batch(list(what), SCOPE, Delivery(lambda: settled.append(1))))
    await exporter.shutdown()
    os.close(write)
    await asyncio.to_thread(reader.join)
    os.close(read)
    assert settled == [1]
    return b"".join(collected).decode()


async def test_basic_counts_each_batch():
    """One line with the number of events, worst severity first."""
    text = await shown(event(), event(severity=Severity.ERROR), event())
    assert text.endswith(" 3 events from tapio_otel.receivers.test: 1 error, 2 info\n")


async def test_normal_is_a_line_an_event(monkeypatch):
    """Local time, severity, entity, title; the type where it is not log."""
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        text = await shown(event(severity=Severity.ERROR), event("x", type="oom_kill"), verbosity="normal")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert text.splitlines() == [
        "2023-11-14 17:13:20.123 error     nginx.service: disk is full",
        "2023-11-14 17:13:20.123 info      nginx.service: x [oom_kill]",
    ]


@pytest.mark.parametrize("verbosity", ["normal", "detailed"])
async def test_messages_cannot_act_on_the_terminal(verbosity):
    """Escape sequences, line breaks and direction overrides are shown, not obeyed."""
    hostile = "a\x1b[2J\x07\nb\r\x9b31m\u202ec\u2028\x00\ud800é"
    text = await shown(event(hostile, attributes={hostile: hostile}), verbosity=verbosity)
    assert not set(text) & set("\x1b\x07\r\x9b\u202e\u2028\x00")
    assert r"a\x1b[2J\x07\nb\r\x9b31m\u202ec\u2028\x00" in text
    assert "é" in text


async def test_long_titles_are_cut_with_a_mark():
    """normal keeps to a line of bounded length."""
    (line,) = (await shown(event("x" * 5000), verbosity="normal")).splitlines()
    assert line.endswith("xxx…")
    assert len(line) < 500


async def test_detailed_shows_everything():
    """Ids, every time, lineage, attributes with their kinds, labels, and the resource it is exported under."""
    pod = EntityReference(EntityType.POD, "web-1", "shop", "uid-1")
    process = EntityReference(EntityType.PROCESS, "nginx", uid="process-7-99", parent=pod)
    full = event(
        description="disk is full\non /dev/sda",
        entity=process,
        attributes={"pid": 7, "ok": True, "raw": b"\x00", "REQUEST_ID": "r"},
        labels={"unit": "nginx"},
        annotations={"note": "n"},
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
    )
    text = await shown(full, verbosity="detailed")
    for expected in (
        *(
            "Event id-1",
            ".123456789",
            "journald, log",
            "info (9)",
            "process nginx (uid process-7-99) of pod shop/web-1 (uid uid-1)",
        ),
        *("        on /dev/sda", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "-> pid: Int(7)", "-> ok: Bool(True)"),
        *("-> raw: Bytes(b'\\x00')", "-> REQUEST_ID: Str(r)", "-> unit: Str(nginx)", "-> note: Str(n)", "-> host.name: Str("),
        *("-> k8s.pod.name: Str(web-1)",),
    ):
        assert expected in text, expected


async def test_colours_only_on_a_terminal_that_has_them():
    """A pipe gets none, a terminal does, NO_COLOR and TERM=dumb switch them off."""
    read, write = os.pipe()
    leader, follower = pty.openpty()
    try:
        assert not wants_colour(write, {})
        assert wants_colour(follower, {"TERM": "xterm"})
        assert wants_colour(follower, {"NO_COLOR": ""})
        assert not wants_colour(follower, {"NO_COLOR": "1"})
        assert not wants_colour(follower, {"TERM": "dumb"})
        exporter = make(DebugExporter, verbosity="normal")
        exporter.descriptor = follower
        await exporter.start()
        await exporter.consume(Batch([event(severity=Severity.ERROR)], SCOPE))
        await exporter.shutdown()
        assert b"\x1b[31merror     nginx.service: disk is full\x1b[0m" in os.read(leader, 4096)
    finally:
        for descriptor in (read, write, leader, follower):
            os.close(descriptor)


async def test_a_closed_pipe_is_reported_once_and_events_are_counted(caplog):
    """The process lives on; what is no longer written is dropped, counted and settled."""
    read, write = os.pipe()
    os.close(read)
    exporter = make(DebugExporter)
    exporter.descriptor = write
    problems: list[str | None] = []
    exporter.context.report = problems.append
    settled: list[int] = []
    await exporter.start()
    for _ in range(3):
        await exporter.consume(Batch(events("a"), SCOPE, Delivery(lambda: settled.append(1))))
        await asyncio.sleep(0.02)
    await exporter.shutdown()
    os.close(write)
    assert settled == [1, 1, 1]
    assert exporter.context.counters.counts["dropped:output_closed"] == 3
    assert len(problems) == 1
    assert sum("events are no longer written there" in record.message for record in caplog.records) == 1


def agent(directory: Path, shell: str) -> subprocess.CompletedProcess[str]:
    """Run the agent over a journal of 20,000 entries to its end, as the word `tapio` in a line of shell."""
    journal = write_journal(directory / "journal", entries(20_000))
    config = directory / "tapio.yaml"
    document = {
        "receivers": {"journald": {"directory": str(journal), "start_at": "beginning", "follow": False}},
        "exporters": {"debug": {"verbosity": "normal"}},
        "service": {
            "state_dir": str(directory / "state"),
            "pipelines": {"logs": {"receivers": ["journald"], "exporters": ["debug"]}},
        },
    }
    config.write_text(json.dumps(document))
    tapio = f"{sys.executable} -c 'from tapio_otel.cli import entry; entry()' run --config {config}"
    command = ["bash", "-c", shell.replace("tapio", tapio)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_pager_that_ends_early_is_no_failure(tmp_path):
    """With `| head -3` the run goes on to its end with status 0: one line tells, no traceback, everything is accounted for."""
    done = agent(tmp_path, "tapio | head -3; exit ${PIPESTATUS[0]}")
    assert done.returncode == 0, done.stderr
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["0", "1", "2"]
    assert done.stderr.count("events are no longer written there") == 1
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    counts = dict(re.findall(r"(received|debug sent|debug dropped|undelivered) ([\d,]+)", done.stderr))
    received, sent, dropped, undelivered = (int(number.replace(",", "")) for number in counts.values())
    assert (received, sent + dropped, undelivered) == (20_000, 20_000, 0)


def test_an_output_closed_from_the_start_is_refused(tmp_path):
    """Its number would belong to some other file of the process, which must not be written to."""
    done = agent(tmp_path, "tapio >&-")
    assert done.returncode == 1
    assert "tapio.yaml:1: exporters.debug: stdout is closed: redirect it, for example to /dev/null" in done.stderr


async def test_a_reader_that_stops_makes_the_pipeline_wait_but_not_the_loop():
    """A full pipe holds consume back; shutdown can be cut short and what was not written stays unsettled."""
    read, write = os.pipe()
    exporter = make(DebugExporter, verbosity="detailed")
    exporter.descriptor = write
    settled: list[int] = []
    await exporter.start()
    large = event(description="x" * 1_000_000)

    async def flood() -> None:
        while True:
            await exporter.consume(Batch([large], SCOPE, Delivery(lambda: settled.append(1))))

    flooding = asyncio.create_task(flood())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(flooding), 0.5)
    assert not flooding.done()
    flooding.cancel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await exporter.shutdown()
    assert not settled
    os.close(read)  # the thread's write ends with EPIPE
    await asyncio.sleep(0.05)
    os.close(write)


async def test_sampling_writes_the_first_then_every_nth():
    """As the collector's sampler; what is left out is counted."""
    batch = [event(str(number)) for number in range(10)]
    text = await shown(*batch, verbosity="normal", sampling_initial=2, sampling_thereafter=4)
    assert [line[-1] for line in text.splitlines()] == ["0", "1", "5", "9"]
    assert (await shown(*batch, event("end"), verbosity="normal")).count("\n") == 11


def test_other_outputs_are_refused():
    """Files are the file exporter's business."""
    with pytest.raises(ValidationError, match="to write to files use the file exporter"):
        make(DebugExporter, output_paths=["/tmp/x"])
