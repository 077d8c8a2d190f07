"""Option groups: collector blocks validate, and what cannot be honoured is refused with the reason."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from tapio_otel.exporters.otlp import OtlpConfig, OtlpExporter, OtlpGrpcExporter
from tapio_otel.exporters.otlphttp import OtlpHttpConfig, OtlpHttpExporter, OtlpHttpUnderscoreExporter

GRPC_BLOCK = """
endpoint: otelcol:4317
tls:
  insecure: false
  insecure_skip_verify: true
  server_name_override: collector
  ca_file: /etc/ca.pem
  include_system_ca_certs_pool: true
  cert_file: /etc/cert.pem
  key_file: /etc/key.pem
  min_version: "1.2"
  max_version: "1.3"
  reload_interval: 1h
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  curve_preferences: [X25519]
  tpm: {enabled: false}
compression: gzip
timeout: 10s
headers:
  X-Scope-OrgID: 7
  api-key: ${KEY}
keepalive: {time: 30s, timeout: 10s, permit_without_stream: true}
balancer_name: round_robin
wait_for_ready: true
authority: collector.example
user_agent: mine
read_buffer_size: 524288
write_buffer_size: 524288
retry_on_failure:
  enabled: true
  initial_interval: 5s
  randomization_factor: 0.5
  multiplier: 1.5
  max_interval: 30s
  max_elapsed_time: 300s
sending_queue:
  enabled: true
  num_consumers: 10
  queue_size: 100000
  sizer: items
  block_on_overflow: false
  wait_for_result: false
  batch: {flush_timeout: 200ms, min_size: 8192, max_size: 10000, sizer: bytes, partition: {metadata_keys: []}}
"""
HTTP_BLOCK = """
endpoint: https://otelcol:4318
traces_endpoint: https://otelcol:4318/v1/traces
metrics_endpoint: https://otelcol:4318/v1/metrics
profiles_endpoint: https://otelcol:4318/v1development/profiles
logs_endpoint: https://otelcol:4318/v1/logs
encoding: json
proxy_url: http://proxy:3128
tls: {ca_file: /etc/ca.pem}
compression: zstd
compression_params: {level: 5}
timeout: 30s
headers: [{name: api-key, value: x}]
max_idle_conns: 100
max_idle_conns_per_host: 10
max_conns_per_host: 20
idle_conn_timeout: 90s
disable_keep_alives: false
keepalive: {idle_conn_timeout: 60s, max_idle_conns: 5}
force_attempt_http2: true
http2_read_idle_timeout: 10s
http2_ping_timeout: 15s
cookies: {enabled: true}
read_buffer_size: 0
write_buffer_size: 524288
middlewares: []
retry_on_failure: {enabled: false}
sending_queue:
"""


def test_blocks_of_a_collector_configuration_are_valid():
    """Every option of the collector's exporters is known by its name and form."""
    grpc = OtlpConfig(**yaml.safe_load(GRPC_BLOCK))
    assert grpc.headers["X-Scope-OrgID"].get_secret_value() == "7"
    http = OtlpHttpConfig(**yaml.safe_load(HTTP_BLOCK))
    assert http.headers["api-key"].get_secret_value() == "x"
    assert http.sending_queue.num_consumers == 10


def test_the_defaults_are_the_collectors():
    """Retry and queue begin with the collector's values, but for the overflow, which loses nothing."""
    config = OtlpConfig()
    retry, queue = config.retry_on_failure, config.sending_queue
    assert (retry.initial_interval, retry.randomization_factor, retry.multiplier) == (5.0, 0.5, 1.5)
    assert (retry.max_interval, retry.max_elapsed_time) == (30.0, 300.0)
    assert (queue.num_consumers, queue.queue_size, queue.block_on_overflow) == (10, 1000, True)
    assert queue.batch.flush_timeout == 0.2


def test_the_aliases_have_the_same_options():
    """The collector's older and newer names mean the same component."""
    assert OtlpGrpcExporter.Config is OtlpExporter.Config
    assert OtlpHttpUnderscoreExporter.Config is OtlpHttpExporter.Config
    types = (OtlpExporter.type, OtlpGrpcExporter.type, OtlpHttpExporter.type, OtlpHttpUnderscoreExporter.type)
    assert types == ("otlp", "otlp_grpc", "otlphttp", "otlp_http")


def test_headers_are_never_shown():
    """Header values are secrets in every printed form."""
    config = OtlpConfig(headers={"api-key": "hunter2"}, tls={"key_pem": "hunter2", "cert_pem": "x"})
    assert "hunter2" not in repr(config) + str(config) + config.model_dump_json()


