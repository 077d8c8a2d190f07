"""`otlp` against a real gRPC server that fails in every way."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapio_otel.component import Batch, ComponentError, Delivery
from tapio_otel.exporters.otlp import OtlpExporter, OtlpGrpcExporter
from tapio_otel.exporters.otlphttp import OtlpHttpExporter
from tests.components import SCOPE, events, make
from tests.exporting.certificates import Authority
from tests.exporting.servers import GrpcServer, HttpServer, Step, TcpProxy

FAST_RETRY = {"initial_interval": "1ms", "max_interval": "2ms"}
RETRYABLE = ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
PERMANENT = [
    *("UNKNOWN", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED"),
    *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "UNIMPLEMENTED", "INTERNAL"),
]


class Sent:
    """Batches handed to an exporter, and how often each was settled."""

    def __init__(self) -> None:
        self.settled: list[int] = []

    def batch(self, *titles: str) -> Batch:
        number = len(self.settled)
        self.settled.append(0)

        def settle() -> None:
            self.settled[number] += 1

        return Batch(events(*titles), SCOPE, Delivery(settle))


def exporter(endpoint: str, **options):
    """Return an exporter that tries again at once."""
    return make(OtlpExporter, **{"endpoint": endpoint, "retry_on_failure": FAST_RETRY} | options)


async def export(running, *titles: str) -> Sent:
    """Start the exporter, send one batch and shut it down."""
    sent = Sent()
    await running.start()
    await running.consume(sent.batch(*titles))
    await running.shutdown()
    return sent


async def test_events_arrive_once_and_are_settled():
    """What is consumed arrives, is counted and settles its batch once."""
    async with GrpcServer() as server:
        running = exporter(f"http://127.0.0.1:{server.port}")
        sent = await export(running, "a", "b", "c")
    assert server.received.bodies == {"a": 1, "b": 1, "c": 1}
    assert sent.settled == [1]
    assert running.context.counters.counts["sent"] == 3


@pytest.mark.parametrize("compression", ["gzip", "none"])
async def test_requests_say_who_sends_them(compression):
    """The user agent, the configured headers and the compression travel with the request."""
    async with GrpcServer() as server:
        running = exporter(
            f"http://127.0.0.1:{server.port}", compression=compression, headers={"X-Tenant": "blue", "X-Count": 3}
        )
        await export(running, *map(str, range(500)))
    (headers,) = server.received.headers
    assert headers["user-agent"].startswith("tapio-otel/")
    assert (headers["x-tenant"], headers["x-count"]) == ("blue", "3")
    assert len(server.received.records) == 500


@pytest.mark.parametrize("code", RETRYABLE)
async def test_codes_that_may_pass_are_tried_again(code):
    """The specification's retryable codes lose nothing."""
    async with GrpcServer(Step(code, "not now"), Step(code, "not now")) as server:
        running = exporter(f"http://127.0.0.1:{server.port}")
        sent = await export(running, "a")
    assert server.received.bodies == {"a": 1}
    assert server.received.attempts == 3
    assert sent.settled == [1]


@pytest.mark.parametrize("code", PERMANENT)
async def test_codes_that_never_pass_are_counted_and_not_tried_again(code, caplog):
    """A permanent code drops the request, counts it, settles the batch and logs the server's words."""
    async with GrpcServer(Step(code, "I will\x1b[2J not")) as server:
        running = exporter(f"http://127.0.0.1:{server.port}")
        sent = await export(running, "a", "b")
    assert server.received.attempts == 1
    assert sent.settled == [1]
    assert running.context.counters.counts["failed:permanent"] == 2
    assert f"refused 2 events for good: {code}: I will\\x1b[2J not" in caplog.text


async def test_exhausted_resources_are_tried_again_only_with_retry_info():
    """RESOURCE_EXHAUSTED with RetryInfo is throttling, not refusal."""
    async with GrpcServer(Step("RESOURCE_EXHAUSTED", "slow down", retry_seconds=0.001)) as server:
        sent = await export(exporter(f"http://127.0.0.1:{server.port}"), "a")
    assert server.received.bodies == {"a": 1}
    assert sent.settled == [1]


async def test_partial_success_is_counted_and_not_sent_again(caplog):
    """Records that the server rejects are failed, the others sent."""
    async with GrpcServer(Step(rejected=2, words="too old")) as server:
        running = exporter(f"http://127.0.0.1:{server.port}")
        sent = await export(running, "a", "b", "c")
    counts = running.context.counters.counts
    assert (counts["sent"], counts["failed"], counts["failed:rejected"]) == (1, 2, 2)
    assert server.received.attempts == 1
    assert sent.settled == [1]
    assert "rejected 2 of 3 events: too old" in caplog.text


