"""The web page: its routes, and the server that answers them. Figures are of Redis alone.

    GET  /                       the page, and beside it its scripts and styles
    GET  /events?range=RANGE     server-sent events: `now`, `windows`, `alerts`
    GET  /api/snapshot?range=    the same once, as one JSON object
    GET  /api/alerts/ID          one alert of the newest
    POST /api/alerts/ID/label    {"is_fraud": true}: a label of an analyst
    GET  /api/session            what this browser may do
    POST /api/session            with the token: a cookie to read with
    GET  /health                 that the server answers

Whoever writes sends the token as `Authorization: Bearer TOKEN`. A failure is a JSON object with a
sentence under `error`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from stream.io.bus import Broker, BusError
from stream.io.store import StoreReader, StoreUnavailable
from stream.settings import Settings
from stream.watch import figures
from stream.watch.door import Door, Keys, cookie_name, is_loopback, new_token, token_of
from stream.watch.hub import Hub, TooManyPages
from stream.watch.marking import Marking
from stream.watch.pushing import EventStream
from stream.watch.timeline import RANGES

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAGE = Path(__file__).parent / "page"
MAX_BODY_BYTES = 1024
MAX_CONNECTIONS = 1000

_SESSION_SECONDS = 12 * 3600


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a label."""

    is_fraud: bool


