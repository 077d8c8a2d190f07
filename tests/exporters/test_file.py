"""`file` writes what other OTLP software reads, whole and in order, whatever the disk does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
import zstandard
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from pydantic import ValidationError

from tapio_otel.component import Batch, ComponentError, Delivery
from tapio_otel.event_json import from_json
from tapio_otel.exporters.file import FileConfig, FileExporter
from tests.components import SCOPE, events, make
from tests.requirements import require


async def write(path: Path, *batches: list[str], **options) -> list[int]:
    """Export batches; returns how often each was settled."""
    exporter = make(FileExporter, path=str(path), **options)
    settled = [0] * len(batches)
    await exporter.start()
    for number, titles in enumerate(batches):

        def settle(number: int = number) -> None:
            settled[number] += 1

        await exporter.consume(Batch(events(*titles), SCOPE, Delivery(settle)))
    await exporter.shutdown()
    assert exporter.context.counters.counts["sent"] == sum(map(len, batches))
    return settled


def bodies(path: Path) -> list[str]:
    """Return the bodies in a JSON file, in order."""
    return [
        record["body"]["stringValue"]
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def frames(content: bytes) -> list[bytes]:
    """Return length-prefixed entries."""
    found = []
    while content:
        size = int.from_bytes(content[:4], "big")
        found.append(content[4 : 4 + size])
        content = content[4 + size :]
    return found


def proto_bodies(entries: list[bytes]) -> list[str]:
    """Return the bodies of protobuf requests, in order."""
    requests = [ExportLogsServiceRequest.FromString(entry) for entry in entries]
    return [
        record.body.string_value
        for request in requests
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


async def test_a_line_is_a_request_and_order_is_kept(tmp_path):
    """Every batch becomes a line of OTLP-JSON; each settles once."""
    path = tmp_path / "events.json"
    titles = [[f"{batch}.{number}" for number in range(50)] for batch in range(20)]
    assert await write(path, *titles) == [1] * 20
    assert bodies(path) == [title for batch in titles for title in batch]
    assert path.stat().st_mode & 0o777 == 0o640


async def test_protobuf_entries_are_preceded_by_their_length(tmp_path):
    """`format: proto` frames as the collector does."""
    path = tmp_path / "events.bin"
    await write(path, ["a", "b"], ["c"], format="proto")
    assert proto_bodies(frames(path.read_bytes())) == ["a", "b", "c"]


@pytest.mark.parametrize("form", ["json", "proto"])
async def test_compressed_entries_stand_alone(form, tmp_path):
    """`compression: zstd` compresses each entry and frames it."""
    path = tmp_path / "events.zst"
    await write(path, ["a", "b"], ["c"], format=form, compression="zstd")
    entries = [zstandard.ZstdDecompressor().decompress(entry) for entry in frames(path.read_bytes())]
    if form == "proto":
        assert proto_bodies(entries) == ["a", "b", "c"]
    else:
        plain = tmp_path / "plain"
        plain.write_bytes(b"\n".join(entries))
        assert bodies(plain) == ["a", "b", "c"]


async def test_a_second_run_appends_or_starts_anew_as_configured(tmp_path):
    """append (our default) keeps what was there; append: false empties the file."""
    path = tmp_path / "events.json"
    await write(path, ["a"])
    await write(path, ["b"])
    assert bodies(path) == ["a", "b"]
    await write(path, ["c"], append=False)
    assert bodies(path) == ["c"]


@pytest.mark.parametrize("form", ["json", "proto"])
async def test_an_entry_torn_by_a_crash_is_removed(form, tmp_path, caplog):
    """Whatever the length left of a torn last entry, the file is whole again after the next start."""
    path = tmp_path / "events"
    await write(path, ["a"], format=form)
    whole = path.read_bytes()
    await write(path, ["b"], format=form)
    longer = path.read_bytes()
    for length in (len(whole) + 1, len(whole) + 3, len(whole) + 7, len(longer) - 1):
        path.write_bytes(longer[:length])
        await write(path, ["c"], format=form)
        found = proto_bodies(frames(path.read_bytes())) if form == "proto" else bodies(path)
        assert found == ["a", "c"]
    assert "of a torn entry at the end of" in caplog.text


async def test_files_are_put_aside_by_size_and_the_oldest_removed(tmp_path):
    """Rotation keeps max_backups files named by time; every entry is whole and none is lost before that."""
    path = tmp_path / "events.json"
    big = ["x" * 400_000]
    await write(path, *([big] * 10), rotation={"max_megabytes": 1})
    backups = sorted(tmp_path.glob("events-*.json"))
    assert len(backups) == 4
    assert sum(len(bodies(file)) for file in (*backups, path)) == 10
    assert all(file.stat().st_size <= 1024 * 1024 for file in (*backups, path))
    await write(path, *([big] * 10), rotation={"max_megabytes": 1, "max_backups": 2})
    assert len(sorted(tmp_path.glob("events-*.json"))) == 2


async def test_an_empty_rotation_block_is_the_default_one(tmp_path):
    """As in the collector, `rotation:` alone switches it on."""
    assert make(FileExporter, path="x", rotation=None).config.rotation.max_megabytes == 100
    assert make(FileExporter, path="x").config.rotation is None


async def test_a_directory_is_made_when_asked_for(tmp_path):
    """create_directory makes it with the given mode; without it the error says what to do."""
    path = tmp_path / "a" / "b" / "events.json"
    with pytest.raises(
        ComponentError, match="No such file or directory: check the path and its rights, or set create_directory"
    ):
        await write(path, ["a"])
    await write(path, ["a"], create_directory=True, directory_permissions="0700")
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_file_that_is_moved_away_is_begun_anew(tmp_path):
    """Tools that rotate by moving or removing the file lose nothing."""
    path = tmp_path / "events.json"
    exporter = make(FileExporter, path=str(path))
    await exporter.start()
    settled = asyncio.Event()
    for number, step in enumerate((lambda: path.rename(tmp_path / "moved.json"), path.unlink, lambda: None)):
        settled.clear()
        await exporter.consume(Batch(events(str(number)), SCOPE, Delivery(settled.set)))
        await settled.wait()
        assert bodies(path) == [str(number)]
        step()
    await exporter.shutdown()
    assert bodies(tmp_path / "moved.json") == ["0"]


async def test_a_full_disk_makes_the_pipeline_wait_and_tears_nothing(tmp_path, caplog):
    """On a full file system nothing is lost and no half entry stays; when there is room again everything is written."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount], capture_output=True, check=False)
    require("root", mounted.returncode == 0, "cannot mount a small tmpfs")
    try:
        ballast, path = mount / "ballast", mount / "events.json"
        ballast.write_bytes(b"x" * 150_000)
        exporter = make(FileExporter, path=str(path))
        problems: list[str | None] = []
        exporter.context.report = problems.append
        settled: list[int] = []
        await exporter.start()
        for number in range(20):
            titles = [f"{number}." + "y" * 9_000]
            await exporter.consume(Batch(events(*titles), SCOPE, Delivery(lambda: settled.append(1))))
        for _ in range(200):
            await asyncio.sleep(0.01)
            if problems:
                break
        before = bodies(path)
        assert len(settled) < 20
        ballast.unlink()
        await exporter.shutdown()
        found = bodies(path)
    finally:
        subprocess.run(["umount", mount], check=True)
    assert [body.partition(".")[0] for body in found] == [str(number) for number in range(20)]
    assert before == found[: len(before)]
    assert len(settled) == 20
    assert "No space left on device" in str(problems[0])
    assert problems[1:] == [None]
    assert sum("waiting until it works" in record.message for record in caplog.records) == 1


