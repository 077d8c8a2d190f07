"""Texts that try to be more than text."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.ui import incidents
from tests.ui.agents import showing
from tests.ui.conftest import Opened
from tests.ui.incidents import SECOND

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_markup_stays_text(open_page: Opened, state: Path) -> None:
    """A log line with a script in it is shown as it was written, and runs nothing."""
    async with showing(state, incidents.hostile(time.time_ns() - 600 * SECOND)) as agent:
        page = await open_page(f"{agent.address}#view=list")
        await page.click(".list >> text=<script>window.broken = 1</script>")
        await page.wait_for_selector(".panel .attributes >> text=</td><script>window.broken=1</script>")
        assert await page.evaluate("window.broken") is None
        assert (
            await page.evaluate("document.querySelectorAll('.panel script, .panel svg[onload], .panel img, .list img').length")
            == 0
        )
        assert "<img src=x onerror=window.broken=1>" in await page.locator(".panel .lineage").inner_text()


async def test_control_characters_and_reversed_text_are_made_visible(open_page: Opened, state: Path) -> None:
    """Terminal escapes and bidirectional overrides are shown as signs and change nothing."""
    async with showing(state, incidents.hostile(time.time_ns() - 600 * SECOND)) as agent:
        page = await open_page(f"{agent.address}#view=list")
        await page.wait_for_selector(".list >> text=␛[31mred␛[0m ␇bell")
        await page.wait_for_selector(".list >> text=user ‹U+202E›gnp.exe‹U+202C› ‹U+2066›isolate")
        assert not await page.evaluate(r"/[\u0000-\u0008\u001b\u009b\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText)")
        await page.click(".list >> text=␛[31mred")
        await page.wait_for_selector(".panel pre >> text=␛]0;title␇␛[2J gone ‹U+009B›31m")
        assert await page.evaluate("getComputedStyle(document.querySelector('.panel bdi')).unicodeBidi") == "isolate"


async def test_a_mebibyte_is_cut_until_someone_asks(open_page: Opened, state: Path) -> None:
    """A very long message is shown in part, with its length, and whole on request."""
    async with showing(state, incidents.hostile(time.time_ns() - 600 * SECOND)) as agent:
        page = await open_page(f"{agent.address}#view=list")
        await page.click(".list .what button >> text=long")
        await page.wait_for_selector(".panel .show-all >> text=Show all (1.0 MiB)")
        length = "document.querySelector('.panel pre').textContent.length"
        assert await page.evaluate(length) < 5000
        await page.click(".panel .show-all")
        assert await page.evaluate(length) == 1024 * 1024 + 10
        assert await page.evaluate("document.querySelector('.panel pre').textContent.endsWith(' end')")


async def test_the_address_can_not_bring_script(open_page: Opened, state: Path) -> None:
    """What stands in a shared address is text like any other."""
    async with showing(state) as agent:
        evil = "#q=<img src=x onerror=window.broken=1>&finding=<svg onload=window.broken=1>&from=<b>&zoom=x~y&event=../../x"
        page = await open_page(agent.address + evil, expect="404")
        await page.wait_for_timeout(200)
        assert await page.evaluate("window.broken") is None
        assert await page.evaluate("document.querySelectorAll('img').length") == 0
