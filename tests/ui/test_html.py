"""One incident as one file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tapio_otel.event import EventType, UnifiedEvent
from tapio_otel.event_json import from_dict
from tapio_otel.timeline import Timeline, TimelineReconstructor
from tapio_otel.ui import html, incident_of, page_of
from tests.ui import incidents
from tests.ui.conftest import Opened, until
from tests.ui.incidents import SECOND

START = 1_790_000_000 * SECOND


def recorded() -> list[UnifiedEvent]:
    """Return an incident, its finding, and texts that try to end the file's script."""
    return incidents.with_findings(incidents.out_of_memory(START)) + incidents.hostile(START + 5 * SECOND)


def timeline(events: list[UnifiedEvent]) -> Timeline:
    """Return what happened to the database."""
    return TimelineReconstructor().reconstruct(events, "pod/shop/orders-db-0", START - 60 * SECOND, START + 60 * SECOND)


def test_an_incident_has_every_event_of_its_findings() -> None:
    """What a finding refers to is looked for among all events, though the timeline of the focus lacks it."""
    events = recorded()
    only_findings = Timeline("pod/shop/orders-db-0", START, START + SECOND)
    made = incident_of(only_findings, [one for one in events if one.type == EventType.CORRELATION], events)
    [finding] = made["findings"]
    members = {event.id for event in incidents.out_of_memory(START)}
    assert set(finding["events"]) == members == {mark[5] for mark in made["timeline"]["marks"]}
    assert [from_dict(made["events"][mark[5]]).id for mark in made["timeline"]["marks"]] == [
        mark[5] for mark in made["timeline"]["marks"]
    ]
    assert len(made["timeline"]["links"]) == 4
    assert made["timeline"]["lanes"][0]["path"] == ["node/worker-3", "pod/shop/orders-db-0", "container/postgres"]


def test_of_a_finding_beside_a_hundred_events_are_told() -> None:
    """So that what is not asked about does not make the file large; its root cause is among them."""
    events = incidents.crashes(START)
    [finding] = [one for one in incidents.with_findings(events) if one.type == EventType.CORRELATION]
    more = incidents.ordinary(300, START, START + SECOND)
    finding.attributes = {**finding.attributes, "members": [one.id for one in more]}
    beside = incident_of(Timeline("pod/a/b", START, START + SECOND), [finding], [*events, *more])
    assert len(beside["findings"][0]["events"]) == 100
    assert finding.attributes["root_cause"] in beside["findings"][0]["events"]
    assert beside["opened"] == ""


def test_only_the_last_revision_of_a_finding_is_told() -> None:
    """Of revisions the highest counts, and what a better finding supersedes is left out."""
    first, last, other = (next(one for one in recorded() if one.type == EventType.CORRELATION) for _ in range(3))
    last = from_dict({**json.loads(html.json_of(_dict(last))), "title": "later"})
    last.attributes = {**last.attributes, "revision": 7}
    other.id, other.attributes = "other", {**other.attributes, "superseded_by": first.id}
    made = incident_of(Timeline("pod/a/b", START, START), [last, first, other])
    assert [one["title"] for one in made["findings"]] == ["later"]


def _dict(event: UnifiedEvent) -> object:
    from tapio_otel.event_json import to_dict

    return to_dict(event)


def test_events_cannot_end_the_script_they_stand_in() -> None:
    """Every `<` of the incident is escaped, so that no text opens or closes an element."""
    page = page_of({"title": "</title><script>1</script>", "x": "</script><!--<script>"})
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<title>&lt;/title&gt;&lt;script&gt;1&lt;/script&gt;</title>" in page
    [text] = re.findall(r'id="tapio-incident">(.*?)</script>', page)
    assert json.loads(text)["x"] == "</script><!--<script>"


def test_a_lone_surrogate_does_no_harm() -> None:
    """A text that UTF-8 cannot hold is written as an escape."""
    assert '"\\ud800"' in page_of({"title": "x", "text": "\ud800"})


def test_missing_assets_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who runs from a checkout without the built page learns what to do."""
    monkeypatch.setattr(html, "ASSETS", tmp_path)
    with pytest.raises(html.PageError, match="make ui"):
        page_of({})


@pytest.mark.asyncio(loop_scope="session")
async def test_the_file_shows_the_incident_without_any_agent(open_page: Opened, tmp_path: Path) -> None:
    """The file alone tells the finding, draws its events, opens each, and asks nobody for anything."""
    events = recorded()
    path = tmp_path / "incident.html"
    path.write_text(
        page_of(incident_of(timeline(events), (), events, trace_url="https://traces.example.com/{trace_id}")), "utf-8"
    )
    page = await open_page(path.as_uri())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert "Memory ran out" in await page.locator("#incident-title").inner_text()
    await until(page, "() => Number(document.querySelector('.timeline').dataset.spots) >= 4")
    await page.click(".impacts .card >> nth=0")
    await page.wait_for_selector(".panel .attributes")
    assert await page.locator(".panel a.trace").get_attribute("href") == f"https://traces.example.com/{incidents.TRACE}"
    await page.click("#view-list")
    await page.wait_for_selector(".list tbody tr")
    await page.fill("#search", "type:container_restart")
    await until(page, "() => document.querySelectorAll('.list tbody tr').length === 1")
    assert await page.evaluate("window.broken") is None
    assert asked == []


@pytest.mark.asyncio(loop_scope="session")
async def test_the_file_begins_with_its_own_finding_and_has_what_was_beside(open_page: Opened, tmp_path: Path) -> None:
    """A newer finding about something else is in the list, and its rows are in the timeline, as on the page."""
    events = incidents.with_findings(incidents.out_of_memory(START) + incidents.crashes(START + 20 * SECOND))
    findings = [one for one in events if one.type == EventType.CORRELATION]
    path = tmp_path / "incident.html"
    path.write_text(page_of(incident_of(timeline(events), findings, events, around=incidents.hostile(START))), "utf-8")
    page = await open_page(path.as_uri())
    assert "Memory ran out" in await page.locator("#incident-title").inner_text()
    assert await page.locator(".lane >> text=metrics-agent.service").count() == 1
    assert await page.locator(".lane >> text=<img src=x").count() == 1
    await page.check("#only")
    await page.wait_for_selector(".lane >> text=metrics-agent.service", state="detached")
    await page.uncheck("#only")
    await page.click(".finding >> nth=0")
    await until(page, "() => document.querySelector('#incident-title').textContent.includes('metrics-agent')")
    await page.click(".card.root")
    await page.wait_for_selector(".panel .attributes")


@pytest.mark.asyncio(loop_scope="session")
async def test_the_file_runs_no_other_script(open_page: Opened, tmp_path: Path) -> None:
    """What is added to the file by someone else does not run: its policy names the hash of its own script."""
    path = tmp_path / "changed.html"
    page_text = page_of(incident_of(timeline(recorded())))
    path.write_text(page_text.replace("<body>", "<body><script>window.broken = 1</script>"), "utf-8")
    page = await open_page(path.as_uri(), expect="Content Security Policy")
    assert await page.evaluate("window.broken") is None
