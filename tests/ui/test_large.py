"""A hundred thousand events: counted where they are too many, drawn one by one where they are not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.ui import incidents
from tests.ui.agents import storing
from tests.ui.conftest import Opened, until
from tests.ui.incidents import SECOND

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_hundred_thousand_events_are_shown_and_come_apart_when_zoomed(open_page: Opened, state: Path) -> None:
    """The whole hour is drawn as counts, with the finding's events as marks; a part of it is drawn event by event."""
    now = time.time_ns()
    events = incidents.with_findings(incidents.out_of_memory(now - 1200 * SECOND))
    events += incidents.ordinary(100_000, now - 3000 * SECOND, now - 60 * SECOND)
    async with storing(state, events) as agent:
        page = await open_page(agent.address)
        assert "100,007 events" in await page.locator(".span").inner_text()
        assert "Memory ran out" in await page.locator("#incident-title").inner_text()
        await until(page, "() => Number(document.querySelector('.timeline').dataset.spots) >= 3")
        dense = "() => document.querySelector('.timeline').dataset.dense"
        assert await page.evaluate(dense) == "true"
        await page.click("text=Zoom to it")
        await until(page, "() => document.querySelector('.timeline').dataset.dense === 'false'")
        await until(page, "() => Number(document.querySelector('.timeline').dataset.spots) > 10")


async def test_fifty_thousand_marks_are_one_picture(open_page: Opened, state: Path) -> None:
    """As many as are drawn at all are moved and zoomed, and few shapes stand for them."""
    now = time.time_ns()
    async with storing(state, incidents.ordinary(50_000, now - 3000 * SECOND, now - 60 * SECOND)) as agent:
        page = await open_page(agent.address)
        assert await page.evaluate("document.querySelector('.timeline').dataset.dense") == "false"
        spots = "() => Number(document.querySelector('.timeline').dataset.spots)"
        assert await page.evaluate(spots) < 5000
        await page.locator(".surface").focus()
        for key in ("ArrowLeft", "ArrowRight", *"+++++", "n"):
            await page.keyboard.press(key)
        await until(page, f"() => ({spots})() > 50")
        await page.keyboard.press("0")
        await until(page, f"() => ({spots})() < 50")