async def test_what_a_full_disk_kept_out_at_shutdown_stays_unsettled(caplog):
    """A shutdown that is cut short abandons what cannot be written: /dev/full always says no."""
    exporter = make(FileExporter, path="/dev/full")
    settled: list[int] = []
    await exporter.start()
    await exporter.consume(Batch(events("a"), SCOPE, Delivery(lambda: settled.append(1))))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await exporter.shutdown()
    assert not settled
    assert "stopped with 1 events not written" in caplog.text


async def test_what_was_not_written_is_told_in_one_line(caplog):
    """However many batches are left at shutdown, one line has the total and the reason."""
    exporter = make(FileExporter, path="/dev/full")
    await exporter.start()
    for number in range(10):
        await exporter.consume(Batch(events(*(f"{number}.{index}" for index in range(100))), SCOPE))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await exporter.shutdown()
    lines = [record.message for record in caplog.records if "stopped with" in record.message]
    assert lines == ["stopped with 1000 events not written: No space left on device: /dev/full"]


async def test_two_exporters_on_one_path_are_refused(tmp_path):
    """The second does not start, and says why; the first goes on and loses nothing."""
    path = tmp_path / "events.json"
    first, second = (make(FileExporter, path=str(path)) for _ in range(2))
    await first.start()
    with pytest.raises(ComponentError, match=r"^another exporter or agent writes '.*'; give it a path of its own$"):
        await second.start()
    await second.shutdown()
    await first.consume(Batch(events("a"), SCOPE))
    await first.shutdown()
    assert bodies(path) == ["a"]
    await write(path, ["b"])
    assert bodies(path) == ["a", "b"]


