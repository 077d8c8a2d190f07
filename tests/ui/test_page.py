"""The page as people use it: in a browser, from the start to the cause of an incident."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tapio_otel.entity import EntityReference
from tapio_otel.event import Severity
from tests.ui import incidents
from tests.ui.agents import Agent, showing
from tests.ui.conftest import Opened, until
from tests.ui.incidents import SECOND

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

TITLE = "Memory ran out in container postgres"


def minutes_ago(minutes: float) -> int:
    """Return a time in ns."""
    return time.time_ns() - round(minutes * 60 * SECOND)


async def seen(page: Page, selector: str) -> str:
    """Return the text of what is shown, as one line."""
    return " ".join((await page.locator(selector).inner_text()).split())


async def view(page: Page) -> list[str]:
    """Return begin and end of what the timeline shows, as its label tells them."""
    label = await page.locator(".surface").get_attribute("aria-label") or ""
    return label.split("in view ")[1].removesuffix(" UTC").split(" to ")


def moment(shown: str) -> float:
    """Return the second of the day that a label tells, below 0 where it is yesterday's."""
    hours, minutes, seconds = map(float, shown.rpartition(" ")[2].split(":"))
    at, now = hours * 3600 + minutes * 60 + seconds, time.time() % 86400
    return at if at < now + 7200 else at - 86400


async def test_with_no_event_the_page_says_what_is_listened_to_and_what_is_not(open_page: Opened, state: Path) -> None:
    """Who sees an empty page learns whether that is good news."""
    async with showing(state) as agent:
        page = await open_page(agent.address)
        text = await seen(page, ".silence")
        assert "Nothing happened in this time" in text
        assert "feed no event yet" in text
        assert "no pipeline of the configuration has it" in text
        assert "No finding yet" in await seen(page, ".findings")
        await page.click("text=Show what happens next")
        await page.wait_for_selector("text=What happens next will show here.")
        await page.wait_for_selector("#live[aria-pressed=true][title^='New events come']")
        await agent.feed(*incidents.out_of_memory(time.time_ns()))
        await page.wait_for_selector(".lane >> text=shop/orders-db-0")
        assert await page.locator(".silence").is_hidden()


async def test_ten_events_are_drawn_one_by_one_below_what_they_are_part_of(open_page: Opened, state: Path) -> None:
    """A process stands below its container, that below its pod and that below the node; a unit stands below the node."""
    process = EntityReference("process", "postgres", "", "process-48211-77", incidents.DATABASE_CONTAINER)
    about = [incidents.NODE, incidents.DATABASE, incidents.DATABASE_CONTAINER, process, incidents.RESOLVER] * 2
    start = minutes_ago(30)
    events = [
        incidents.made(start + at * 60 * SECOND, "journald", "request", Severity.INFO, entity, f"event {at}")
        for at, entity in enumerate(about)
    ]
    async with showing(state, events) as agent:
        page = await open_page(agent.address)
        assert "10 events" in await seen(page, ".span")
        await until(page, "() => document.querySelector('.timeline').dataset.spots === '10'")
        depths = "[...document.querySelectorAll('.lane')].map(one => [one.style.getPropertyValue('--depth'), one.innerText])"
        found = {" ".join(str(text).split()): int(depth) for depth, text in await page.evaluate(depths)}
        names = ("node worker-3", "pod shop/orders-db-0", "container postgres", "process postgres", "unit systemd-resolved")
        assert [depth for name in names for text, depth in found.items() if name in text] == [0, 1, 2, 3, 1]


async def test_a_source_in_trouble_is_told_though_there_are_events(open_page: Opened, state: Path) -> None:
    """A source that is deaf must not look like one that is quiet."""
    async with showing(state, incidents.out_of_memory(minutes_ago(3))) as agent:
        page = await open_page(agent.address)
        assert not await page.is_visible(".unheard")
        agent.receiver.context.report("half of it is missing")
        await page.reload()
        await page.click(".unheard summary")
        text = await seen(page, ".unheard")
        assert "Only in part: feed" in text
        assert "half of it is missing" in text


async def test_an_empty_hour_leads_to_the_last_event(open_page: Opened, state: Path) -> None:
    """Where nothing happened in the range, one click goes to where something did."""
    async with showing(state, incidents.out_of_memory(minutes_ago(300))) as agent:
        page = await open_page(agent.address)
        assert "The last event was 5 h ago" in await seen(page, ".silence")
        await page.click("text=Go there")
        await until(page, "() => document.querySelector('.span').textContent.includes(' 6 events')")


async def test_ten_events_are_drawn_and_listed(open_page: Opened, state: Path) -> None:
    """A few events are each a mark and a row of the table."""
    events = incidents.ordinary(10, minutes_ago(50), minutes_ago(1))
    async with showing(state, events) as agent:
        page = await open_page(agent.address)
        assert "10 events" in await seen(page, ".span")
        await until(page, "() => Number(document.querySelector('.timeline').dataset.spots) >= 8")
        await page.click("#view-list")
        await until(page, "() => document.querySelectorAll('.list tbody tr').length === 10")


