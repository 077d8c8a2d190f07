"""A headless Chromium, and an agent whose page it opens."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.requirements import require
from tests.ui.agents import Agent, showing
from tests.ui.incidents import two_incidents

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

# Without a sandbox, as tests may run as root; without what asks the network in the background.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
Opened = Callable[..., Awaitable["Page"]]


def chromium() -> str:
    """Return the browser's path; skips the test, or fails it where it is required, when there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require("chromium", path is not None, "no chromium, chromium-browser or google-chrome is on PATH (apt package chromium)")
    assert path is not None
    try:
        import playwright.async_api  # noqa: F401
    except ImportError:
        require("chromium", False, "the Python package playwright is missing (of the extra `dev`)")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Run one browser for all tests; it keeps nothing."""
    path = chromium()
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[Opened]:
    """Open pages; afterwards no console may have told an error and no policy may have been broken, unless expected."""
    problems: list[str] = []
    async with contextlib.AsyncExitStack() as contexts:

        async def opened(address: str, *, ready: bool = True, expect: str = "", **options: Any) -> Page:
            context = await browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
            contexts.push_async_callback(context.close)
            page = await context.new_page()
            page.on("console", lambda message: _note(problems, message.type, message.text, expect))
            page.on("pageerror", lambda error: problems.append(str(error)))
            await page.goto(address)
            if ready:
                await page.wait_for_selector("#tapio[data-ready]:not([data-busy])")
            return page

        yield opened
    assert problems == []


async def until(page: Page, expression: str, argument: Any = None) -> None:
    """Wait until a JavaScript function returns what is true; the page's policy forbids Playwright's own way."""
    async with asyncio.timeout(20):
        while not await page.evaluate(expression, argument):
            await asyncio.sleep(0.02)


def _note(problems: list[str], kind: str, text: str, expected: str) -> None:
    is_gone = "ERR_CONNECTION_REFUSED" in text  # the agent of a test ends before its page does
    if kind in {"error", "warning"} and not is_gone and not (expected and expected in text):
        problems.append(text)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def incident(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """Run one agent that has two incidents with their findings, and ordinary events around them; for reading only."""
    chromium()
    trace = "trace_url: 'https://traces.example.com/t/{trace_id}'"
    async with showing(tmp_path_factory.mktemp("incident"), two_incidents(), trace) as agent:
        yield agent


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the directory of an agent's state."""
    return tmp_path / "state"
