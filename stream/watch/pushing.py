"""Server-sent events: what a page is sent, as long as it is open."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Receive, Scope, Send

from stream.watch.hub import Hub, Page

HEARTBEAT_SECONDS = 15.0
"""After so long without news a comment is sent, so that proxies keep the connection."""

_RETRY_MS = 2000
_STALLED_SECONDS = 30.0
"""A page that takes nothing for so long is let go."""


class EventStream:
    """The answer to a page that joined the hub: an event for each part that is new.

    Ends when the page goes, stalls or is closed, and leaves the hub then.
    """

    def __init__(self, hub: Hub, page: Page) -> None:
        self._hub = hub
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        watching = asyncio.ensure_future(self._close_when_gone(receive))
        try:
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),  # or nginx holds events back
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            text = f"retry: {_RETRY_MS}\n\n".encode()
            while not self._page.closed:
                body = {"type": "http.response.body", "body": text, "more_body": True}
                await asyncio.wait_for(send(body), _STALLED_SECONDS)
                parts = await self._page.take(HEARTBEAT_SECONDS)
                text = b"".join(_event(part, data) for part, data in parts.items()) or b":\n\n"
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            pass  # it has gone without a word
        finally:
            self._hub.leave(self._page)
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _close_when_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._page.close()


def _event(part: str, data: bytes) -> bytes:
    """One event. JSON as msgspec writes it has no line breaks, which would end it.

    >>> _event("now", b"{}")
    b'event: now\\ndata: {}\\n\\n'
    """
    return b"event: " + part.encode() + b"\ndata: " + data + b"\n\n"