COMMON_REFUSALS = [
    ({"sending_queue": {"storage": "File Storage"}}, "'File Storage' is no component id"),
    ({"sending_queue": {"storage": "file_storage", "enabled": False}}, "storage needs the queue: remove enabled: false"),
    ({"sending_queue": {"storage": "file_storage", "wait_for_result": True}}, "wait_for_result is not possible with storage"),
    ({"sending_queue": {"drop_oldest": True, "block_on_overflow": True}}, "drop_oldest and block_on_overflow: true exclude"),
    ({"retry_on_failure": {"dead_letter": {"path": ""}}}, "expected the path of a file"),
    ({"sending_queue": {"batch": {"sizer": "requests"}}}, "a batch is measured in items or bytes"),
    ({"sending_queue": {"batch": {"min_size": 10, "max_size": 5}}}, r"max_size \(5\) must not be below min_size \(10\)"),
    ({"sending_queue": {"batch": {"partition": {"metadata_keys": ["a"]}}}}, "no client metadata to partition by"),
    ({"sending_queue": {"sizer": "items", "queue_size": 5, "batch": {"min_size": 10}}}, r"must not be above queue_size \(5\)"),
    ({"sending_queue": {"num_consumers": 0}}, "greater than or equal to 1"),
    ({"auth": {"authenticator": "oauth2client"}}, "extensions such as 'oauth2client' are not supported: remove auth"),
    ({"middlewares": [{"id": "x"}]}, "middleware extensions are not supported: remove this option"),
    ({"compression": "snappy"}, "compression snappy is not supported: write gzip"),
    ({"compression": "lz4"}, "compression lz4 is not supported"),
    ({"retry_on_failure": {"multiplier": 0.5}}, "greater than or equal to 1"),
    ({"tls": {"min_version": "1.0"}}, "TLS below 1.2 is broken"),
    ({"tls": {"max_version": "2"}}, "expected 1.2 or 1.3"),
    ({"tls": {"min_version": "1.3", "max_version": "1.2"}}, r"min_version \(1.3\) is above max_version \(1.2\)"),
    ({"tls": {"cipher_suites": ["TLS_RSA_WITH_RC4_128_SHA"]}}, "unknown or insecure cipher suite 'TLS_RSA_WITH_RC4_128_SHA'"),
    ({"tls": {"include_insecure_cipher_suites": True}}, "insecure cipher suites are not offered"),
    ({"tls": {"curve_preferences": ["P256", "P384"]}}, "name one, or remove this option"),
    ({"tls": {"curve_preferences": ["P1"]}}, "unknown curve 'P1'"),
    ({"tls": {"tpm": {"enabled": True}}}, "trusted platform module are not supported"),
    ({"tls": {"ca_file": "a", "ca_pem": "b"}}, "both ca_file and ca_pem are given"),
    ({"tls": {"cert_file": "a"}}, "a client certificate needs both cert_file"),
    ({"tls": {"key_pem": "a"}}, "a client certificate needs both cert_file"),
]


@pytest.mark.parametrize("config", [OtlpConfig, OtlpHttpConfig])
@pytest.mark.parametrize(("options", "message"), COMMON_REFUSALS, ids=lambda value: str(value)[:60])
def test_what_cannot_be_honoured_is_refused_with_the_reason(config, options, message):
    """Nothing that changes what happens is silently ignored."""
    with pytest.raises(ValidationError, match=message):
        config(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "zstd"}, "the gRPC library does not offer zstd: write gzip or none, or use the otlphttp exporter"),
        ({"endpoint": "not a host"}, "is no server: write host:port"),
        ({"endpoint": "host:99999"}, "is no server"),
        ({"balancer_name": "ring_hash"}, "expected round_robin or pick_first"),
        ({"dialer": {"id": "x"}}, "dialer extensions are not supported"),
        ({"headers": {"a b": "c"}}, "'a b' is no gRPC metadata name"),
        ({"headers": {"grpc-timeout": "c"}}, "is no gRPC metadata name"),
        ({"endpoint": "http://h:1", "tls": {"ca_file": "x"}}, "in clear text, but tls names certificates"),
    ],
)
def test_what_grpc_cannot_do_is_refused(options, message):
    """The gRPC exporter says what to write instead."""
    with pytest.raises(ValidationError, match=message):
        OtlpConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "otelcol:4318"}, "is no HTTP URL: write http://host:4318 or https://host"),
        ({"logs_endpoint": "ftp://x"}, "is no HTTP URL"),
        ({"proxy_url": "socks5://x:1"}, "only HTTP proxies are supported"),
        ({"headers": {"a": "b\r\nc: d"}}, "is no HTTP header"),
        ({"headers": {"a b": "c"}}, "is no HTTP header"),
        ({"compression_params": {"level": 30}}, "expected a level from 1 to 9"),
        ({"encoding": "xml"}, "'proto' or 'json'"),
    ],
)
def test_what_http_cannot_do_is_refused(options, message):
    """The HTTP exporter says what to write instead."""
    with pytest.raises(ValidationError, match=message):
        OtlpHttpConfig(**options)


@pytest.mark.parametrize("config", [OtlpConfig, OtlpHttpConfig])
def test_every_option_is_described(config):
    """Schema and reference are generated from the models, so every field says what it is."""

    def undescribed(model, path):
        for name, field in model.model_fields.items():
            if not field.description:
                yield f"{path}.{name}"
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                yield from undescribed(field.annotation, f"{path}.{name}")

    assert list(undescribed(config, "")) == []