async def test_the_newest_incident_is_told_at_once(open_page: Opened, incident: Agent) -> None:
    """The start page shows the explanation, the cause with its consequences, who is concerned, and who saw it."""
    page = await open_page(incident.address)
    assert TITLE in await seen(page, "#incident-title")
    assert "the kernel killed postgres (PID 48211)" in await seen(page, ".description")
    assert "memory limit" in await seen(page, ".hint")
    assert "93 % sure" in await seen(page, ".confidence")
    assert await page.locator(".card.root").count() == 1
    assert await page.locator(".impacts .card").count() == 4
    scope = await seen(page, ".scope")
    assert "Concerned: 4 entities" in scope
    assert "kernel (eBPF) 1" in scope
    assert "journal 4" in scope


async def test_an_older_incident_is_found_in_two_clicks(open_page: Opened, incident: Agent) -> None:
    """One click chooses the finding, the second opens its root cause with all attributes."""
    page = await open_page(incident.address)
    await page.click(".finding >> text=Names cannot be resolved")
    await until(page, "() => document.querySelector('#incident-title').textContent.includes('Names cannot')")
    await page.click(".card.root")
    await page.wait_for_selector(".panel .attributes")
    assert "DNS forwarding loop" in await seen(page, "#panel-title")
    assert "unit systemd-resolved.service" in await seen(page, ".panel .attributes")


async def test_choosing_a_finding_zooms_to_it_and_the_address_keeps_that(open_page: Opened, incident: Agent) -> None:
    """A copied address opens with the same finding, time and event."""
    page = await open_page(incident.address)
    await page.click(".finding >> text=Names cannot be resolved")
    await until(page, "() => document.querySelector('#incident-title').textContent.includes('Names cannot')")
    await page.click(".card.root")
    await page.wait_for_selector(".panel .attributes")
    shown, event = await view(page), await seen(page, "#panel-title")
    await page.click("#share")
    other = await open_page(page.url)
    await other.wait_for_selector(".panel .attributes")
    assert await view(other) == shown
    assert await seen(other, "#panel-title") == event
    assert "Names cannot be resolved" in await seen(other, "#incident-title")


async def test_the_wheel_zooms_and_dragging_moves(open_page: Opened, incident: Agent) -> None:
    """The mouse goes from an hour to seconds and back in time."""
    page = await open_page(incident.address)
    before = await view(page)
    box = await page.locator(".surface").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(20):
        await page.mouse.wheel(0, -120)
    await until(page, "() => document.querySelector('.span').textContent.match(/ \\d+(\\.\\d+)? m?s/)")
    near = await view(page)
    assert near != before
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] / 2 + 200, box["y"] + box["height"] / 2, steps=4)
    await page.mouse.up()
    await until(page, "text => !document.querySelector('.surface').ariaLabel.includes(text)", near[0])
    assert moment((await view(page))[0]) < moment(near[0])


async def test_two_fingers_zoom(open_page: Opened, incident: Agent) -> None:
    """A pinch on a touch screen brings the timeline closer; one finger moves it."""
    page = await open_page(incident.address, has_touch=True, viewport={"width": 400, "height": 860})
    await page.locator(".surface").scroll_into_view_if_needed()
    box = await page.locator(".surface").bounding_box()
    assert box is not None
    before = await view(page)
    devtools = await page.context.new_cdp_session(page)
    middle, y = box["x"] + box["width"] / 2, box["y"] + 40

    async def touch(kind: str, *places: float) -> None:
        points = [{"x": x, "y": y, "id": finger} for finger, x in enumerate(places)]
        await devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    await touch("touchStart", middle - 20, middle + 20)
    for step in range(1, 6):
        await touch("touchMove", middle - 20 - 12 * step, middle + 20 + 12 * step)
    await touch("touchEnd")
    await until(page, "text => !document.querySelector('.surface').ariaLabel.includes(text)", before[0])
    after = await view(page)
    assert moment(after[0]) > moment(before[0])
    assert moment(after[1]) < moment(before[1])


async def test_the_search_leaves_what_was_asked_for(open_page: Opened, incident: Agent) -> None:
    """Words, an entity and a type each narrow what is shown, and the address says so."""
    page = await open_page(incident.address)
    for query, count in (("entity:systemd-resolved", 2), ("type:dns_resolution_failed", 9), ("forwarding loop", 2)):
        await page.fill("#search", query)
        await until(page, "count => document.querySelector('.span').textContent.includes(` ${count} events`)", count)
    assert "q=forwarding" in page.url
    await page.fill("#search", "no-such-word")
    await until(page, "() => document.querySelector('.timeline-note').textContent.includes('leave it out')")


async def test_the_severity_filter_leaves_that_or_worse(open_page: Opened, incident: Agent) -> None:
    """Only critical events stay when these are asked for."""
    page = await open_page(incident.address)
    await page.select_option("#severity", "critical")
    await until(page, "() => / [3-5] events/.test(document.querySelector('.span').textContent)")