async def test_a_server_that_hangs_is_asked_again():
    """A request without an answer within the timeout is sent again."""
    async with GrpcServer(Step(hang=True, status="UNAVAILABLE")) as server:
        sent = await export(exporter(f"http://127.0.0.1:{server.port}", timeout="200ms"), "a")
    assert set(server.received.bodies) == {"a"}
    assert sent.settled == [1]


async def test_a_connection_that_died_silently_is_replaced():
    """After timeouts in a row the exporter opens a new connection, which works."""
    async with GrpcServer() as server, TcpProxy(server.port) as network:
        running = exporter(f"http://127.0.0.1:{network.port}", timeout="200ms", sending_queue={"wait_for_result": True})
        sent = Sent()
        await running.start()
        await running.consume(sent.batch("before"))
        network.swallow = True
        waiting = asyncio.create_task(running.consume(sent.batch("during")))
        await asyncio.sleep(0.5)
        network.swallow = False
        await waiting
        await running.shutdown()
    assert set(server.received.bodies) == {"before", "during"}
    assert sent.settled == [1, 1]


async def test_a_server_that_comes_up_late_gets_everything(tmp_path, caplog):
    """Nothing is lost while no server listens; the log says so once, and once that it works."""
    address = f"unix:{tmp_path}/server"
    running = exporter(address, tls={"insecure": True})
    sent = Sent()
    await running.start()
    for title in ("a", "b", "c"):
        await running.consume(sent.batch(title))
    await asyncio.sleep(0.5)
    async with GrpcServer(address=address) as server:
        await running.shutdown()
    assert server.received.bodies == {"a": 1, "b": 1, "c": 1}
    assert sent.settled == [1, 1, 1]
    assert [record.message.split(":")[0] for record in caplog.records if "cannot send" in record.message] == [
        "cannot send to unix"
    ]
    assert sum("works again" in record.message for record in caplog.records) == 1


async def test_what_is_undelivered_when_shutdown_is_cut_short_stays_unsettled(tmp_path, caplog):
    """A shutdown that is cancelled abandons what is queued, without settling it, and leaves no task behind."""
    running = exporter(f"unix:{tmp_path}/nobody", tls={"insecure": True})
    sent = Sent()
    await running.start()
    await running.consume(sent.batch("a", "b"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await running.shutdown()
    assert sent.settled == [0]
    assert "2 events undelivered" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_after_the_longest_time_a_request_is_dropped_and_counted(tmp_path):
    """max_elapsed_time bounds the retries; the batch settles, its events are counted as failed."""
    running = exporter(
        f"unix:{tmp_path}/nobody", tls={"insecure": True}, retry_on_failure=FAST_RETRY | {"max_elapsed_time": "20ms"}
    )
    sent = await export(running, "a")
    assert sent.settled == [1]
    assert running.context.counters.counts["failed:retries_exhausted"] == 1


async def test_large_batches_are_split_below_the_servers_limit_and_settle_once():
    """No request exceeds max_bytes; an event that does travels alone; the batch settles when all are answered."""
    async with GrpcServer(Step("UNAVAILABLE")) as server:
        running = exporter(f"http://127.0.0.1:{server.port}", sending_queue={"batch": {"max_bytes": 20_000}})
        titles = [f"{number}:{'x' * 1000}" for number in range(100)] + ["y" * 50_000]
        sent = await export(running, *titles)
    assert server.received.bodies == dict.fromkeys(titles, 1)
    assert sent.settled == [1]
    assert sorted(size > 20_000 for size in server.received.sizes)[-2:] == [False, True]


FAULTS = st.one_of(
    st.sampled_from([Step(code) for code in RETRYABLE]),
    st.sampled_from([Step(code) for code in ("INVALID_ARGUMENT", "INTERNAL")]),
    st.just(Step()),
    st.just(Step(rejected=1, words="no")),
    st.just(Step("UNAVAILABLE", keep=True)),
)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(FAULTS, max_size=12), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), consumers=st.integers(1, 4)
)
def test_whatever_the_server_does_every_event_is_accounted_for(steps, sizes, consumers):
    """Whatever the server answers: each event is received or counted as failed, and each batch settles exactly once."""
    asyncio.run(_account(steps, sizes, consumers))


