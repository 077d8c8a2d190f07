"""The members that a finding brings for traces: shown by no other exporter, kept by no store, still there afterwards."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tapio_otel.cli import replay
from tapio_otel.component import Batch, Scope
from tapio_otel.event import EventType, Origin
from tapio_otel.event_store.record import Encoder
from tapio_otel.exporters.debug import DebugExporter
from tapio_otel.exporters.file import FileExporter
from tapio_otel.extensions.ui.live import LiveEvents, Place
from tapio_otel.otlp.members import without_members
from tapio_otel.otlp.semconv import EMIT_TRACE
from tapio_otel.otlp.wire import RequestBuilder
from tapio_otel.timeline.index import EventIndex
from tests.components import SCOPE, make
from tests.otlp.incidents import finding


async def test_no_other_exporter_shows_the_members(tmp_path, capfd):
    """The file exporter in every format, and debug with all its details."""
    path = tmp_path / "out"
    exporters = [
        make(FileExporter, path=str(path)),
        make(FileExporter, path=f"{path}.pb", format="proto"),
        make(FileExporter, path=f"{path}.jsonl", format="events"),
        make(DebugExporter, verbosity="detailed", output_paths=["stdout"]),
    ]
    for one in exporters:
        await one.start()
        await one.consume(Batch([finding()], SCOPE))
        await one.shutdown()
    written = [*(path.with_suffix(end).read_bytes() for end in ("", ".pb", ".jsonl")), capfd.readouterr().out.encode()]
    assert all(b"oom_cascade" in text and EMIT_TRACE.encode() not in text for text in written)


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("has_origin", [False, True])
def test_whoever_keeps_findings_as_events_keeps_no_members(is_shared, has_origin):
    """They were told one by one. The finding itself still has them; what has none is not copied."""
    one = finding()
    if has_origin:
        told = dict(one.attributes)
        one.shared, one.own = Origin(one.entity, told if is_shared else {}), {} if is_shared else told
    shown = without_members(one)
    assert shown.get(EMIT_TRACE) is None
    assert (shown.get("rule"), shown.id, len(one.get(EMIT_TRACE))) == ("oom_cascade", one.id, 5)
    assert without_members(shown) is shown
    (record,), refused = Encoder().records([one])
    assert (EMIT_TRACE in record.own, "oom_cascade" in record.own, refused) == (False, True, 0)


def test_neither_a_replay_nor_a_timeline_nor_a_viewer_shows_the_members(capsys):
    """They write findings as event JSON."""
    replay._print([finding()])
    index = EventIndex()
    index.add([finding()])
    (shown,) = LiveEvents(1)._message("finding", finding(), Place(0, 1))
    texts = [capsys.readouterr().out.encode(), *index._young._loose_texts.values(), shown]
    assert len(texts) == 3
    assert all(b"oom_cascade" in text and EMIT_TRACE.encode() not in text for text in texts)


def test_findings_still_carry_their_members_after_export():
    """Exporters must not change events: another pipeline may hold them."""
    one = finding()
    builder = RequestBuilder()
    builder.add([one], Scope("x", "1"))
    assert len(ExportLogsServiceRequest.FromString(builder.build()).resource_logs) == 1
    assert one.type == EventType.CORRELATION
    assert len(one.attributes[EMIT_TRACE]) == 5
