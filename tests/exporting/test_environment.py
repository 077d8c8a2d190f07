"""The standard variables as defaults."""

from __future__ import annotations

import os

import pytest

from tapio_otel.component import ComponentError
from tapio_otel.exporting.environment import resolve
from tapio_otel.exporting.options import Compression, NetworkExporterConfig


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def test_without_variables_the_defaults_stand():
    """No endpoint, gzip, no headers, the exporter's own timeout."""
    target = resolve(NetworkExporterConfig(), None, 5.0)
    assert (target.endpoint, target.is_complete, target.headers, target.timeout) == ("", False, {}, 5.0)
    assert target.compression is Compression.GZIP
    assert not target.tls.insecure


def test_options_go_before_variables(monkeypatch):
    """What the configuration says is not changed by the environment; headers are joined."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/other.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=2")
    config = NetworkExporterConfig(endpoint="mine:1", compression="gzip", headers={"b": "3"}, tls={"ca_file": "/mine.pem"})
    target = resolve(config, 7.0, 5.0)
    assert (target.endpoint, target.timeout, target.compression) == ("mine:1", 7.0, Compression.GZIP)
    assert (target.tls.insecure, target.tls.ca_file) == (False, "/mine.pem")
    assert target.headers == {"a": "1", "b": "3"}


def test_the_logs_variants_go_before_the_general_ones(monkeypatch):
    """OTEL_EXPORTER_OTLP_LOGS_* decide where both are set."""
    for name, value in (("ENDPOINT", "http://x"), ("TIMEOUT", "1500"), ("HEADERS", "k=%20v"), ("INSECURE", "TRUE")):
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", "unused")
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_LOGS_{name}", value)
    for name in ("CLIENT_CERTIFICATE", "CLIENT_KEY"):
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", f"/{name}")
    target = resolve(NetworkExporterConfig(), None, 5.0)
    assert (target.endpoint, target.is_complete, target.timeout, target.headers) == ("http://x", True, 1.5, {"k": " v"})
    assert (target.tls.insecure, target.tls.cert_file, target.tls.key_file) == (True, "/CLIENT_CERTIFICATE", "/CLIENT_KEY")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT is '10s': expected a number of milliseconds"),
        ("COMPRESSION", "brotli", "OTEL_EXPORTER_OTLP_COMPRESSION is 'brotli': expected gzip, zstd or none"),
        ("HEADERS", "secret", "OTEL_EXPORTER_OTLP_HEADERS is not of the form key1=value1"),
        ("CLIENT_KEY", "/k", "go together: set both or neither"),
    ],
)
def test_variables_that_cannot_be_read_are_named(monkeypatch, name, value, message):
    """The error names the variable and what to write; header values are not shown."""
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    with pytest.raises(ComponentError, match=message) as caught:
        resolve(NetworkExporterConfig(), None, 5.0)
    assert "secret" not in str(caught.value)
