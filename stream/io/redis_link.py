"""A Redis server by its URL: a client with short time-outs, and what to say when it fails."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0


class StoreError(Exception):
    """Redis cannot be used as asked: what was wrong, where, what to do."""


class StoreUnavailable(StoreError):  # noqa: N818 - reads as the state it reports
    """Redis does not answer, or refuses, now; the same call may succeed later."""


def address(url: str) -> str:
    """Return where a Redis URL points, without user, password and options: safe to print.

    >>> address("rediss://ann:s3cret@redis.example:6380/2?ssl_password=x")
    'rediss://redis.example:6380/2'
    >>> address("redis://:pass/word@host/0")
    'redis://...'
    """
    scheme = re.match(r"(?:rediss?|unix)(?=://)", url)
    if scheme is None:
        return "(not a Redis address)"
    unclear = f"{scheme[0]}://..."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return unclear
    # An unescaped / ? or # in a password ends the host early: then nothing of it may be shown.
    if "@" in parts.path + parts.fragment or ("@" in parts.query and "@" not in parts.netloc):
        return unclear
    if scheme[0] == "unix":
        return f"unix://{parts.path}"
    host = f"[{host}]" if ":" in host else host or "localhost"
    database = parts.path if re.fullmatch(r"/\d*", parts.path) else ""
    return f"{scheme[0]}://{host}{f':{port}' if port else ''}{database}"


def connect(url: str) -> Redis:
    """Return a client with short time-outs for a redis://, rediss:// or unix:// URL.

    Opens nothing until it is used. Raises `StoreError` for any other address.
    """
    try:
        return Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            # One more try: a connection that was idle over a restart of Redis is dead.
            retry=Retry(NoBackoff(), 1),
        )
    except (ValueError, TypeError):
        raise StoreError(
            "The Redis address is not understood. Give redis://[USER:PASSWORD@]HOST:PORT/DB, "
            "rediss://... for TLS, or unix:///PATH; percent-encode special characters in "
            "the password."
        ) from None


def explain(error: Exception, where: str) -> str:
    """Say what is wrong with the Redis at an address, and what to do."""
    said = str(error).rsplit("of pipeline caused error: ", 1)[-1].strip(" .")
    remedies: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.AuthenticationError, "Check user and password in WEIR_REDIS (--redis)."),
        (exceptions.NoPermissionError, "Give its user the rights to Weir's keys (ACL)."),
        (exceptions.BusyLoadingError, "It is loading its data; wait."),
        (exceptions.ReadOnlyError, "It is a replica: let WEIR_REDIS (--redis) name the primary."),
        (exceptions.OutOfMemoryError, "Raise its maxmemory, or let it evict (volatile-ttl)."),
        (exceptions.TimeoutError, "It is slow or the network is: look at its SLOWLOG and load."),
        (exceptions.ConnectionError, "Start it, or let WEIR_REDIS (--redis) say where it is."),
    )
    remedy = next((text for kind, text in remedies if isinstance(error, kind)), "See its log.")
    return f"Redis at {where} is not available: {said or type(error).__name__}. {remedy}"
