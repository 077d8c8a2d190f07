"""Stored events are read as they were written; what is broken is told with its line."""

from __future__ import annotations

import gzip

import pytest

from tapio_otel.event_json import to_json
from tapio_otel.timeline.stored import StoredEventError, read_events
from tests.correlation.incidents import oom, restart


def test_lines_give_events(tmp_path):
    """Packed or not; empty lines are nothing."""
    events = [oom(0), restart(1)]
    text = b"\n\n".join(map(to_json, events)) + b"\n"
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    assert list(read_events(str(tmp_path / "a.jsonl"))) == events
    assert list(read_events(str(tmp_path / "a.jsonl.gz"))) == events


@pytest.mark.parametrize(("content", "message"), [(b"\n{}\n", "a:2: event: 'id' is missing"), (b"x\n", "a:1: not JSON")])
def test_a_broken_line_is_told(tmp_path, content, message):
    """With its number."""
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StoredEventError) as raised:
        list(read_events(str(tmp_path / "a")))
    assert message in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    """With its path."""
    with pytest.raises(StoredEventError, match="none: cannot be read: No such file"):
        list(read_events(str(tmp_path / "none")))
