"""`ui`: its options, times and parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from pydantic import ValidationError

from tapio_otel.event_json import _parse_time
from tapio_otel.extensions.ui import UiConfig
from tapio_otel.extensions.ui.config import Endpoint
from tapio_otel.extensions.ui.errors import ApiError
from tapio_otel.extensions.ui.moments import EARLIEST, LATEST, format_moment, parse_moment
from tapio_otel.extensions.ui.parameters import EVENTS, ONE_TIMELINE, read_query
from tests.extensions.ui_agent import TOKEN

MINUTE = 60 * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:8321", "127.0.0.1", 8321, True),
        ("127.8.0.1:1", "127.8.0.1", 1, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:8321", "::1", 8321, True),
        (":8321", "", 8321, False),
        ("0.0.0.0:8321", "0.0.0.0", 8321, False),
        ("[::]:8321", "::", 8321, False),
        ("Node-1.example:80", "node-1.example", 80, False),
    ],
)
def test_an_endpoint_is_split(text, host, port, is_loopback):
    """Host, port, and whether only this machine reaches it."""
    found = Endpoint.parse(text)
    assert (found.host, found.port, found.is_loopback) == (host, port, is_loopback)


@pytest.mark.parametrize("text", ["", "8321", "localhost", "::1:8321", "a:b", "a:65536", "http://a:1", "a/b:1", "a b:1", "a:١"])
def test_an_endpoint_that_is_none_is_refused(text):
    """The message says what to write."""
    with pytest.raises(ValidationError, match=r"write host:port"):
        UiConfig(endpoint=text)


@pytest.mark.parametrize("endpoint", ["0.0.0.0:8321", ":8321", "[::]:1", "10.0.0.1:80", "node-1:8321"])
def test_listening_beyond_this_machine_needs_a_token(endpoint):
    """Without one the configuration is wrong, and says how to make one."""
    with pytest.raises(ValidationError, match=r"can be reached from elsewhere: set token \(make one with `openssl rand"):
        UiConfig(endpoint=endpoint)
    assert UiConfig(endpoint=endpoint, token=TOKEN).endpoint == endpoint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "short"}, "expected 16 or more ASCII characters"),
        ({"token": "with spaces in between"}, "expected 16 or more ASCII characters"),
        ({"tls": {"cert_file": "/a"}}, "needs both cert_file and key_file"),
        ({"trace_url": "https://traces.example/"}, r"with \{trace_id\} in it"),
        ({"trace_url": "javascript:alert('{trace_id}')"}, "expected a http or https URL"),
        ({"allowed_hosts": ["https://a"]}, "expected host names without scheme"),
        ({"allowed_hosts": ["*"]}, "expected host names without scheme"),
        ({"max_queries": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    """The message says what is expected."""
    with pytest.raises(ValidationError, match=words):
        UiConfig(**options)


@given(st.integers(EARLIEST, LATEST))
def test_a_time_written_is_the_time_read(nanoseconds):
    """What answers say can be asked for."""
    assert parse_moment(format_moment(nanoseconds), 0) == nanoseconds


@given(st.datetimes(timezones=st.timezones()).map(lambda one: one.isoformat(timespec="microseconds")))
def test_times_of_any_zone_are_those_of_events(text):
    """The same text means the same in a request and in an event."""
    if len(text) != 32:  # zones of long ago have seconds
        return
    assert parse_moment(text, 0) == min(max(_parse_time(text, ""), EARLIEST), LATEST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("now", 0), ("-15m", -15 * MINUTE), ("-1h30m", -90 * MINUTE), ("-0.5m", -MINUTE // 2), ("-1ns", -1)],
)
def test_relative_times_count_from_now(text, expected):
    """A duration before now."""
    assert parse_moment(text, 7 * MINUTE) == 7 * MINUTE + expected


@pytest.mark.parametrize(
    "text",
    ["", "15m", "-15", "-", "now ", "yesterday", "2026-01-31", "2026-13-01T00:00:00Z", "2026-01-31T12:00:00", "-1h\n",
     "2026-01-31T12:00:00+24:00", "-" + "9" * 500 + "h", "２０２６-01-31T12:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text):
    """The message says what to write."""
    with pytest.raises(ValueError, match="write a time in RFC 3339 such as"):
        parse_moment(text, 0)


@given(st.text())
def test_any_text_is_a_time_or_refused(text):
    """Nothing but a ValueError comes of it, and times stay within what a store holds."""
    try:
        assert EARLIEST <= parse_moment(text, 0) <= LATEST
    except ValueError as error:
        assert "write a time" in str(error)


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ([("sevrity", "error")], "sevrity", "there is no parameter 'sevrity': did you mean severity?"),
        ([("severity", "bad")], "severity", "severity: found 'bad': write one of debug, info"),
        ([("severity", "error"), ("severity", "info")], "severity", "give it once"),
        ([("limit", "0")], "limit", "write a whole number from 1 to 10000"),
        ([("limit", "10001")], "limit", "write a whole number"),
        ([("limit", "-1")], "limit", "write a whole number"),
        ([("limit", "٥")], "limit", "write a whole number"),
        ([("limit", "1e3")], "limit", "write a whole number"),
        ([("since", "soon")], "since", "since: found 'soon': write a time"),
        ([("since", "now"), ("until", "-1h")], "since", "is later than until"),
        ([("trace_id", "ABC")], "trace_id", "write 32 hex digits in lower case"),
        ([("trace_id", "a" * 32 + "\n")], "trace_id", "write 32 hex digits"),
        ([("text", "x" * 1001)], "text", "write at most 1000 characters"),
        ([("type", "x" * 101)], "type", "at most 100 characters"),
        ([("order", "up")], "order", "write one of desc, asc"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(query, field, words):
    """The error names the parameter, what was found, and what to write."""
    with pytest.raises(ApiError) as caught:
        read_query(EVENTS, MultiDict(query))
    assert (caught.value.status, caught.value.field) == (400, field)
    assert words in caught.value.message


def test_types_are_given_several_times_or_with_commas():
    """Both ways mean the same."""
    for query in ([("type", "a"), ("type", "b")], [("type", "a,b")]):
        assert read_query(EVENTS, MultiDict(query))["type"] == ("a", "b")


def test_a_window_is_a_duration():
    """Without a sign, and never now."""
    assert read_query(ONE_TIMELINE, MultiDict(window="1h30m"))["window"] == 90 * MINUTE
    for wrong in ("-1h", "now", "", "1h\n"):
        with pytest.raises(ApiError, match="write a duration"):
            read_query(ONE_TIMELINE, MultiDict(window=wrong))
