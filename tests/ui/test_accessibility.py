"""The page for everybody: axe finds no serious violation in any of its states."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.requirements import require
from tests.ui.agents import Agent, showing
from tests.ui.conftest import Opened

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")


def axe() -> str:
    """Return axe-core, as a package from PyPI carries it."""
    spec = importlib.util.find_spec("axe_playwright_python")
    require("chromium", spec is not None, "the Python package axe-playwright-python is missing (of the extra `dev`)")
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text("utf-8")


async def violations(page: Page) -> list[dict[str, Any]]:
    """Return what axe calls serious or critical."""
    await page.evaluate(axe())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = (one for one in found["violations"] if one["impact"] in {"serious", "critical"})
    return [{"id": one["id"], "nodes": [node["html"][:200] for node in one["nodes"]]} for one in bad]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 400)])  # neither depends on the other
async def test_axe_finds_nothing_serious(open_page: Opened, incident: Agent, scheme: str, width: int) -> None:
    """In light and dark, narrow and wide: findings, timeline, panel, list, and the dialog of keys."""
    page = await open_page(incident.address, color_scheme=scheme, viewport={"width": width, "height": 900})
    assert await violations(page) == []
    await page.click(".card.root")
    await page.wait_for_selector(".panel .attributes")
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await page.click("#view-list")
    await page.wait_for_selector(".list tbody tr")
    assert await violations(page) == []
    await page.click("#keys")
    await page.wait_for_selector("dialog[open]")
    assert await violations(page) == []


async def test_axe_finds_nothing_serious_in_an_empty_page_and_the_question_for_the_token(
    open_page: Opened, state: Path
) -> None:
    """The page without events, and the form that asks for the token."""
    async with showing(state, (), "token: 0123456789abcdef-a-token") as agent:
        page = await open_page(agent.address, ready=False, expect="401")
        await page.wait_for_selector("#token")
        assert await violations(page) == []
        await page.fill("#token", "0123456789abcdef-a-token")
        await page.press("#token", "Enter")
        await page.wait_for_selector(".silence:not([hidden])")
        assert await violations(page) == []
