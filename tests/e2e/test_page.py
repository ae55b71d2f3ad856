"""The web page in a real browser, against a running worker: what people see is what Redis holds."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from stream.events import Alert, Label
from stream.io.bus import TopicPartition, connect, read_whole
from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreReader
from stream.watch.hub import MAX_PAGES
from stream.watch.snapshot import Snapshot, Watcher
from tests.servers.place import PATIENCE_SECONDS, Place

TRANSACTIONS = 4_000

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def snapshot(place: Place) -> Snapshot:
    """What Redis holds now."""
    with closing(StoreReader(place.redis.url, "weir")) as reader:
        return Watcher(reader).take()


def labels(place: Place) -> dict[str, Label]:
    """The newest label of each transaction on the topic."""
    with closing(connect(place.bus).reader()) as reader:
        sources = [TopicPartition("labels", partition) for partition in range(2)]
        found = [Label.model_validate_json(r.value or b"") for r in read_whole(reader, sources)]
    return {label.transaction_id: label for label in found}


def settled(place: Place) -> Snapshot:
    """What Redis holds once all there is was handled."""
    found: Snapshot = wait_for(
        lambda: snapshot(place),
        lambda now: now.count("labels") >= TRANSACTIONS and now.count("lag") == 0,
    )
    return found


def wait_for(look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """Return what is seen, as soon as it is as it should be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)
    return seen


class Started(NamedTuple):
    """A running stream, and the link to its page."""

    place: Place
    link: str


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    settings = {"partitions": 2, "window_seconds": 3 * 3600, "learner": "linear"}
    with LocalRedisServer() as redis:
        place = Place(tmp_path_factory.mktemp("bus"), redis, settings)
        try:
            place.start("stream", "detect")
            yield Started(place, place.dashboard()[1])
        finally:
            place.stop()


@pytest.fixture(scope="module")
def produced(started: Started) -> Place:
    """The place, with a producer that has begun."""
    flags = ("--clients=400", "--rate=500", "--fraud-rate=0.02", "--label-delay=12h")
    size = f"--transactions={TRANSACTIONS}"
    started.place.start("producers", "paysim", size, "--quiet", *flags)
    return started.place


@pytest.fixture
def place(produced: Place) -> Place:
    return produced


@pytest.fixture
def link(started: Started) -> str:
    return started.link


