"""One reader for all pages: computed once, the newest wins, and who goes leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import pytest

from stream.events import LiveReport, utc
from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreReader, StoreWriter
from stream.settings import Settings
from stream.watch.dashboard import Address, Dashboard
from stream.watch.hub import Hub, Page
from stream.watch.timeline import POINTS, Timeline
from tests.unit.test_terminal import START, alert, labelled, live

DAY = 86_400
T = TypeVar("T")


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedisServer]:
    local = LocalRedisServer(prefer="fakeredis")
    local.start()
    writer = StoreWriter(local.url, "weir", worker="w1", window_expiry_seconds=600)
    writer.put_windows([labelled(hour, partition) for hour in range(30) for partition in (0, 1)])
    writer.put_live(live("w1", reported_at=utc(time.time())))
    writer.put_alerts([alert(number) for number in range(3)])
    assert writer.flush(10)
    writer.close(timeout_seconds=5)
    yield local
    local.stop()


class Counting(StoreReader):
    """A reader that counts how often somebody looked."""

    looks = 0

    def live(self) -> list[LiveReport]:
        self.looks += 1
        return super().live()


def in_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a loop of its own thread: Playwright keeps one running in that of the tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def test_of_each_part_only_the_newest_waits_for_a_page() -> None:
    async def slow() -> dict[str, bytes]:
        page = Page("newest")
        for number in range(1000):
            page.put({"now": b"%d" % number})
        page.put({"alerts": b"[]"})
        return await page.take(1.0)

    assert in_a_loop(slow()) == {"now": b"999", "alerts": b"[]"}


async def until(page: Page, part: str) -> set[str]:
    """What a page was sent up to a part."""
    sent: set[str] = set()
    while part not in sent:
        news = await page.take(60.0)
        assert news, "nothing comes"
        sent |= news.keys()
    return sent


async def until_whole(page: Page) -> set[str]:
    """What a page was sent up to its windows, which come last."""
    return await until(page, "windows")


def test_fifty_pages_look_at_redis_as_often_as_one(server: LocalRedisServer) -> None:
    async def watched(reader: Counting) -> set[frozenset[str]]:
        hub = Hub(reader, refresh_seconds=0.05)
        pages = [hub.join(name) for name in ("newest", "7d") for _ in range(25)]
        running = asyncio.create_task(hub.run())
        seen = [await until_whole(page) for page in pages]
        assert reader.looks <= 3
        for page in pages:
            assert "now" in await until(page, "now")
        hub.close()
        assert len(hub) == 0
        running.cancel()
        return {frozenset(parts) for parts in seen}

    with closing(Counting(server.url, "weir")) as reader:
        seen = in_a_loop(watched(reader))
    assert seen == {frozenset({"now", "windows", "alerts", "challengers"})}


def test_nobody_looks_while_no_page_is_open(server: LocalRedisServer) -> None:
    async def idle(reader: Counting) -> int:
        hub = Hub(reader, refresh_seconds=0.01)
        running = asyncio.create_task(hub.run())
        page = hub.join("newest")
        await page.take(60.0)
        hub.leave(page)
        await asyncio.sleep(0.2)  # what was under way ends
        before = reader.looks
        await asyncio.sleep(0.2)
        running.cancel()
        return reader.looks - before

    with closing(Counting(server.url, "weir")) as reader:
        assert in_a_loop(idle(reader)) == 0


def test_a_page_that_comes_back_when_none_was_open_is_told_the_news(
    server: LocalRedisServer,
) -> None:
    async def back(reader: Counting) -> int:
        hub = Hub(reader, refresh_seconds=0.01)
        running = asyncio.create_task(hub.run())
        page = hub.join("newest")
        await until_whole(page)
        hub.leave(page)
        await asyncio.sleep(0.2)
        page, before = hub.join("newest"), reader.looks
        while reader.looks < before + 3:  # each look is news: it says when it was taken
            assert await page.take(60.0), "nothing comes"
        running.cancel()
        return reader.looks - before

    with closing(Counting(server.url, "weir")) as reader:
        assert in_a_loop(back(reader)) >= 3


def test_a_long_range_is_put_together_to_few_points_that_miss_nothing(
    server: LocalRedisServer,
) -> None:
    until = START.timestamp() + 30 * 3600
    with closing(StoreReader(server.url, "weir")) as reader:
        for days in (1, 7, 30, 300):
            timeline = Timeline(reader, days * DAY)
            for _ in range(3):
                points = timeline.read(until, 3600)
            assert len(points) <= POINTS + 2
            hours = min(30, 24 * days)
            transactions = sum(point.measures.transactions for point in points)
            # A range may begin within its first point.
            assert 2000 * hours <= transactions <= 2000 * 30


def test_who_goes_leaves_nothing_behind_and_open_pages_do_not_hold_up_the_end(
    server: LocalRedisServer,
) -> None:
    with closing(StoreReader(server.url, "weir")) as reader:
        page = Dashboard(Settings(), reader, lambda: pytest.fail("no bus"), Address("127.0.0.1", 0))
        page.start()

        def ask(path: str) -> Any:
            return urllib.request.urlopen(f"{page.url}{path}", timeout=60)  # noqa: S310 - our own

        def wait_for(count: int) -> None:
            deadline = time.monotonic() + 60
            while True:
                with ask("health") as answer:
                    if json.loads(answer.read())["pages"] == count:
                        return
                assert time.monotonic() < deadline
                time.sleep(0.05)

        with ask("events") as events:
            assert events.readline() == b"retry: 2000\n"
            wait_for(1)
        wait_for(0)
        with ask("events?range=7d") as events:
            assert b"event: now\n" in iter(events.readline, b"")
            page.stop()
            assert events.read().endswith(b"\n\n")  # it ends, and well
