"""`ui`: what it tells about the agent itself, and how it lives with reloads and other components."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tapio_otel.component import Kind
from tapio_otel.config.loader import load
from tapio_otel.extensions.ui import UiConfig, UiExtension
from tapio_otel.service.runner import Service
from tests.components import context
from tests.extensions.ui_agent import CONFIGURATION, STORES, TOKEN, Agent, components, event, running

TWO_STORES = """
receivers: {feed: }
exporters: {sqlite/one: {directory: '%s/one'}, sqlite/two: {directory: '%s/two'}}
extensions: {ui: {endpoint: '127.0.0.1:0'%s}}
service: {extensions: [ui], pipelines: {logs: {receivers: [feed], exporters: [sqlite/one, sqlite/two]}}}
"""


async def test_health_tells_what_is_wrong_and_what_passed(tmp_path):
    """Problems by component, pipelines with what they join and how much they passed on."""
    async with running(tmp_path) as agent:
        await agent.feed(event(0), event(1))
        told = await agent.json("health")
        assert (told["status"], told["problems"], told["uptime_seconds"] > 0) == ("ok", [], True)
        (pipeline,) = told["pipelines"]
        joined = {"id": "logs", "receivers": ["feed"], "processors": [], "exporters": ["collecting"]}
        assert pipeline == {**joined, "received": 2, "passed_on": 2}
        assert (told["store"]["kind"], told["store"]["path"], told["store"]["events"]) == ("memory", None, 2)
        agent.receiver.context.report("it aches")
        told = await agent.json("health")
        assert (told["status"], told["problems"]) == ("degraded", [{"component": "receivers/feed", "problem": "it aches"}])


async def test_sources_tell_what_is_listened_to_and_what_is_not_and_why(tmp_path):
    """Those that run with their figures, then the types that no pipeline has."""
    async with running(tmp_path) as agent:
        assert (await agent.json("sources"))["sources"][0]["last"] is None
        await agent.feed(event(0))
        feed, *others = (await agent.json("sources"))["sources"]
        assert (feed["id"], feed["state"], feed["listening"], feed["events"]) == ("feed", "listening", True, 1)
        assert feed["last"] is not None
        assert {one["id"] for one in others} >= {"journald", "ebpf", "systemd", "kubernetes"}
        assert {(one["state"], one["listening"]) for one in others} == {("off", False)}
        assert all(one["reason"] and one["hint"] for one in others)
        agent.receiver.context.report("half of it is missing")
        feed, *_ = (await agent.json("sources"))["sources"]
        assert (feed["state"], feed["listening"], feed["reason"]) == ("degraded", True, "half of it is missing")


async def test_a_source_that_is_missing_is_told_with_its_remedy(tmp_path):
    """It is tried again meanwhile."""
    yaml = """
receivers: {journald: {directory: '%s/none'}}
exporters: {collecting: }
extensions: {ui: {endpoint: '127.0.0.1:0'}}
service: {extensions: [ui], pipelines: {logs: {receivers: [journald], exporters: [collecting]}}}
"""
    async with running(tmp_path, yaml=yaml % tmp_path) as agent, asyncio.timeout(20):
        while (found := (await agent.json("sources"))["sources"][0])["state"] != "failing":
            await asyncio.sleep(0.02)
        assert not found["listening"]
        assert "none" in found["reason"]


async def test_metrics_are_those_of_the_agent(tmp_path):
    """By instrument, with their attributes."""
    async with running(tmp_path) as agent:
        await agent.feed(event(0), event(1))
        found = (await agent.json("metrics"))["metrics"]
        (accepted,) = [one for one in found if one["name"] == "otelcol_receiver_accepted_log_records"]
        assert accepted == {
            "name": "otelcol_receiver_accepted_log_records",
            "kind": "counter",
            "attributes": {"component": "feed", "receiver": "feed"},
            "value": 2,
        }


async def test_settings_are_what_the_page_needs(tmp_path):
    """And never the token."""
    options = f"trace_url: 'https://traces.example/{{trace_id}}', token: {TOKEN}"
    async with running(tmp_path, options=options) as agent:
        told = await agent.json("settings", headers={"Authorization": f"Bearer {TOKEN}"})
        assert set(told) == {"trace_url", "node", "version"}
        assert told["trace_url"] == "https://traces.example/{trace_id}"


async def test_several_stores_need_a_name(tmp_path):
    """Until then questions are answered with what to write; the agent is well otherwise."""
    async with running(tmp_path / "state", yaml=TWO_STORES % (tmp_path, tmp_path, "")) as agent:
        status, content = await agent.get("events")
        assert (status, content["error"]["code"]) == (503, "no_store")
        assert "there are several sqlite exporters, sqlite/one, sqlite/two: name one" in content["error"]["message"]
        told = await agent.json("health")
        assert told["problems"][0]["component"] == "extensions/ui"
    for name, status in (("sqlite/two", 200), ("sqlite/three", 503)):
        yaml = TWO_STORES % (tmp_path, tmp_path, f", store: {name}")
        async with running(tmp_path / "state", yaml=yaml) as agent:
            assert (await agent.get("events"))[0] == status


async def test_the_page_stays_while_exporters_are_exchanged(tmp_path):
    """Its store comes and goes with a reload, without a connection being cut."""
    texts = [CONFIGURATION % (exporter, "", exporters) for exporter, exporters in STORES.values()]
    registry, now = components(), list(texts)

    def configuration():
        return load([("test.yaml", now[0])], [f"service.state_dir={tmp_path}"], registry)

    service = Service(configuration(), registry, None, configuration)
    run = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(30):
            while not service._serving:
                await asyncio.sleep(0.01)
            (extension,) = [one for one in service.graph.extensions if isinstance(one, UiExtension)]
            import aiohttp

            async with aiohttp.ClientSession() as client:
                agent = Agent(service, client, extension.address, extension.port)
                for text, kind in ((texts[1], "sqlite"), (texts[0], "memory")):
                    now[0] = text
                    service.reload()
                    while (await agent.json("health"))["store"]["kind"] != kind:
                        await asyncio.sleep(0.02)
                assert service.graph.extensions == [extension]
    finally:
        service.stop()
        await run


async def test_a_subscriber_that_raises_spoils_nothing(tmp_path, caplog):
    """Neither for the pipeline nor for other subscribers."""
    async with running(tmp_path) as agent:
        view = agent.receiver.context.service
        assert view is not None

        def fail(_events):
            raise RuntimeError("of no use")

        end = view.subscribe(fail)
        await agent.feed(event(0))
        assert len((await agent.json("events"))["events"]) == 1
        end()
        end()
        assert "a subscriber to events failed: RuntimeError: of no use" in caplog.text


async def test_the_log_says_where_the_page_is(tmp_path, caplog):
    """At the start; and warns where a token would go over the network in clear text."""
    caplog.set_level(logging.INFO)
    async with running(tmp_path) as agent:
        assert f"the page: {agent.address}" in caplog.text
        assert "clear text" not in caplog.text
    extension = UiExtension(context(Kind.EXTENSION, "ui"), UiConfig(endpoint="0.0.0.0:0", token=TOKEN))
    await extension.start()
    await extension.shutdown()
    assert "token and events go over the network in clear text" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [("[::1]:81", "http://[::1]:81/"), (":82", "http://127.0.0.1:82/"), ("localhost:83", "http://localhost:83/")],
)
def test_the_address_is_one_for_a_browser_on_this_machine(endpoint, address):
    """Also where it listens on all interfaces."""
    assert UiExtension(context(Kind.EXTENSION, "ui"), UiConfig(endpoint=endpoint, token=TOKEN)).address == address
