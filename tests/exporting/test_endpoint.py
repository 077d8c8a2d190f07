"""The forms of endpoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.exporting.endpoint import GrpcTarget, parse_grpc, parse_http, without_credentials


@pytest.mark.parametrize(
    ("endpoint", "target", "secure"),
    [
        ("otelcol:4317", "dns:///otelcol:4317", None),
        ("otelcol", "dns:///otelcol:4317", None),
        ("http://otelcol:1", "dns:///otelcol:1", False),
        ("HTTPS://otelcol/", "dns:///otelcol:4317", True),
        ("dns:///otelcol:1", "dns:///otelcol:1", None),
        ("dns://8.8.8.8/otelcol:1", "dns://8.8.8.8/otelcol:1", None),
        ("passthrough:///otelcol:1", "dns:///otelcol:1", None),
        ("[::1]:4317", "dns:///[::1]:4317", None),
        ("http://[fe80::1%eth0]:1", "dns:///[fe80::1%eth0]:1", False),
        ("unix:///run/c.sock", "unix:/run/c.sock", None),
        ("unix:run/c.sock", "unix:run/c.sock", None),
        ("unix-abstract:c", "unix-abstract:c", None),
    ],
)
def test_grpc_endpoints(endpoint, target, secure):
    """Every documented form leads to what the channel is opened with."""
    parsed = parse_grpc(endpoint)
    assert (parsed.target, parsed.secure) == (target, secure)


@pytest.mark.parametrize(
    "endpoint", ["", "a b", "host:port", "host:0", "host:70000", "::1:4317", "ftp://x", "unix:", "http://"]
)
def test_what_is_no_grpc_server_is_refused_with_the_forms(endpoint):
    """The error shows what was found and what to write."""
    with pytest.raises(ValueError, match=r"write host:port|write unix:///"):
        parse_grpc(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "complete", "url"),
    [
        ("http://h:4318", False, "http://h:4318/v1/logs"),
        ("http://h:4318/", False, "http://h:4318/v1/logs"),
        ("https://h/otlp/?k=v", False, "https://h/otlp/v1/logs?k=v"),
        ("https://h/own/path", True, "https://h/own/path"),
        ("https://h", True, "https://h/"),
    ],
)
def test_http_endpoints(endpoint, complete, url):
    """The path of the signal is added to base endpoints only."""
    assert parse_http(endpoint, complete) == url


@pytest.mark.parametrize("endpoint", ["", "h:4318", "//h", "ftp://h", "http://", "http://h:x", "http://h:99999"])
def test_what_is_no_url_is_refused_with_the_form(endpoint):
    """The error shows what was found and what to write."""
    with pytest.raises(ValueError, match="is no HTTP URL: write http://host:4318"):
        parse_http(endpoint, False)


def test_credentials_are_not_shown():
    """User and password of a URL stay out of messages."""
    assert without_credentials("https://user:pass@h/x") == "https://***@h/x"
    with pytest.raises(ValueError, match=r"\*\*\*@") as caught:
        parse_grpc("https://user:secret@h:1:2")
    assert "secret" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_target_or_a_clear_error(text):
    """No text makes the parsers fail otherwise."""
    for parse in (parse_grpc, lambda value: parse_http(value, False)):
        try:
            assert isinstance(parse(text), GrpcTarget | str)
        except ValueError as error:
            assert "write" in str(error)