async def _account(steps, sizes, consumers):
    async with GrpcServer(*steps) as server:
        queue = {"num_consumers": consumers, "batch": {"min_size": 5, "max_size": 5}}
        running = exporter(f"http://127.0.0.1:{server.port}", sending_queue=queue)
        sent = Sent()
        await running.start()
        for number, size in enumerate(sizes):
            await running.consume(sent.batch(*(f"{number}.{index}" for index in range(size))))
        await running.shutdown()
    counts = running.context.counters.counts
    total = sum(sizes)
    received = len(server.received.bodies)
    assert counts["sent"] + counts["failed"] == total
    assert received + counts["failed:permanent"] >= total
    assert sent.settled == [1] * len(sizes)


async def test_tls_with_a_private_authority_and_a_client_certificate(tmp_path):
    """mTLS: the server's certificate is checked against ca_file, and ours is presented."""
    authority = Authority(tmp_path)
    server_identity, client = authority.issue("server"), authority.issue("client")
    async with GrpcServer(tls=server_identity, clients=authority) as server:
        tls = {"ca_file": authority.file, "cert_file": client.cert_file, "key_pem": client.key.decode()}
        sent = await export(exporter(f"localhost:{server.port}", tls=tls), "a")
    assert server.received.bodies == {"a": 1}
    assert sent.settled == [1]


