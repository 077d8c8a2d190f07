"""Pictures of the page for README and docs: `python -m tests.ui.screenshots [DIRECTORY]`, docs/images by default."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ui.agents import showing
from tests.ui.conftest import FLAGS
from tests.ui.incidents import two_incidents

if TYPE_CHECKING:
    from playwright.async_api import Browser

PICTURES = {
    "page-light.png": ("light", 1400, 900),
    "page-dark.png": ("dark", 1400, 900),
    "page-narrow.png": ("light", 400, 1300),
}


async def take(browser: Browser, address: str, path: Path) -> None:
    """Write one picture: the newest incident, zoomed to, with its root cause opened where there is room."""
    scheme, width, height = PICTURES[path.name]
    page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    await page.goto(address)
    await page.wait_for_selector("#tapio[data-ready]:not([data-busy])")
    await page.click("text=Zoom to it")
    if width > 1000:
        await page.click(".impacts .card >> nth=0")
        await page.wait_for_selector(".panel .attributes")
    await page.wait_for_timeout(500)
    await page.evaluate("scrollTo(0, 0)")
    await page.screenshot(path=path)
    await page.close()


async def main(directory: Path) -> None:
    """Run an agent with two incidents and take all pictures."""
    from playwright.async_api import async_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not on PATH: apt-get install chromium")
    directory.mkdir(parents=True, exist_ok=True)
    trace = "trace_url: 'https://traces.example.com/t/{trace_id}'"
    with tempfile.TemporaryDirectory() as state:
        async with showing(Path(state), two_incidents(), trace) as agent, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            for name in PICTURES:
                await take(browser, agent.address, directory / name)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")))