async def test_live_events_and_findings_appear(open_page: Opened, state: Path) -> None:
    """What happens while the page is open is drawn, told in the list, and said to screen readers."""
    async with showing(state) as agent:
        page = await open_page(agent.address)
        await page.click("#live")
        await page.wait_for_selector("#live[aria-pressed=true][title^='New events come']")  # from now on it listens
        incident = incidents.with_findings(incidents.out_of_memory(time.time_ns() - 3 * SECOND))
        await agent.feed(*incident)
        await page.wait_for_selector(f".finding >> text={TITLE}")
        await until(page, "() => Number(document.querySelector('.timeline').dataset.spots) >= 4")
        assert await page.locator(".silence").is_hidden()
        await until(page, "() => document.querySelector('[aria-live]').textContent !== ''")


async def test_all_of_it_is_done_by_keys(open_page: Opened, incident: Agent) -> None:
    """Who has no mouse finds an incident, moves in time, opens an event and closes it."""
    page = await open_page(incident.address)
    await page.keyboard.press("j")
    await until(page, "() => document.querySelector('#incident-title').textContent.includes('Names cannot')")
    await page.locator(".surface").focus()
    before = await view(page)
    await page.keyboard.press("ArrowLeft")
    await until(page, "text => !document.querySelector('.surface').ariaLabel.includes(text)", before[0])
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("n")
    await until(page, "() => document.querySelector('[aria-live]').textContent.includes(':')")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".panel .facts")
    await page.keyboard.press("Escape")
    await page.wait_for_selector(".panel", state="hidden")
    assert await page.evaluate("document.activeElement.classList.contains('surface')")
    await page.keyboard.press("t")
    await page.wait_for_selector(".list tbody tr")
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.id") == "search"


async def test_a_trace_leads_to_the_backend(open_page: Opened, incident: Agent) -> None:
    """The trace id of an event is a link to the configured address."""
    page = await open_page(incident.address)
    await page.click(".impacts .card >> nth=0")
    link = page.locator(".panel a.trace")
    await link.wait_for()
    assert await link.get_attribute("href") == f"https://traces.example.com/t/{incidents.TRACE}"


async def test_an_address_that_is_no_page_is_no_link(open_page: Opened, incident: Agent) -> None:
    """A trace URL that would run script is shown as text."""
    page = await open_page("about:blank", ready=False)
    settings = '{"trace_url": "javascript:alert(1)//{trace_id}", "node": "n", "version": "1"}'
    await page.route("**/api/v1/settings", lambda route: route.fulfill(body=settings, content_type="application/json"))
    await page.goto(incident.address)
    await page.click(".impacts .card >> nth=0")
    await page.wait_for_selector(f".panel >> text={incidents.TRACE}")
    assert await page.locator(".panel a").count() == 0


async def test_only_what_a_finding_concerns_is_shown_on_request(open_page: Opened, incident: Agent) -> None:
    """The rows of others go, and come back."""
    page = await open_page(incident.address)
    await page.wait_for_selector(".lane >> text=kubelet.service")
    await page.check("#only")
    await page.wait_for_selector(".lane >> text=kubelet.service", state="detached")
    assert await page.locator(".lane >> text=shop/web-0").count() == 1
    await page.uncheck("#only")
    await page.wait_for_selector(".lane >> text=kubelet.service")


async def test_the_theme_follows_the_system_or_the_choice(open_page: Opened, state: Path) -> None:
    """Dark systems get a dark page; the button overrides it, and that is kept."""
    background = "getComputedStyle(document.body).backgroundColor"
    async with showing(state) as agent:
        page = await open_page(agent.address, color_scheme="dark")
        dark = await page.evaluate(background)
        await page.click("#theme")
        await page.click("#theme")
        light = await page.evaluate(background)
        assert light != dark
        await page.reload()
        await page.wait_for_selector("#tapio[data-ready]")
        assert await page.evaluate(background) == light


async def test_it_fits_a_narrow_screen(open_page: Opened, incident: Agent) -> None:
    """At 400 pixels nothing is wider than the screen."""
    page = await open_page(incident.address, viewport={"width": 400, "height": 860})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 400
    await page.click("#view-list")
    await page.wait_for_selector(".list tbody tr")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 400
    await page.click(".card.root")
    await page.wait_for_selector(".panel .attributes")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 400


async def test_a_wrong_token_is_refused_and_the_right_one_accepted(open_page: Opened, state: Path) -> None:
    """Who has no session is asked for the token, and told when it is wrong."""
    token = "0123456789abcdef-a-token"
    async with showing(state, incidents.two_incidents(), f"token: {token}") as agent:
        page = await open_page(agent.address, ready=False, expect="401")
        await page.fill("#token", "guessed-wrongly-by-far")
        await page.press("#token", "Enter")
        await page.wait_for_selector("text=refused this token")
        await page.fill("#token", token)
        await page.press("#token", "Enter")
        await page.wait_for_selector(f"#incident-title >> text={TITLE}")
