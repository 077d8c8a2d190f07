"""What servers answer, read without ever failing."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.exporting.responses import read_answer, read_error, retry_after, retry_info
from tapio_otel.exporting.retry import Answer
from tests.exporting.servers import partial


def packed(message) -> any_pb2.Any:
    """Return a message as a detail of a status."""
    result = any_pb2.Any()
    result.Pack(message)
    return result


def test_retry_info_is_found_among_other_details():
    """The seconds and nanoseconds of google.rpc.RetryInfo."""
    delay = duration_pb2.Duration(seconds=2, nanos=500_000_000)
    details = [packed(error_details_pb2.DebugInfo()), packed(error_details_pb2.RetryInfo(retry_delay=delay))]
    assert retry_info(status_pb2.Status(details=details).SerializeToString()) == 2.5
    assert retry_info(status_pb2.Status(details=details[:1]).SerializeToString()) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120.0), (" 0 ", 0.0), (None, None), ("", None), ("-1", None), ("soon", None), ("1.5", None), ("²", None)],
)
def test_retry_after_in_seconds(value, seconds):
    """Whole seconds count; anything unreadable is as if it were not there."""
    assert retry_after(value) == seconds


def test_retry_after_as_a_date():
    """An HTTP date counts from now; one in the past means at once."""
    date = format_datetime(datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC), usegmt=True)
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC).timestamp()
    assert retry_after(date, now) == 30.0
    assert retry_after(date, now + 100) == 0.0


def test_partial_success_is_read_in_both_encodings():
    """Protobuf and JSON; nothing means full success."""
    assert read_answer(partial(3, "old").SerializeToString()) == Answer(3, "old")
    assert read_answer(b'{"partialSuccess": {"rejectedLogRecords": "3", "errorMessage": "old"}, "new": 1}', True) == Answer(
        3, "old"
    )
    assert read_answer(b"") == read_answer(b"{}", True) == Answer()


@given(st.binary(max_size=200), st.booleans(), st.sampled_from(["application/x-protobuf", "application/json", "text/html", ""]))
def test_no_answer_is_too_strange(body, is_json, kind):
    """Whatever bytes a server sends, reading them ends well and yields one printable line."""
    assert read_answer(body, is_json).rejected >= 0
    assert read_error(body, kind).isprintable()
    assert retry_info(body) is None or retry_info(body) >= 0


@given(st.text(max_size=60))
def test_no_retry_after_is_too_strange(value):
    """Any header is seconds or nothing."""
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0