@dataclass
class Watched:
    """A page in a browser; what it complains of, and whom else it asks."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def listen(self, own: str) -> None:
        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(message.text)

        def on_request(request: Request) -> None:
            if not request.url.startswith((own, "data:")):
                self.complaints.append(f"asks {request.url}")

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", on_request)

    def open(self, link: str) -> Page:
        self.page.goto(link)
        # The first figures are there.
        self.page.wait_for_selector('body[data-shown="alerts challengers now windows"]')
        return self.page


Open = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, link: str) -> Iterator[Open]:
    """Opens the page; fails where it complained or asked another host."""
    contexts, opened = [], []

    def open_(
        address: str = link, scheme: Literal["light", "dark"] = "light", width: int = 1360
    ) -> Page:
        context = chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}
        )
        contexts.append(context)
        watched = Watched(context.new_page())
        opened.append(watched)
        watched.page.set_default_timeout(PATIENCE_SECONDS * 1000)
        watched.listen(link.partition("#")[0])
        return watched.open(address)

    yield open_
    for context in contexts:
        context.close()
    assert [text for watched in opened for text in watched.complaints] == []


def number(page: Page, name: str) -> int:
    """A figure of the health strip."""
    shown = page.locator("#health div", has=page.locator("dt", has_text=name)).locator(".value")
    return int(shown.inner_text().replace(",", "").replace("–", "0").replace("! ", ""))


def figure(page: Page, tile: str, kind: str = "matured") -> str:
    return page.locator(f'[data-name="{tile}"] [data-figure="{kind}"]').inner_text()


def test_figures_change_live_and_come_to_equal_those_in_redis(
    open_page: Open, request: pytest.FixtureRequest
) -> None:
    page = open_page()
    assert "token" not in page.url
    first = number(page, "Decisions")
    place: Place = request.getfixturevalue("produced")  # begins with the page open
    if first < TRANSACTIONS:  # else a test before this one has had them produced
        wait_for(lambda: number(page, "Decisions"), lambda now: now > first)
    settled(place)
    wait_for(lambda: number(page, "Decisions"), lambda now: now == TRANSACTIONS)

    def equal(now: Snapshot) -> bool:
        tiles = {name: getattr(now.quality, name) for name in ("precision", "recall")}
        tiles["average_precision"] = now.quality.average_precision
        return all(figure(page, name) == f"{value:.2f}" for name, value in tiles.items())

    # The last windows may close after the last label: what Redis holds is read anew each time.
    seen: Snapshot = wait_for(lambda: snapshot(place), equal)
    assert number(page, "Alerts") == seen.count("alerts")
    assert seen.model is not None
    shown = float(page.locator("#threshold-now").inner_text())
    assert shown == pytest.approx(seen.model.threshold, rel=1e-2)
    rows = page.locator("#windows tbody tr")
    assert rows.count() == len([span for span in seen.spans if span in seen.rolling])
    newest = page.locator("#alerts li").first
    assert seen.alerts[0].nameOrig in newest.inner_text()
    expect(page.locator("#verdict")).to_have_attribute("data-level", "good")


def test_an_alert_opens_by_keyboard_and_by_link_and_tells_its_reasons(
    place: Place, link: str, open_page: Open
) -> None:
    seen = settled(place)
    page = open_page()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    panel = page.locator("dialog#alert")
    expect(panel.locator(".facts")).to_contain_text(seen.alerts[1].transaction_id)
    page.keyboard.press("k")
    expect(panel.locator(".facts")).to_contain_text(seen.alerts[0].transaction_id)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    # The focus goes back once the browser has told that the panel was closed: a moment later.
    focused = "id => String(document.activeElement.hash).includes(id)"
    page.wait_for_function(focused, arg=seen.alerts[0].alert_id)

    told = next(alert for alert in seen.alerts if alert.reasons and alert.activity)
    page = open_page(f"{link.partition('#')[0]}#alert={told.alert_id}")
    panel = page.locator("dialog#alert")
    expect(panel.locator(".why-list li")).to_have_count(len(told.reasons))
    assert told.reasons[0].feature in panel.locator(".why-list").inner_text()
    assert panel.locator("table tbody tr").count() >= len(told.activity)
    expect(panel.get_by_role("button", name="Fraud")).to_have_count(0)  # no token, no marking
    expect(panel.locator(".marking")).to_contain_text("open the link with #token=")
    field = panel.get_by_label("Token")
    field.fill("one-that-is-of-yesterday")
    field.press("Enter")
    expect(panel.locator(".marking")).to_contain_text("not the token of this dashboard")
    field.fill(link.partition("#token=")[2])
    panel.get_by_role("button", name="Use it").click()
    expect(panel.get_by_role("button", name="Fraud")).to_be_visible()
    assert "token" not in page.url


def test_a_mark_is_a_label_on_the_topic_and_the_figures_follow(
    place: Place, link: str, open_page: Open
) -> None:
    seen = settled(place)
    before = labels(place)
    since = seen.rolling[0].start

    def can_be_told(alert: Alert) -> bool:
        return alert.timestamp >= since and before[alert.transaction_id].source == "chargeback"

    alert = next(alert for alert in seen.alerts if can_be_told(alert))
    was = before[alert.transaction_id].is_fraud
    page = open_page(f"{link}&alert={alert.alert_id}")
    precision = figure(page, "precision")
    panel = page.locator("dialog#alert")
    panel.get_by_role("button", name="Legitimate" if was else "Fraud").click()
    expect(page.locator("#mark-told")).to_contain_text("Label sent")
    label = labels(place)[alert.transaction_id]
    assert (label.is_fraud, label.source) == (not was, "analyst")
    step = -1 if was else 1
    after = wait_for(
        lambda: snapshot(place),
        lambda now: (
            now.quality.true_positives == seen.quality.true_positives + step
            and now.quality.false_positives == seen.quality.false_positives - step
        ),
    )
    assert after.quality.transactions == seen.quality.transactions
    page.keyboard.press("Escape")
    expect(page.locator("#alerts li", has_text="marked").first).to_contain_text(
        "legitimate" if was else "fraud"
    )
    expected = f"{after.quality.precision:.2f}"
    assert expected != precision or after.quality.true_positives > 99
    wait_for(lambda: figure(page, "precision"), lambda now: now == expected)


def test_the_curve_is_moved_along_by_keys_and_by_dragging(place: Place, open_page: Open) -> None:
    settled(place)
    page = open_page()
    row = page.locator("#comparison tbody tr").first.locator("td")
    chosen, in_force = row.all_inner_texts()
    assert chosen == in_force
    page.keyboard.press("c")
    page.keyboard.press("End")
    lowest = row.first.inner_text()
    assert float(lowest) < float(in_force)
    assert row.nth(1).inner_text() == in_force
    slider = page.locator("#cut")
    assert slider.get_attribute("aria-valuetext") is not None
    recall = page.locator("#comparison tbody tr", has_text="Recall").locator(".value").first
    expect(recall).to_have_text("1.00")
    cost = page.locator("#comparison tbody tr", has_text="Cost").locator(".value").first
    cheap = cost.inner_text()
    page.locator("#alarm-cost").fill("1000000")
    assert cost.inner_text() != cheap
    box = page.locator("#curve svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + 50, box["y"] + 20, steps=4)
    page.mouse.up()
    assert float(row.first.inner_text()) > float(lowest)
    page.locator("#cut-reset").click()
    assert row.all_inner_texts() == [in_force, in_force]


def test_a_longer_range_holds_more_windows(place: Place, open_page: Open) -> None:
    seen = settled(place)
    page = open_page()
    rows = page.locator("#windows tbody tr")
    page.locator("#ranges label", has_text="6h").click()
    expect(rows).to_have_count(2)
    for _ in range(2):
        page.keyboard.press("]")
    expect(page.locator("#ranges input:checked")).to_have_value("7d")
    since = seen.spans[-1].start + timedelta(seconds=seen.spans[-1].seconds) - timedelta(days=7)
    within = [span for span in seen.spans if span.start >= since]
    wait_for(rows.count, lambda count: count == len(within))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_page_and_alert(
    place: Place, open_page: Open, scheme: Literal["light", "dark"]
) -> None:
    settled(place)
    page = open_page(scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    worst = {"page": serious(page)}
    page.locator("#alerts a").first.click()
    page.locator("dialog#alert .facts").wait_for()
    worst["alert"] = serious(page, "#alert")
    assert worst == {"page": [], "alert": []}


def serious(page: Page, within: str = "html") -> list[str]:
    """What axe finds that keeps people out."""
    found = Axe().run(page, within).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:120]} {each['nodes'][0].get('failureSummary')}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def test_a_small_screen_shows_all_without_scrolling_sideways(place: Place, open_page: Open) -> None:
    settled(place)
    page = open_page(width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#alerts a").first.click()
    page.locator("dialog#alert .facts").wait_for()
    box = page.locator("dialog#alert").bounding_box()
    assert box is not None
    assert box["width"] <= 360


def test_beyond_the_loopback_readers_need_the_token_and_it_leaves_the_address(
    place: Place, chromium: Browser
) -> None:
    seen = settled(place)
    _, link = place.dashboard("--host=0.0.0.0")
    own = link.replace("//0.0.0.0", "//127.0.0.1")
    with closing(chromium.new_context()) as context:
        watched = Watched(context.new_page())
        address, _, token = own.partition("#")
        watched.listen(address)
        watched.page.goto(address)
        expect(watched.page.locator("#verdict")).to_contain_text("a token is needed")
        watched.page.goto("about:blank")
        watched.page.goto(f"{address}#token=one-that-is-of-yesterday")
        expect(watched.page.locator("#verdict")).to_contain_text("a token is needed")
        field = watched.page.get_by_role("textbox", name="Token")
        assert serious(watched.page, "#token-place") == []
        field.fill(token.removeprefix("token="))
        field.press("Enter")
        expect(watched.page.locator("#health")).to_contain_text(f"{seen.count('decisions'):,}")
        expect(watched.page.locator("#token-place")).to_be_hidden()
        watched.page.context.clear_cookies()
        watched.page.goto("about:blank")
        page = watched.open(own)
        expect(page.locator("#health")).to_contain_text(f"{seen.count('decisions'):,}")
        assert page.url == address
        kept = page.evaluate("[document.cookie, JSON.stringify(localStorage)].join()")
        assert token.removeprefix("token=") not in str(kept)
        assert watched.complaints == []


def pages(address: str) -> int:
    """How many pages the dashboard sends to."""
    with urlopen(f"{address}health") as answer:  # noqa: S310 - our own
        return int(json.load(answer)["pages"])


def test_a_page_that_nobody_sees_lets_its_connection_go(link: str, open_page: Open) -> None:
    address = link.partition("#")[0]
    page = open_page()
    wait_for(lambda: pages(address), lambda count: count == 1)
    see = """seen => {
        const tell = (name, get) =>
            Object.defineProperty(document, name, { get, configurable: true });
        tell("hidden", () => !seen);
        tell("visibilityState", () => (seen ? "visible" : "hidden"));
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(see, False)
    wait_for(lambda: pages(address), lambda count: count == 0)
    page.evaluate(see, True)
    wait_for(lambda: pages(address), lambda count: count == 1)
    expect(page.locator("#age")).to_have_text("live")


def test_a_page_too_many_says_so_and_begins_once_another_is_closed(
    link: str, chromium: Browser
) -> None:
    address = link.partition("#")[0]
    where = urlsplit(address)
    asks = f"GET /events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
    wait_for(lambda: pages(address), lambda count: count == 0)
    with closing(chromium.new_context()) as context:
        watched = Watched(context.new_page())
        with ExitStack() as others:
            for _ in range(MAX_PAGES):
                other = socket.create_connection((where.hostname, where.port))
                others.enter_context(closing(other)).sendall(asks)
            wait_for(lambda: pages(address), lambda count: count == MAX_PAGES)
            watched.page.goto(link)
            expect(watched.page.locator("#notice")).to_contain_text("As many pages are open")
            expect(watched.page.locator("#verdict")).to_contain_text("no connection")
            assert watched.page.locator("#age").inner_text() == ""
        watched.page.wait_for_selector('body[data-shown="alerts challengers now windows"]')
        expect(watched.page.locator("#age")).to_have_text("live")


def test_while_redis_is_away_the_page_says_so_and_keeps_what_it_had(
    place: Place, open_page: Open
) -> None:
    settled(place)
    page = open_page()
    precision = figure(page, "precision")
    place.redis.stop()
    expect(page.locator("#verdict")).to_contain_text("Redis is away")
    expect(page.locator("#notice")).to_contain_text("Shown is what was read last")
    assert figure(page, "precision") == precision
    place.redis.start()
    expect(page.locator("#verdict")).not_to_contain_text("Redis is away")
