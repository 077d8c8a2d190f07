"""The collector that other tests compare against: it runs, receives and is read back."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.integration.collector import Collector, plain

REQUEST = {
    "resourceLogs": [
        {
            "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "node-1"}}]},
            "scopeLogs": [
                {
                    "scope": {"name": "probe"},
                    "logRecords": [
                        {
                            "timeUnixNano": "1700000000000000001",
                            "severityNumber": 9,
                            "body": {"stringValue": "hello"},
                            "attributes": [{"key": "process.pid", "value": {"intValue": "7"}}],
                            "traceId": "0af7651916cd43dd8448eb211c80319c",
                        }
                    ],
                }
            ],
        }
    ]
}


def post(collector: Collector) -> None:
    """Send one request over OTLP/HTTP with JSON."""
    request = urllib.request.Request(
        f"{collector.http_endpoint}/v1/logs", json.dumps(REQUEST).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200


async def test_what_is_posted_is_read_back(collector):
    """One record posted as OTLP/JSON comes out of the file exporter."""
    post(collector)
    (received,) = await collector.wait_for(1)
    assert received.resource_attributes == {"host.name": "node-1"}
    assert received.scope["name"] == "probe"
    assert (received.body, received.attributes) == ("hello", {"process.pid": 7})
    assert received.record["traceId"] == "0af7651916cd43dd8448eb211c80319c"


async def test_a_restarted_collector_listens_on_the_same_ports_and_appends(collector):
    """Stop and start keep the ports and what was received before."""
    post(collector)
    collector.stop()
    collector.stop()
    collector.start()
    post(collector)
    assert len(await collector.wait_for(2)) == 2


def test_a_collector_that_cannot_start_says_why(collector_binary, tmp_path):
    """A configuration it refuses raises with the collector's own words."""
    broken = Collector(collector_binary, tmp_path, extra={"exporters": {"nonsense": {}}})
    with pytest.raises(RuntimeError, match="nonsense"):
        broken.start()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"intValue": "-5"}, -5),
        ({"boolValue": False}, False),
        ({"bytesValue": "AAE="}, b"\x00\x01"),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {}]}}, ["a", None]),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 0.5}}]}}, {"k": 0.5}),
        ({}, None),
    ],
)
def test_any_values_become_plain_values(value, expected):
    """Each kind of AnyValue has its Python form."""
    assert plain(value) == expected