@pytest.mark.parametrize(
    "tls",
    [
        {"insecure_skip_verify": True},
        {"min_version": "1.3"},
        {"max_version": "1.2", "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]},
        {"curve_preferences": ["P256"]},
    ],
    ids=str,
)
async def test_tls_options_that_grpc_lacks_are_honoured(tls, tmp_path):
    """Options beyond gRPC's own reach the server all the same, with large requests and a client certificate."""
    authority = Authority(tmp_path)
    client = authority.issue("client")
    options = tls | {"cert_file": client.cert_file, "key_file": client.key_file}
    if "insecure_skip_verify" not in tls:
        options["ca_file"] = authority.file
    async with GrpcServer(tls=authority.issue("server"), clients=authority) as server:
        running = exporter(f"localhost:{server.port}", tls=options, compression="none")
        titles = [f"{number}" + "x" * 1000 for number in range(3000)]
        await export(running, *titles)
    assert server.received.bodies == dict.fromkeys(titles, 1)
    assert server.received.headers[0]["user-agent"].startswith("tapio-otel/")


async def test_a_certificate_for_another_name_needs_the_override(tmp_path):
    """server_name_override names whom the certificate must be for; without it nothing is sent."""
    authority = Authority(tmp_path)
    identity = authority.issue("server", ("collector.example",), loopback=False)
    async with GrpcServer(tls=identity) as server:
        tls = {"ca_file": authority.file}
        endpoint = f"localhost:{server.port}"
        limited = FAST_RETRY | {"max_elapsed_time": "50ms"}
        refused = exporter(endpoint, tls=tls, retry_on_failure=limited)
        await export(refused, "no")
        assert refused.context.counters.counts["failed:retries_exhausted"] == 1
        await export(exporter(endpoint, tls=tls | {"server_name_override": "collector.example"}), "yes")
        through = tls | {"server_name_override": "collector.example", "min_version": "1.3"}
        await export(exporter(endpoint, tls=through), "tunnel")
    assert set(server.received.bodies) == {"yes", "tunnel"}


async def test_a_tunnel_says_why_it_cannot_connect(tmp_path, caplog):
    """A certificate that does not verify is named as the reason."""
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b", "stranger")
    async with GrpcServer(tls=stranger.issue("server")) as server:
        limited = FAST_RETRY | {"max_elapsed_time": "500ms"}
        tls = {"ca_file": authority.file, "min_version": "1.3"}
        await export(exporter(f"localhost:{server.port}", tls=tls, retry_on_failure=limited), "a")
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
    assert not server.received.attempts


async def test_replaced_certificates_are_read_again(tmp_path):
    """With reload_interval a new authority's certificates are used without a restart."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new", "new authority")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(old.pem)
    running = None
    async with GrpcServer(tls=new.issue("server")) as server:
        running = exporter(f"localhost:{server.port}", tls={"ca_file": str(ca_file), "reload_interval": "1ms"})
        sent = Sent()
        await running.start()
        await running.consume(sent.batch("a"))
        await asyncio.sleep(0.1)
        ca_file.write_bytes(new.pem)
        await running.shutdown()
    assert server.received.bodies == {"a": 1}


async def test_a_missing_certificate_file_is_named_at_the_start(tmp_path):
    """The error names the option, the path and what to do."""
    running = exporter("localhost:1", tls={"ca_file": str(tmp_path / "none.pem")})
    with pytest.raises(ComponentError, match=r"tls\.ca_file: cannot read '.*none\.pem': No such file"):
        await running.start()
    await running.shutdown()


async def test_shutdown_without_start_does_nothing():
    """An exporter that was never started shuts down; one that was not started refuses events."""
    running = exporter("localhost:4317")
    await running.shutdown()
    with pytest.raises(ComponentError, match="before it was started"):
        await running.consume(Sent().batch("a"))


async def test_the_alias_sends_too():
    """`otlp_grpc` is the same exporter."""
    async with GrpcServer() as server:
        await export(make(OtlpGrpcExporter, endpoint=f"http://127.0.0.1:{server.port}"), "a")
    assert server.received.bodies == {"a": 1}


async def test_a_full_queue_makes_the_pipeline_wait(tmp_path):
    """Past queue_size consume waits; nothing is lost once the server answers."""
    address = f"unix:{tmp_path}/server"
    queue = {"queue_size": 2, "num_consumers": 1, "batch": {"min_size": 1}}
    running = exporter(address, tls={"insecure": True}, sending_queue=queue)
    sent = Sent()
    await running.start()
    await running.consume(sent.batch("a"))
    await running.consume(sent.batch("b"))
    waiting = asyncio.create_task(running.consume(sent.batch("c")))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    async with GrpcServer(address=address) as server:
        await waiting
        await running.shutdown()
    assert server.received.bodies == {"a": 1, "b": 1, "c": 1}
    assert sent.settled == [1, 1, 1]


async def test_the_queue_is_measured_in_events_too(tmp_path):
    """queue_items counts the events in the queue, on their way and still being gathered, whatever queue_size counts."""
    queue = {"num_consumers": 1, "batch": {"min_size": 3, "flush_timeout": "1h"}}
    address = f"unix:{tmp_path}/server"
    running = exporter(address, tls={"insecure": True}, sending_queue=queue)
    gauges = {}
    running.context.counters.gauge = gauges.__setitem__
    await running.start()
    for titles in ("abc", "defg", "h"):
        await running.consume(Sent().batch(*titles))
    assert {name: read() for name, read in gauges.items()} == {"queue_size": 2, "queue_items": 8, "queue_capacity": 1000}
    async with GrpcServer(address=address):
        await running.shutdown()
    assert gauges["queue_items"]() == 0


async def test_a_full_queue_drops_and_counts_where_told_to(tmp_path):
    """With block_on_overflow false what does not fit is dropped, counted and settled."""
    queue = {"queue_size": 1, "num_consumers": 1, "batch": {"min_size": 1}, "block_on_overflow": False}
    running = exporter(f"unix:{tmp_path}/nobody", tls={"insecure": True}, sending_queue=queue)
    sent = Sent()
    await running.start()
    await running.consume(sent.batch("a"))
    await running.consume(sent.batch("b", "c"))
    assert running.context.counters.counts["dropped:queue_full"] == 2
    assert sent.settled == [0, 1]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await running.shutdown()


@pytest.mark.parametrize("queue", [{"enabled": False}, {"wait_for_result": True}], ids=str)
async def test_consume_waits_for_the_answer_where_told_to(queue):
    """Without a queue, or with wait_for_result, consume returns when the batch is settled."""
    async with GrpcServer(Step("UNAVAILABLE")) as server:
        running = exporter(f"http://127.0.0.1:{server.port}", sending_queue=queue)
        sent = Sent()
        await running.start()
        await running.consume(sent.batch("a"))
        assert sent.settled == [1]
        await running.shutdown()
    assert server.received.bodies == {"a": 1}


NO_RETRY = {"enabled": False}


async def test_an_encrypted_connection_to_a_plain_server_says_what_to_write(caplog):
    """An endpoint without a scheme is encrypted, which the usual local server is not."""
    async with GrpcServer() as server:
        await export(exporter(f"127.0.0.1:{server.port}", retry_on_failure=NO_RETRY), "a")
    assert "for a server without TLS write http://… as endpoint, or tls.insecure: true" in caplog.text


async def test_grpc_to_an_http_port_says_which_exporter_to_use(caplog):
    """The ports are easily confused."""
    async with HttpServer() as server:
        await export(exporter(server.url, retry_on_failure=NO_RETRY), "a")
    assert "if this is an OTLP/HTTP port, use the otlphttp exporter or port 4317" in caplog.text


async def test_http_to_a_grpc_port_says_which_exporter_to_use(caplog):
    """The other way round it is told as well, without a dump of bytes."""
    async with GrpcServer() as server:
        running = make(OtlpHttpExporter, endpoint=f"http://127.0.0.1:{server.port}", retry_on_failure=NO_RETRY)
        await export(running, "a")
    assert "if this is a gRPC port, use the otlp exporter or port 4318" in caplog.text
