"""Makes the pictures beside it: the web page, an alert opened, the view in the terminal.

    python docs/pictures/make.py [--transactions N] [--out FOLDER]

Runs generator, worker and dashboard, and takes the pictures in Chromium while the stream is under
way, so that there are windows whose labels have come and others that wait for theirs.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page
from rich.console import Console

sys.path.append(str(Path(__file__).parents[2]))

from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreReader
from stream.watch.snapshot import Snapshot, Watcher
from stream.watch.terminal import render
from tests.servers.browser import chromium
from tests.servers.place import Place

WIDTH, HEIGHT = 1440, 1080
TERMINAL = (110, 40)
STREAM = ("--clients=3000", "--rate=200", "--fraud-rate=0.01", "--label-delay=1d", "--quiet")


def main() -> None:
    """Run a stream, and take the pictures at three quarters of it."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--transactions", type=int, default=24_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalRedisServer() as redis:
        place = Place(Path(folder), redis, {"window_seconds": 6 * 3600, "partitions": 2})
        try:
            place.start("stream", "detect")
            place.start("producers", "paysim", f"--transactions={args.transactions}", *STREAM)
            _, link = place.dashboard()
            with closing(StoreReader(redis.url, "weir")) as reader:
                watcher = Watcher(reader, args.transactions)
                while watcher.take().count("decisions") < 0.75 * args.transactions:
                    time.sleep(1)
                (args.out / "terminal.svg").write_text(terminal(watcher.take()))
            with chromium() as browser:
                take(browser, link, args.out)
        finally:
            place.stop()


def take(browser: Browser, link: str, out: Path) -> None:
    """Take the pictures of page and alert."""
    for scheme in SCHEMES:
        page = opened(browser, link, scheme, (WIDTH, HEIGHT))
        shoot(page, out / f"page-{scheme}.png")
        page.locator("#alerts a").nth(2).click()
        page.locator("dialog#alert .facts").wait_for()
        shoot(page, out / f"alert-{scheme}.png")
    page = opened(browser, link, "light", (390, 844))
    shoot(page, out / "page-small.png")


def shoot(page: Page, path: Path) -> None:
    """Take a picture of what is on the screen, in few colours: a third of the bytes."""
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(192).save(path, optimize=True)


Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def opened(browser: Browser, link: str, scheme: Scheme, size: tuple[int, int]) -> Page:
    """Return the page as it is once all its figures are there."""
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": size[0], "height": size[1]}
    )
    page = context.new_page()
    page.goto(link)
    page.wait_for_selector('body[data-shown="alerts challengers now windows"]')
    page.wait_for_timeout(1500)  # one look more, with all in its place
    return page


def terminal(snapshot: Snapshot) -> str:
    """Return the view in the terminal as SVG."""
    width, height = TERMINAL
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True
    )
    console.print(render(snapshot, width, height))
    # Without web fonts: a picture asks nothing of another host.
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="weir watch"), flags=re.S)


if __name__ == "__main__":
    main()
