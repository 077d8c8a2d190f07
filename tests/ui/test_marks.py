"""Marks that stand for many, and marks at the very end of the time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tapio_otel.event import Severity
from tests.ui import incidents
from tests.ui.agents import showing, storing
from tests.ui.conftest import Opened, until
from tests.ui.incidents import SECOND

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

COLUMNS = "() => Number(document.querySelector('.timeline').dataset.columns)"
SEARCHED = 120
"""Places beside each other in which a bar is looked for."""


async def point_at_a_bar(page: Page, row: int, wanted: str) -> str:
    """Move the mouse along a row to the first bar of which something is told, and return that as one line."""
    box = await page.locator(".surface").bounding_box()
    assert box is not None
    for step in range(SEARCHED):
        await page.mouse.move(box["x"] + box["width"] / 2 + 2 * step, box["y"] + row * 26 + 13)
        if await page.locator(".tip").is_visible():
            told = " ".join((await page.locator(".tip").inner_text()).split())
            if wanted in told:
                return told
    raise AssertionError(f"no bar tells {wanted!r}")


async def test_a_bar_tells_how_many_it_stands_for_and_a_click_takes_them_apart(open_page: Opened, state: Path) -> None:
    """How many of each severity, when, about what and of which kinds."""
    now = time.time_ns()
    async with storing(state, incidents.ordinary(20_000, now - 3000 * SECOND, now - 60 * SECOND)) as agent:
        page = await open_page(agent.address)
        await until(page, f"() => ({COLUMNS})() > 100")
        told = await point_at_a_bar(page, 1, "info")
        assert "events" in told
        assert "log · journal" in told
        assert "zoom in" in told
        shown = await page.locator(".span").inner_text()
        await page.mouse.down()
        await page.mouse.up()
        await until(page, "text => document.querySelector('.span').innerText !== text", shown)


async def test_counts_are_told_where_there_are_too_many_to_be_sent(open_page: Opened, state: Path) -> None:
    """A bar of an answer that only counts tells as much as is known."""
    now = time.time_ns()
    async with showing(state, incidents.ordinary(3000, now - 3000 * SECOND, now - 60 * SECOND)) as agent:
        page = await open_page("about:blank", ready=False)
        await page.route("**/api/v1/timeline?*", lambda route: route.continue_(url=route.request.url.replace("50000", "100")))
        await page.goto(agent.address)
        await page.wait_for_selector("#tapio[data-ready]:not([data-busy])")
        await until(page, "() => document.querySelector('.timeline').dataset.dense === 'true'")
        assert "Click to zoom in" in await point_at_a_bar(page, 1, "info")
        worse = await point_at_a_bar(page, 1, "warning")
        assert " – " in worse
        assert "info" not in worse


async def test_keys_go_through_bars_where_there_is_nothing_else(open_page: Opened, state: Path) -> None:
    """Nobody needs a mouse to get into a dense view."""
    now = time.time_ns()
    events = incidents.ordinary(3000, now - 3000 * SECOND, now - 60 * SECOND)
    for event in events:
        event.severity = min(event.severity, Severity.NOTICE)
    async with showing(state, events) as agent:
        page = await open_page(agent.address)
        await until(page, f"() => ({COLUMNS})() > 100 && document.querySelector('.timeline').dataset.spots === '0'")
        await page.locator(".surface").focus()
        await page.keyboard.press("n")
        await until(page, "() => document.querySelector('[aria-live]').textContent.includes('/')")
        shown = await page.locator(".span").inner_text()
        for _ in range(5):
            await page.keyboard.press("n")
            await page.keyboard.press("Enter")
        await until(
            page,
            "text => document.querySelector('.span').innerText !== text || !document.querySelector('.panel').hidden",
            shown,
        )


async def test_a_mark_at_the_very_end_is_drawn_whole(open_page: Opened, state: Path) -> None:
    """The newest event is the one that matters most."""
    at = time.time_ns() // SECOND * SECOND - 60 * SECOND
    event = incidents.made(at, "ebpf", "oom_kill", Severity.CRITICAL, incidents.DATABASE, "killed")
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one // SECOND)) for one in (at - 600 * SECOND, at))
    async with showing(state, [event]) as agent:
        page = await open_page(f"{agent.address}#from={begin}&to={end}", expect="Canvas2D")
        await until(page, "() => document.querySelector('.timeline').dataset.spots === '1'")
        reach = """() => {
            const canvas = document.querySelector('.canvas canvas'), box = canvas.getBoundingClientRect()
            const surface = document.querySelector('.surface')
            const scale = canvas.width / box.width
            const edge = surface.getBoundingClientRect().left + surface.clientLeft + surface.clientWidth - box.left
            const top = surface.getBoundingClientRect().top - box.top
            const isRed = ([r, g, b]) => r > 120 && g < 90 && b < 120
            const at = (x) => Array.from({length: 78}, (_, y) =>
                canvas.getContext('2d').getImageData((edge + x) * scale, (top + y) * scale, 1, 1).data).some(isRed)
            return [-4, 4].map(at)
        }"""
        assert await page.evaluate(reach) == [True, True]


async def test_what_is_told_of_a_mark_stays_in_live_mode(open_page: Opened, state: Path) -> None:
    """The picture moves on with the clock; the mark that the keys chose can still be opened."""
    async with showing(state, incidents.out_of_memory(time.time_ns() - 30 * SECOND)) as agent:
        page = await open_page(f"{agent.address}#from=-5m&live=1")
        await page.locator(".surface").focus()
        await page.keyboard.press("n")
        await page.wait_for_selector(".tip:not([hidden])")
        before = await page.locator(".surface").get_attribute("aria-label")
        await until(page, "text => document.querySelector('.surface').ariaLabel !== text", before)
        await page.wait_for_selector(".tip:not([hidden])")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".panel .facts")
