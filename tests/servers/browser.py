"""A real Chromium, the system's own, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright


def program() -> str | None:
    """The browser's program; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def missing() -> str | None:
    """What is not there to look at the page, and how to get it; None when all is there."""
    return None if program() else "Chromium is not there: install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. No sandbox: in a container root may not have one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()
