"""One reader of Redis for all pages: what they show is computed once, and sent where it changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from stream.events import Mark, logit
from stream.io.store import StoreReader, StoreRefused, StoreUnavailable
from stream.watch import figures
from stream.watch.snapshot import Snapshot, Watcher
from stream.watch.timeline import RANGES, Timeline

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""Time between two looks at Redis, while anybody looks at a page."""
MAX_PAGES = 200
"""Pages that may be open at once; further ones are told so."""

_WINDOWS = "windows"
_KEPT_SECONDS = 60.0
"""What was read of the ranges is kept so long while no page is open: one may come back."""
_CHANGES = 20
_STEP = 0.25
"""Of the threshold, in log-odds: a smaller one is no change to tell of."""

View = dict[str, bytes]
"""What a page shows, as JSON by part: `now`, `windows`, `alerts` and `challengers`."""


class TooManyPages(Exception):  # noqa: N818 - reads as the state it reports
    """As many pages are open as the dashboard serves."""


class Page:
    """An open page: of each part only the newest waits for it, however slowly it reads."""

    def __init__(self, range_name: str) -> None:
        self.range_name = range_name
        self.closed = False
        self._waiting: View = {}
        self._news = asyncio.Event()

    def put(self, parts: Mapping[str, bytes]) -> None:
        """Have these sent, in place of what waits of the same parts."""
        self._waiting.update(parts)
        self._news.set()

    def close(self) -> None:
        """Send nothing more."""
        self.closed = True
        self._news.set()

    async def take(self, timeout_seconds: float) -> View:
        """Return what waits, as soon as anything does; nothing at the timeout, or when closed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_seconds)
        self._news.clear()
        parts, self._waiting = self._waiting, {}
        return parts


class Hub:
    """Looks at Redis once a second while a page is open, and gives each page what changed.

    What is shown of one range is computed once, however many pages show it.
    """

    def __init__(
        self,
        reader: StoreReader,
        *,
        total: int | None = None,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        self._reader = reader
        self._watcher = Watcher(reader, total)
        self._refresh_seconds = refresh_seconds
        self._timelines: dict[str, Timeline] = {}
        self._views: dict[str, View] = {}
        self._pages: set[Page] = set()
        self._asked = asyncio.Event()
        self._looking = asyncio.Lock()
        self._changes: deque[dict[str, Any]] = deque(maxlen=_CHANGES)

    def __len__(self) -> int:
        """Pages that are open."""
        return len(self._pages)

    def join(self, range_name: str) -> Page:
        """Open a page on a range. Raises `TooManyPages`."""
        if len(self._pages) >= MAX_PAGES:
            raise TooManyPages
        page = Page(range_name)
        self._pages.add(page)
        if range_name in self._views:
            page.put(self._views[range_name])
        else:  # this one does not wait for the next look
            self._asked.set()
        return page

    def leave(self, page: Page) -> None:
        """Close a page."""
        page.close()
        self._pages.discard(page)

    def close(self) -> None:
        """Close all pages."""
        for page in list(self._pages):
            self.leave(page)

    async def run(self) -> None:
        """Look again and again, until cancelled; not at all while no page is open."""
        while True:
            if not self._pages:
                self._views, left = {}, time.monotonic()
                await self._asked.wait()
                if time.monotonic() - left > _KEPT_SECONDS:
                    self._timelines = {}
            self._asked.clear()
            try:
                await self._tell()
            except Exception:  # a defect: the pages say that nothing comes, the log says why
                logger.exception("What the pages show could not be computed.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), self._refresh_seconds)

    async def view(self, range_name: str) -> View:
        """Return what a page on this range shows now."""
        if self._pages and _WINDOWS in self._views.get(range_name, {}):
            return self._views[range_name]
        async with self._looking:
            snapshot, shared = await asyncio.to_thread(self._look)
            windows = await asyncio.to_thread(self._windows, snapshot, range_name)
        return {**shared, **windows}

    async def _tell(self) -> None:
        """Look at Redis, and send what changed: first how it stands, then range by range."""
        ranges = sorted({page.range_name for page in self._pages})
        async with self._looking:
            self._views = {name: self._views.get(name, {}) for name in ranges}
            snapshot, shared = await asyncio.to_thread(self._look)
            for name in ranges:
                self._put(name, shared)
            for name in ranges if snapshot.trouble is None else ():
                self._put(name, await asyncio.to_thread(self._windows, snapshot, name))

    def _put(self, range_name: str, parts: View) -> None:
        """Send what changed of these parts to the pages on a range."""
        before = self._views.get(range_name, {})
        changed = {part: text for part, text in parts.items() if text != before.get(part)}
        self._views[range_name] = {**before, **parts}
        for page in self._pages if changed else ():
            if page.range_name == range_name:
                page.put(changed)

    def _look(self) -> tuple[Snapshot, View]:
        snapshot = self._watcher.take()
        self._note(snapshot)
        shared = {"now": _json(figures.now(snapshot, self._changes))}
        with contextlib.suppress(StoreUnavailable):
            if snapshot.trouble is None:
                shared["alerts"] = _json(figures.alerts(snapshot.alerts, self._marks(snapshot)))
                shared["challengers"] = _json(figures.challengers(self._reader.challengers()))
        return snapshot, shared

    def _marks(self, snapshot: Snapshot) -> dict[str, Mark]:
        try:
            return self._reader.marks([alert.alert_id for alert in snapshot.alerts])
        except StoreRefused:  # a viewer without that right sees alerts all the same
            return {}

    def _windows(self, snapshot: Snapshot, name: str) -> View:
        """The windows of a range; nothing where Redis goes away meanwhile."""
        with contextlib.suppress(StoreUnavailable):
            return {_WINDOWS: _json(self._of_range(snapshot, name))}
        return {}

    def _of_range(self, snapshot: Snapshot, name: str) -> dict[str, Any]:
        seconds = next(each.seconds for each in RANGES if each.name == name)
        last = snapshot.last
        if seconds is None or last is None:
            return figures.windows(snapshot, figures.newest(snapshot), snapshot.recent)
        timeline = self._timelines.setdefault(name, Timeline(self._reader, seconds))
        until = last.start.timestamp() + last.seconds
        return figures.windows(snapshot, timeline.read(until, last.seconds))

    def _note(self, snapshot: Snapshot) -> None:
        """Remember what the threshold did and why, as far as anybody looks."""
        model, event_time = snapshot.model, snapshot.event_time()
        if model is None or event_time is None:
            return
        last = self._changes[-1] if self._changes else None
        told = model.threshold_reason.partition(":")[0]
        if (
            last is None
            or told != last["reason"].partition(":")[0]
            or abs(logit(model.threshold) - logit(last["threshold"])) >= _STEP
        ):
            self._changes.append(
                {
                    "at": event_time.timestamp(),
                    "threshold": model.threshold,
                    "reason": model.threshold_reason,
                }
            )


def _json(values: dict[str, Any]) -> bytes:
    return msgspec.json.encode(values)
