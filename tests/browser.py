"""A real browser for the tests of pages: Chromium, headless, and what every page must pass."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, sync_playwright
from tests.shared.services import REQUIRED

SIZES = {"phone": (375, 812), "desk": (1600, 1000)}
VIEWS = (("phone", "dark"), ("desk", "light"))
"""Both sizes and both colour schemes: contrast follows from the scheme, room from the size."""
OWN = ("file:", "data:", "blob:", "http://127.0.0.1:")
"""How the address of each request must begin: a page fetches nothing from elsewhere."""


def need_chromium() -> str:
    """Return the program; without it skip, or fail where services are required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        fix = "Chromium is not installed; run scripts/install_services.sh"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{fix} ({REQUIRED}=1 forbids to skip)", pytrace=False)
        pytest.skip(fix)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one Chromium for the tests of a file.

    While it is there, the thread counts as one with a running event loop: other files need none.
    """
    program = need_chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(
    browser: Browser, where: str | Path, size: str = "desk", scheme: str = "light"
) -> Iterator[Page]:
    """Open a page; afterwards fail for errors in its console and for requests to elsewhere."""
    address = where.resolve().as_uri() if isinstance(where, Path) else where
    width, height = SIZES[size]
    faults: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
    )

    def check(request: Request) -> None:
        if not request.url.startswith(OWN):
            faults.append(f"request to {request.url}")

    try:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", check)
        page.goto(address)
        yield page
        assert not faults, faults
    finally:
        context.close()


def wait_for_charts(page: Page) -> None:
    """Wait until every chart of the page is drawn."""
    page.wait_for_function("document.documentElement.dataset.charts === 'drawn'")


def check_page(page: Page) -> None:
    """Fail for what axe finds, and for a page that is wider than the screen."""
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()
    wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0, f"the page is {wide} px wider than the screen"
