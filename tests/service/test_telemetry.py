"""The agent's own counts come from opentelemetry-sdk and add up in the summary."""

from __future__ import annotations

import json
import logging

import pytest

from tapio_otel.component import ComponentId, Kind
from tapio_otel.service import logs
from tapio_otel.service.telemetry import ComponentCounters, Telemetry, summary


def test_counters_carry_the_collectors_names_and_the_summary_reads_them() -> None:
    """What components count is found under the collector's metric names and in one line for people."""
    telemetry = Telemetry("0")
    receiver = ComponentCounters(telemetry, Kind.RECEIVER, ComponentId("journald"))
    exporter = ComponentCounters(telemetry, Kind.EXPORTER, ComponentId("otlp", "main"))
    receiver.add("accepted", 1200)
    exporter.add("sent", 1000)
    exporter.add("failed", 150, reason="permanent")
    exporter.add("failed", 25, reason="rejected")
    exporter.gauge("queue_size", lambda: 25)
    totals = telemetry.totals()
    assert totals == {
        ("otelcol_receiver_accepted_log_records", "journald"): 1200,
        ("otelcol_exporter_sent_log_records", "otlp/main"): 1000,
        ("otelcol_exporter_send_failed_log_records", "otlp/main"): 175,
        ("otelcol_exporter_queue_size", "otlp/main"): 25,
    }
    assert summary(totals, 25, 2.04) == (
        "received 1,200 (journald 1,200), otlp/main sent 1,000, otlp/main failed 175, undelivered 25, in 2.0 s"
    )
    telemetry.shutdown()


def test_a_run_that_received_nothing_says_so() -> None:
    """The summary is one line in any case."""
    assert summary({}, 0, 0.5) == "received 0, undelivered 0, in 0.5 s"


def test_logs_are_text_or_json_one_line_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Both forms carry level and component; a line break in a message does not make a second line."""
    logs.set_up("info", "console")
    log = logging.getLogger("tapio.receivers/journald")
    log.warning("two\nlines %d", 7)
    logs.set_up("error", "json")
    log.warning("not shown")
    log.error("shown")
    text, line = capsys.readouterr().err.splitlines()
    assert text.endswith("Z warning receivers/journald: two\\nlines 7")
    assert {key: value for key, value in json.loads(line).items() if key != "ts"} == {
        "level": "error",
        "component": "receivers/journald",
        "msg": "shown",
    }
    logs.set_up("info", "console").handlers.clear()


@pytest.mark.parametrize("encoding", ["console", "json"])
def test_what_acts_on_a_terminal_is_escaped_in_the_log(capsys, encoding):
    """In messages and in what an exception says: both may hold what somebody else wrote."""
    hostile = "\x1b[2J\x9b31m\u202eevil"
    log = logs.set_up("info", encoding)
    try:
        raise ValueError(hostile)
    except ValueError:
        log.exception("says %s", hostile)
    written = capsys.readouterr().err
    assert written.count("evil") >= 2
    assert not {"\x1b", "\x9b", "\u202e"} & set(written)
    log.handlers.clear()
