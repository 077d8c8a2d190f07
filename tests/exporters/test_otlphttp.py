"""`otlphttp` against a real HTTP server that fails in every way."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.component import ComponentError
from tapio_otel.exporters.otlphttp import OtlpHttpExporter, OtlpHttpUnderscoreExporter
from tests.components import make
from tests.exporters.test_otlp import FAST_RETRY, Sent, export
from tests.exporting.certificates import Authority
from tests.exporting.servers import HttpServer, Step

RETRYABLE = [429, 502, 503, 504]
PERMANENT = [400, 401, 403, 404, 405, 408, 413, 415, 500, 501, 505]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """Keep the machine's proxies out."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def exporter(endpoint: str, **options):
    """Return an exporter that tries again at once."""
    return make(OtlpHttpExporter, **{"endpoint": endpoint, "retry_on_failure": FAST_RETRY} | options)


@pytest.mark.parametrize("encoding", ["proto", "json"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_events_arrive_once_in_every_encoding_and_compression(encoding, compression):
    """Small and large requests arrive whole, are counted and settle their batch once."""
    titles = [f"{number} žluťoučký \U0001f40e" for number in range(2000)]
    async with HttpServer() as server:
        running = exporter(server.url, encoding=encoding, compression=compression)
        sent = await export(running, *titles)
        small = await export(exporter(server.url, encoding=encoding, compression=compression), "small")
    assert server.received.bodies == dict.fromkeys([*titles, "small"], 1)
    assert (sent.settled, small.settled) == ([1], [1])
    assert running.context.counters.counts["sent"] == 2000
    headers = server.received.headers[0]
    assert headers["Content-Type"] == {"proto": "application/x-protobuf", "json": "application/json"}[encoding]
    assert headers.get("Content-Encoding") == {"none": None}.get(compression, compression)
    assert headers["User-Agent"].startswith("tapio-otel/")


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_a_compression_level_can_be_chosen(compression, level):
    """compression_params.level is honoured by both algorithms."""
    async with HttpServer() as server:
        running = exporter(server.url, compression=compression, compression_params={"level": level})
        await export(running, *map(str, range(1000)))
    assert len(server.received.records) == 1000


@pytest.mark.parametrize("options", [{}, {"tls": {"insecure_skip_verify": True}}], ids=["plain", "tls"])
async def test_requests_of_megabytes_arrive_whole(options, tmp_path):
    """Uncompressed requests near the size limit, in clear text and encrypted."""
    identity = Authority(tmp_path).issue("server") if options else None
    titles = [f"{number}:{'x' * 10_000}" for number in range(1000)]
    async with HttpServer(tls=identity) as server:
        await export(exporter(server.url, compression="none", **options), *titles)
    assert server.received.bodies == dict.fromkeys(titles, 1)
    assert max(server.received.sizes) > 2_500_000
    assert {int(headers["Content-Length"]) for headers in server.received.headers} == set(server.received.sizes)


async def test_credentials_in_the_endpoint_become_basic_authentication(caplog):
    """User and password of a URL are sent as a header, and shown nowhere."""
    async with HttpServer(Step(400, "no")) as server:
        await export(exporter(f"http://user:hunter2@localhost:{server.port}"), "a")
    assert server.received.headers[0]["Authorization"].startswith("Basic ")
    assert "hunter2" not in caplog.text


async def test_a_base_endpoint_gets_the_path_and_a_logs_endpoint_is_taken_as_it_is():
    """/v1/logs is added to endpoint only."""
    async with HttpServer() as server:
        await export(exporter(server.url), "a")
        await export(exporter(f"{server.url}/base/"), "b")
        await export(exporter("", logs_endpoint=f"{server.url}/exactly/this"), "c")
    assert server.paths == ["/v1/logs", "/base/v1/logs", "/exactly/this"]


async def test_configured_headers_replace_our_own():
    """Headers, also Host and User-Agent, are the user's to choose."""
    async with HttpServer() as server:
        running = exporter(server.url, headers={"Authorization": "Bearer x", "user-agent": "mine", "Host": "elsewhere"})
        await export(running, "a")
    (headers,) = server.received.headers
    assert (headers["Authorization"], headers["User-Agent"], headers["Host"]) == ("Bearer x", "mine", "elsewhere")


@pytest.mark.parametrize("status", RETRYABLE)
async def test_statuses_that_may_pass_are_tried_again(status):
    """The specification's retryable statuses lose nothing."""
    async with HttpServer(Step(status, "busy"), Step(status, "busy")) as server:
        sent = await export(exporter(server.url), "a")
    assert server.received.bodies == {"a": 1}
    assert server.received.attempts == 3
    assert sent.settled == [1]


@pytest.mark.parametrize("status", PERMANENT)
async def test_statuses_that_never_pass_are_counted_and_not_tried_again(status, caplog):
    """A permanent status drops the request, counts it, settles the batch and logs the server's words."""
    async with HttpServer(Step(status, "I will\x1b[2J not\nreally" + "x" * 5000)) as server:
        running = exporter(server.url)
        sent = await export(running, "a", "b")
    assert server.received.attempts == 1
    assert sent.settled == [1]
    assert running.context.counters.counts["failed:permanent"] == 2
    (line,) = [record.message for record in caplog.records if "refused" in record.message]
    assert f"refused 2 events for good: HTTP {status}" in line
    assert "I will\\x1b[2J not really" in line
    assert len(line) < 600


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
async def test_the_words_of_a_status_message_are_logged(kind, caplog):
    """An error answer's google.rpc.Status is read in both encodings."""
    body = {
        "application/x-protobuf": status_pb2.Status(message="no such tenant").SerializeToString(),
        "application/json": json.dumps({"code": 3, "message": "no such tenant"}).encode(),
    }[kind]
    async with HttpServer(Step(400, body=body, content_type=kind)) as server:
        await export(exporter(server.url), "a")
    assert "Bad Request: no such tenant" in caplog.text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_refused_and_named(status, caplog):
    """A redirect is not followed: the log says where it points and what to do."""
    step = Step(status, headers={"Location": "http://user:secret@elsewhere/"})
    async with HttpServer(step) as server:
        running = exporter(server.url)
        await export(running, "a")
    assert server.received.attempts == 1
    assert running.context.counters.counts["failed:permanent"] == 1
    assert "it redirects to http://***@elsewhere/; redirects are not followed: correct endpoint" in caplog.text


@pytest.mark.parametrize("encoding", ["proto", "json"])
async def test_partial_success_is_counted_and_not_sent_again(encoding, caplog):
    """Records that the server rejects are failed, the others sent, in both encodings."""
    async with HttpServer(Step(rejected=2, words="too old")) as server:
        running = exporter(server.url, encoding=encoding)
        sent = await export(running, "a", "b", "c")
    counts = running.context.counters.counts
    assert (counts["sent"], counts["failed"], counts["failed:rejected"]) == (1, 2, 2)
    assert server.received.attempts == 1
    assert sent.settled == [1]
    assert "rejected 2 of 3 events: too old" in caplog.text


BREAKS = {"cut": Step(close=True), "hang": Step(hang=True, status=503), "lost": Step(close=True, keep=True)}


@pytest.mark.parametrize("step", BREAKS.values(), ids=BREAKS)
async def test_connections_that_break_are_tried_again(step):
    """A connection cut before the answer, or that never answers, loses nothing."""
    async with HttpServer(step) as server:
        sent = await export(exporter(server.url, timeout="300ms"), "a")
    assert set(server.received.bodies) == {"a"}
    assert sent.settled == [1]


async def test_a_server_that_is_down_for_a_while_gets_everything(caplog):
    """Nothing is lost while nobody listens; one line says so, one that it works again."""
    async with HttpServer() as server:
        await server._site.stop()
        running = exporter(server.url)
        sent = Sent()
        await running.start()
        await running.consume(sent.batch("a"))
        await asyncio.sleep(0.4)
        await server.listen()
        await running.shutdown()
    assert server.received.bodies == {"a": 1}
    assert sent.settled == [1]
    assert sum("cannot send to" in record.message for record in caplog.records) == 1
    assert sum("works again" in record.message for record in caplog.records) == 1


async def test_retry_after_is_waited_for_but_not_at_shutdown():
    """A server that asks for an hour is asked once more at once when the agent shuts down."""
    async with HttpServer(Step(429, retry_after="3600")) as server:
        running = exporter(server.url, retry_on_failure={"max_elapsed_time": 0})
        sent = Sent()
        await running.start()
        await running.consume(sent.batch("a"))
        await server.received.until(1)
        await asyncio.sleep(0.1)
        assert server.received.attempts == 1
        await running.shutdown()
    assert server.received.bodies == {"a": 1}
    assert sent.settled == [1]


async def test_a_wait_beyond_max_elapsed_time_gives_up_at_once():
    """Where the server asks for longer than the retries may last, there is no point in waiting."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    async with HttpServer(Step(503, retry_after=later)) as server:
        running = exporter(server.url)
        await export(running, "b")
    assert running.context.counters.counts["failed:retries_exhausted"] == 1


async def test_connections_are_kept_open_or_not_as_configured():
    """Requests share a connection; with disable_keep_alives each has its own."""
    for options, expected in (({}, 1), ({"disable_keep_alives": True}, 3), ({"keepalive": {"enabled": False}}, 3)):
        async with HttpServer() as server:
            running = exporter(server.url, sending_queue={"wait_for_result": True}, **options)
            sent = Sent()
            await running.start()
            for title in "abc":
                await running.consume(sent.batch(title))
            await running.shutdown()
        assert len(server.connections) == expected, options


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"min_version": "1.3"},
        {"max_version": "1.2"},
        {"curve_preferences": ["P256"]},
        {"include_system_ca_certs_pool": True},
    ],
    ids=str,
)
async def test_tls_with_a_private_authority_and_a_client_certificate(extra, tmp_path):
    """mTLS with each of the further options."""
    authority = Authority(tmp_path)
    client = authority.issue("client")
    async with HttpServer(tls=authority.issue("server"), clients=authority) as server:
        tls = {"ca_pem": authority.pem.decode(), "cert_pem": client.certificate.decode(), "key_file": client.key_file} | extra
        sent = await export(exporter(server.url, tls=tls), "a")
    assert server.received.bodies == {"a": 1}
    assert sent.settled == [1]


async def test_a_certificate_that_does_not_verify_sends_nothing_unless_told_to(tmp_path, caplog):
    """Unknown authorities are refused; insecure_skip_verify accepts them."""
    authority = Authority(tmp_path)
    async with HttpServer(tls=authority.issue("server", ("elsewhere",))) as server:
        limited = FAST_RETRY | {"max_elapsed_time": "50ms"}
        refused = exporter(server.url, retry_on_failure=limited)
        await export(refused, "no")
        assert refused.context.counters.counts["failed:retries_exhausted"] == 1
        await export(exporter(server.url, tls={"insecure_skip_verify": True}), "yes")
        tls = {"ca_file": authority.file, "server_name_override": "elsewhere"}
        await export(exporter(server.url, tls=tls), "override")
    assert set(server.received.bodies) == {"yes", "override"}
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


async def test_a_replaced_client_certificate_is_read_again(tmp_path):
    """With reload_interval a new certificate is used without a restart; one that does not fit is not."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new", "new authority")
    stale, fresh = old.issue("client"), new.issue("client")
    server_identity = new.issue("server")
    async with HttpServer(tls=server_identity, clients=new) as server:
        tls = {"ca_file": new.file, "cert_file": stale.cert_file, "key_file": stale.key_file, "reload_interval": "1ms"}
        running = exporter(server.url, tls=tls)
        sent = Sent()
        await running.start()
        await running.consume(sent.batch("a"))
        await asyncio.sleep(0.1)
        for path, content in ((stale.cert_file, fresh.certificate), (stale.key_file, fresh.key)):
            Path(path).write_bytes(content)
        await running.shutdown()
    assert server.received.bodies == {"a": 1}


async def test_the_standard_variables_stand_in_for_options(monkeypatch):
    """Endpoint, headers, timeout and compression come from the environment where the configuration is silent."""
    async with HttpServer() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,x=1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5000")
        await export(make(OtlpHttpExporter, headers={"X": "2"}), "a")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{server.url}/whole")
        await export(make(OtlpHttpUnderscoreExporter), "b")
    assert server.paths == ["/v1/logs", "/whole"]
    headers = server.received.headers[0]
    assert headers["Api-Key" if "Api-Key" in headers else "api-key"] == "a b"
    assert "Content-Encoding" not in headers
    assert [value for name, value in headers.items() if name.lower() == "x"] == ["2"]


async def test_an_unusable_variable_is_named_at_the_start(monkeypatch):
    """The error names the variable, the value and what to write."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
    with pytest.raises(
        ComponentError, match=r"'collector:4318' is no HTTP URL: write http://host:4318.*OTEL_EXPORTER_OTLP_ENDPOINT"
    ):
        await make(OtlpHttpExporter).start()


async def test_a_proxy_carries_the_requests(monkeypatch):
    """proxy_url, and HTTP_PROXY with NO_PROXY, decide where requests go first."""
    async with HttpServer() as proxy:
        await export(exporter("http://backend.example:1234", proxy_url=f"http://127.0.0.1:{proxy.port}"), "configured")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        await export(exporter("http://backend.example:1234"), "environment")
        monkeypatch.setenv("NO_PROXY", "localhost")
        async with HttpServer() as server:
            await export(exporter(server.url), "direct")
    assert set(proxy.received.bodies) == {"configured", "environment"}
    assert set(server.received.bodies) == {"direct"}


FAULTS = st.one_of(
    st.sampled_from([Step(status) for status in RETRYABLE]),
    st.sampled_from([Step(400), Step(500), Step(302)]),
    st.just(Step()),
    st.just(Step(rejected=1, words="no")),
    st.just(Step(close=True)),
    st.just(Step(503, keep=True)),
)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(FAULTS, max_size=12), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), consumers=st.integers(1, 4)
)
def test_whatever_the_server_does_every_event_is_accounted_for(steps, sizes, consumers):
    """Whatever the server answers: each event is received or counted as failed, and each batch settles exactly once."""
    asyncio.run(_account(steps, sizes, consumers))


async def _account(steps, sizes, consumers):
    async with HttpServer(*steps) as server:
        queue = {"num_consumers": consumers, "batch": {"min_size": 5, "max_size": 5}}
        running = exporter(server.url, sending_queue=queue)
        sent = Sent()
        await running.start()
        for number, size in enumerate(sizes):
            await running.consume(sent.batch(*(f"{number}.{index}" for index in range(size))))
        await running.shutdown()
    counts = running.context.counters.counts
    total = sum(sizes)
    assert counts["sent"] + counts["failed"] == total
    assert len(server.received.bodies) + counts["failed:permanent"] >= total
    assert sent.settled == [1] * len(sizes)
