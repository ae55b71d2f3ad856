"""Who may come in: hosts, tokens and headers of the web page."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.io.security import SecurityError
from stream.settings import Settings

COOKIE = "weir_session"
"""Of a browser, with the port behind it: see `cookie_name`."""
LEAST_TOKEN = 16
"""Characters of a token, at least: a shorter one can be guessed."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OPEN = ("/api/session", "/health")
"""Asked for by a page that has no token yet."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def token_of(settings: Settings) -> str | None:
    """Return the token of the settings, None where there is none.

    Raises `SecurityError` where it cannot be read or is too short.
    """
    path = settings.dashboard_token_file
    if settings.dashboard_token is not None:
        token = settings.dashboard_token.get_secret_value()
        named = "WEIR_DASHBOARD_TOKEN"
    elif path is not None:
        named = "dashboard_token_file (WEIR_DASHBOARD_TOKEN_FILE)"
        try:
            token = path.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SecurityError(f"{named} cannot be read: {error}.") from None
    else:
        return None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise SecurityError(
            f"{named} is no token: it takes {LEAST_TOKEN} or more ASCII characters without blanks."
        )
    return token


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def cookie_name(headers: Headers) -> str:
    """Return the name of the cookie for a request.

    Browsers keep one set of cookies for all ports of a host: two dashboards on one host would
    otherwise overwrite each other's.

    >>> cookie_name(Headers({"host": "127.0.0.1:9465"})), cookie_name(Headers({"host": "weir"}))
    ('weir_session_9465', 'weir_session')
    """
    try:
        port = urlsplit(f"//{headers.get('host', '')}").port
    except ValueError:
        port = None
    return COOKIE if port is None else f"{COOKIE}_{port}"


class Keys:
    """What shows that somebody knows the token: the token itself, or the cookie made of it."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self.cookie = hmac.new(self._token, b"weir session", hashlib.sha256).hexdigest()
        """Shows who may read, and nothing of the token."""

    def bearer(self, headers: Headers) -> bool:
        """Whether the request carries the token. Takes the same time whatever it carries."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.encode(), self._token)
        return same and kind.lower() == "bearer"

    def session(self, headers: Headers) -> bool:
        """Whether the request carries the cookie."""
        # Not the parser of the standard library: that one gives up at the first cookie it does not
        # like, and other programs on this host have theirs beside ours.
        found = cookie_parser(headers.get("cookie", "")).get(cookie_name(headers))
        return found is not None and hmac.compare_digest(found.encode(), self.cookie.encode())


class Door:
    """Lets in who names a host that is ours and, where reading needs it, has the token.

    A name that is not ours is how a page of somebody else, which has pointed its own name at this
    machine, would read here (DNS rebinding).
    """

    def __init__(
        self, app: ASGIApp, *, keys: Keys, hosts: Collection[str], reading_needs_token: bool
    ) -> None:
        self._app = app
        self._keys = keys
        self._hosts = {*_LOOPBACK, *(host.lower() for host in hosts)}
        self._reading_needs_token = reading_needs_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        headers = Headers(scope=scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answered[name] = value
                answered.setdefault("Cache-Control", "no-store")
            await send(message)

        if _name(headers.get("host", "")) not in self._hosts:
            told = "This name is not served. Use the address given at the start, or --allow-host."
            refusal = JSONResponse({"error": told}, status_code=421)
        elif self._locked(scope["path"]) and not (
            self._keys.session(headers) or self._keys.bearer(headers)
        ):
            told = "A token is needed to read here: open the link with #token= once."
            refusal = JSONResponse(
                {"error": told}, status_code=401, headers={"WWW-Authenticate": "Bearer"}
            )
        else:
            await self._app(scope, receive, guarded)
            return
        await refusal(scope, receive, guarded)

    def _locked(self, path: str) -> bool:
        data = path.startswith(("/api/", "/events")) and path not in _OPEN
        return data and self._reading_needs_token


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" where it is none.

    >>> _name("[::1]:9465"), _name("Localhost:80"), _name("a b")
    ('::1', 'localhost', '')
    """
    try:
        parts = urlsplit(f"//{host}")
        clean = parts.netloc == host and not parts.username and " " not in host
        return (parts.hostname or "").lower() if clean else ""
    except ValueError:
        return ""