async def test_the_examples_of_the_collectors_own_page_are_accepted():
    """Every block that its file exporter's page shows, bare numbers and empty groups included."""
    rotation = {"max_megabytes": 10, "max_days": 3, "max_backups": 3, "localtime": True}
    for block in (
        {"path": "./foo"},
        {"path": "./foo", "rotation": None},
        {"path": "./foo", "rotation": rotation, "format": "proto", "compression": "zstd"},
        {"path": "./foo", "flush_interval": 5},
    ):
        config = FileConfig.model_validate(block)
        jsonschema.validate({**block, "rotation": block.get("rotation") or {}}, FileConfig.model_json_schema())
    assert config.flush_interval == 5.0
    assert FileConfig(path="x", flush_interval="250ms").flush_interval == 0.25
    for wrong in (True, -1, "5", "soon"):
        with pytest.raises(ValidationError, match="flush_interval"):
            FileConfig(path="x", flush_interval=wrong)


async def test_shutdown_without_start_does_nothing():
    """An exporter that was never started shuts down, twice if need be."""
    exporter = make(FileExporter, path="unused")
    await exporter.shutdown()
    await exporter.shutdown()


async def test_a_fifo_can_be_written_to(tmp_path):
    """What is no regular file is neither truncated nor rotated."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await write(path, ["a"], rotation={"max_megabytes": 1})
        assert json.loads(os.read(reader, 65536))
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "expected the path of a file"),
        ({"compression": "gzip"}, "files are compressed with zstd only"),
        ({"encoding": "text_encoding"}, "encoding extensions are not supported"),
        ({"group_by": {"enabled": True}}, "one file for each resource is not supported"),
        ({"directory_permissions": "0755"}, "needs create_directory: true"),
        ({"directory_permissions": "9", "create_directory": True}, "expected an octal mode such as 0755"),
    ],
)
def test_what_cannot_be_honoured_is_refused(options, message):
    """Each refusal says why and what to do."""
    with pytest.raises(ValidationError, match=message):
        make(FileExporter, **{"path": "x"} | options)


async def test_events_come_back_as_they_were(tmp_path):
    """With `format: events` every event is a line in the event JSON form, from which it is read back whole."""
    path = tmp_path / "events.jsonl"
    exporter = make(FileExporter, path=str(path), format="events")
    batch = events("first", "second\nwith another line")
    batch[1].attributes["values"] = [1, float("inf"), b"\xff", {"a": None}]
    await exporter.start()
    await exporter.consume(Batch(batch, SCOPE, Delivery(lambda: None)))
    await exporter.shutdown()
    assert [from_json(line) for line in path.read_bytes().splitlines()] == batch
    assert exporter.context.counters.counts == {"sent": 2}


async def test_an_event_that_json_cannot_hold_does_not_keep_the_others(tmp_path):
    """Values nested without end are left out and counted, and the batch is settled."""
    path = tmp_path / "events.jsonl"
    exporter = make(FileExporter, path=str(path), format="events")
    batch, settled = events("good", "bad", "good too"), []
    value: list = []
    for _ in range(100):
        value = [value]
    batch[1].attributes["deep"] = value
    await exporter.start()
    await exporter.consume(Batch(batch, SCOPE, Delivery(lambda: settled.append(1))))
    await exporter.shutdown()
    assert [from_json(line).title for line in path.read_bytes().splitlines()] == ["good", "good too"]
    assert settled == [1]
    assert (exporter.context.counters.counts["sent"], exporter.context.counters.counts["failed"]) == (2, 1)


def test_events_are_not_compressed():
    """Nothing reads compressed events, so that is refused where it is asked for."""
    with pytest.raises(ValidationError, match="format: events cannot be compressed"):
        FileConfig(path="x", format="events", compression="zstd")