class _Files(StaticFiles):
    """The page's own files: a browser asks each time whether they are still the same."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Routes:
    """What is answered."""

    def __init__(
        self, reader: StoreReader, hub: Hub, marking: Marking, keys: Keys, *, locked: bool
    ) -> None:
        self._reader = reader
        self._hub = hub
        self._marking = marking
        self._keys = keys
        self._locked = locked
        self._one_at_a_time = asyncio.Lock()

    def all(self) -> list[BaseRoute]:
        return [
            Route("/events", self.events),
            Route("/api/snapshot", self.snapshot),
            # An id may hold a slash, as those of transactions may.
            Route("/api/alerts/{alert_id:path}/label", self.label, methods=["POST"]),
            Route("/api/alerts/{alert_id:path}", self.alert),
            Route("/api/session", self.session),
            Route("/api/session", self.open_session, methods=["POST"]),
            Route("/health", self.health),
            Mount("/", _Files(directory=PAGE, html=True)),
        ]

    async def events(self, request: Request) -> Any:
        try:
            page = self._hub.join(_range(request))
        except TooManyPages:
            raise HTTPException(
                503, "As many pages are open as this dashboard serves. Close one, or try later."
            ) from None
        return EventStream(self._hub, page)

    async def snapshot(self, request: Request) -> Response:
        parts = await self._hub.view(_range(request))
        body = b",".join(b'"' + part.encode() + b'":' + text for part, text in parts.items())
        return Response(b"{" + body + b"}", media_type="application/json")

    async def alert(self, request: Request) -> Response:
        alert_id = request.path_params["alert_id"]
        found = await asyncio.to_thread(self._reader.alert, alert_id)
        if found is None:
            raise HTTPException(404, _GONE)
        marks = await asyncio.to_thread(self._reader.marks, [alert_id])
        return _answer(figures.alert(found, marks.get(alert_id)))

    async def label(self, request: Request) -> Response:
        self._must_know_the_token(request)
        try:
            said = msgspec.json.decode(await _body(request), type=_Said)
        except msgspec.DecodeError:
            raise HTTPException(
                400, 'The body is not understood: {"is_fraud": true} or {"is_fraud": false}.'
            ) from None
        alert_id = request.path_params["alert_id"]
        found = await asyncio.to_thread(self._reader.alert, alert_id)
        if found is None:
            raise HTTPException(404, _GONE)
        try:
            async with asyncio.timeout(_LABEL_SECONDS), self._one_at_a_time:
                mark = await _aside(lambda: self._marking.mark(found, is_fraud=said.is_fraud))
        except BusError as error:
            raise HTTPException(503, f"The label was not sent: {error}") from None
        except TimeoutError:
            raise HTTPException(
                503, "The bus takes long: the label may not have arrived. Try again in a while."
            ) from None
        return JSONResponse(mark.model_dump(mode="json"), status_code=201)

    async def session(self, request: Request) -> Response:
        bearer = self._keys.bearer(request.headers)
        may_read = not self._locked or bearer or self._keys.session(request.headers)
        return JSONResponse({"may_read": may_read, "may_write": bearer})

    async def open_session(self, request: Request) -> Response:
        self._must_know_the_token(request)
        response = JSONResponse({"may_read": True, "may_write": True})
        response.set_cookie(
            cookie_name(request.headers),
            self._keys.cookie,
            max_age=_SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def health(self, _: Request) -> Response:
        return JSONResponse({"pages": len(self._hub)})

    def _must_know_the_token(self, request: Request) -> None:
        if not self._keys.bearer(request.headers):
            raise HTTPException(
                401,
                "This needs the token: open the link with #token= that the dashboard printed.",
                headers={"WWW-Authenticate": "Bearer"},
            )


_LABEL_SECONDS = 10.0
"""How long an analyst waits for the bus."""
_STALLED_MS = 60_000
_GONE = "This alert is not among the newest. All are on the alerts topic: weir alerts."


def app(
    reader: StoreReader,
    marking: Marking,
    *,
    token: str,
    hosts: Collection[str] = (),
    reading_needs_token: bool = False,
    hub: Hub | None = None,
) -> Starlette:
    """Return the application.

    Parameters
    ----------
    reader
        Of Redis.
    marking
        Where labels of analysts go.
    token
        What whoever writes has to know.
    hosts
        Names it is served under besides those of the loopback.
    reading_needs_token
        Whether who reads has to know it as well.
    hub
        Its own, by default.
    """
    hub = Hub(reader) if hub is None else hub
    keys = Keys(token)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(hub.run())
        yield
        hub.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    door = Middleware(Door, keys=keys, hosts=hosts, reading_needs_token=reading_needs_token)
    return Starlette(
        routes=_Routes(reader, hub, marking, keys, locked=reading_needs_token).all(),
        middleware=[door],
        exception_handlers={
            HTTPException: _refused,
            StoreUnavailable: _unavailable,
            Exception: _failed,
        },
        lifespan=lifespan,
    )


_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how to reach all addresses from here


@dataclass(frozen=True)
class Address:
    """Where the page is served."""

    host: str
    port: int
    """0: any that is free."""
    also: tuple[str, ...] = ()
    """Further names it is reached by, such as that of a proxy."""


class Dashboard:
    """The server of the page, in a thread of its own from `start` to `stop`.

    Raises `OSError` where the address cannot be had, `SecurityError` where the token cannot.
    """

    def __init__(
        self,
        settings: Settings,
        reader: StoreReader,
        broker: Callable[[], Broker],
        address: Address,
        *,
        total: int | None = None,
    ) -> None:
        given = token_of(settings)
        token = given or new_token()
        local = is_loopback(address.host)
        if not local:
            logger.warning(
                "The page listens on %s: whoever reads it needs the token, which goes over the "
                "network as it is. Put a proxy with TLS before it.",
                address.host,
            )
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.create_server((address.host, address.port), family=family)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a reader that takes nothing for so long is let go
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
        port = self._socket.getsockname()[1]
        here = _HERE.get(address.host, address.host)
        shown = f"[{here}]" if ":" in here else here
        self.url = f"http://{shown}:{port}/"
        """Where the page is."""
        self.link = self.url if given else f"{self.url}#token={token}"
        """The same, with the token where it was made here; one of the settings is not shown."""
        self._hub = Hub(reader, total=total)
        application = app(
            reader,
            Marking(settings, reader, broker),
            token=token,
            hosts={address.host, *address.also},
            reading_needs_token=not local,
            hub=self._hub,
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_config=None,
                access_log=False,
                server_header=False,
                http="h11",
                ws="none",
                limit_concurrency=MAX_CONNECTIONS,
                h11_max_incomplete_event_size=16_384,
                timeout_graceful_shutdown=2,
            )
        )
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="dashboard")

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def serving(self) -> bool:
        """Whether it answers, between `start` and `stop`."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End, and return when it has."""
        self._server.should_exit = True
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._hub.close)  # or open pages would hold it up
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))
        finally:
            self._loop.close()


def _aside(work: Callable[[], T]) -> asyncio.Future[T]:
    """Have something done that may hang, on a thread that holds up nobody when all ends."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, name="label", daemon=True).start()
    return asyncio.wrap_future(done)


def _range(request: Request) -> str:
    name = request.query_params.get("range", RANGES[0].name)
    if name not in {each.name for each in RANGES}:
        names = ", ".join(each.name for each in RANGES)
        raise HTTPException(400, f"There is no such range. Give one of {names}.")
    return name


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"The body is longer than {MAX_BODY_BYTES} bytes.")
    return body


def _answer(values: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(values), media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    status, told, headers = 500, "", None
    if isinstance(error, HTTPException):
        status, told, headers = error.status_code, error.detail, error.headers
    return JSONResponse({"error": told}, status_code=status, headers=headers)


async def _unavailable(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=503)


async def _failed(_: Request, __: Exception) -> Response:
    told = "Something is wrong in the dashboard itself; its log says what."
    return JSONResponse({"error": told}, status_code=500)
