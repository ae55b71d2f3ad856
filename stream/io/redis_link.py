"""A Redis server by its URL: a client with short time-outs, and what to say when it fails."""

from __future__ import annotations

import re
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream.io.security import Security, SecurityError, tls_failure

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0


class StoreError(Exception):
    """Redis cannot be used as asked: what was wrong, where, what to do."""


class StoreUnavailable(StoreError):  # noqa: N818 - reads as the state it reports
    """Redis does not answer, or refuses, now; the same call may succeed later."""


class StoreRefused(StoreUnavailable):
    """Redis does not let us in, or not do that: user, password, certificate or rights (ACL)."""


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


def connect(url: str, security: Security | None = None) -> Redis:
    """Return a client with short time-outs for a redis://, rediss:// or unix:// URL.

    `security` has the password where the URL has none, and the certificates of rediss://. Opens
    nothing until it is used. Raises `StoreError` for any other address, `SecurityError` where
    address and security do not go together.
    """
    security = security or Security("redis")
    try:
        options = {name for name, _ in parse_qsl(urlsplit(url).query)}
        held = urlsplit(url).password is not None or "password" in options
    except ValueError:
        raise _not_understood() from None
    if any(name.startswith("ssl_") for name in options):
        # Some of them would leave certificate or host name unverified.
        raise StoreError(
            f"The Redis address takes no options of TLS: give {security.named('ca_file')}, "
            f"{security.named('cert_file')} and {security.named('key_file')}."
        )
    if held and security.password is not None:
        raise SecurityError(
            f"redis (WEIR_REDIS) has a password already: leave out {security.named('password')} "
            f"and {security.named('password_file')}, or take it out of the address."
        )
    try:
        return Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            # One more try: a connection that was idle over a restart of Redis is dead.
            retry=Retry(NoBackoff(), 1),
            **_credentials(url, security),
        )
    except (ValueError, TypeError):
        raise _not_understood() from None


def _not_understood() -> StoreError:
    return StoreError(
        "The Redis address is not understood. Give redis://[USER[:PASSWORD]@]HOST:PORT/DB, "
        "rediss://... for TLS, or unix:///PATH; percent-encode special characters in "
        "the password."
    )


def _credentials(url: str, security: Security) -> dict[str, Any]:
    """Security as redis-py takes it."""
    credentials: dict[str, Any] = {}
    if security.password is not None:
        credentials["password"] = security.password
    if not url.startswith("rediss://"):
        security.without_tls("Write rediss:// where Redis speaks TLS.")
        return credentials
    security.context()  # says what is wrong with the files
    files = {
        "ssl_ca_certs": security.ca_file,
        "ssl_certfile": security.cert_file,
        "ssl_keyfile": security.key_file,
    }
    return credentials | {name: str(path) for name, path in files.items() if path is not None}


def trouble(error: Exception, where: str) -> StoreError:
    """What is wrong with the Redis at an address, and what to do, as an error to raise."""
    refusals = (exceptions.AuthenticationError, exceptions.NoPermissionError)
    refused = isinstance(error, refusals) or _of_tls(error) is not None
    return (StoreRefused if refused else StoreUnavailable)(explain(error, where))


def explain(error: Exception, where: str) -> str:
    """Say what is wrong with the Redis at an address, and what to do."""
    if (broken := _of_tls(error)) is not None:
        why = tls_failure(broken, Security("redis"))
        return f"Redis at {where} is not available: {why}"
    said = str(error).rsplit("of pipeline caused error: ", 1)[-1].strip(" .")
    remedies: tuple[tuple[type[Exception], str], ...] = (
        (
            exceptions.AuthenticationError,
            "Check user and password: WEIR_REDIS, and WEIR_REDIS_PASSWORD_FILE or "
            "WEIR_REDIS_PASSWORD.",
        ),
        (
            exceptions.NoPermissionError,
            "Give its user the rights (ACL) of its role: docs/security.md.",
        ),
        (exceptions.BusyLoadingError, "It is loading its data; wait."),
        (exceptions.ReadOnlyError, "It is a replica: let WEIR_REDIS (--redis) name the primary."),
        (exceptions.OutOfMemoryError, "Raise its maxmemory, or let it evict (volatile-ttl)."),
        (exceptions.TimeoutError, "It is slow or the network is: look at its SLOWLOG and load."),
        (
            exceptions.ConnectionError,
            "Start it, or let WEIR_REDIS (--redis) say where it is; rediss:// where it wants TLS.",
        ),
    )
    remedy = next((text for kind, text in remedies if isinstance(error, kind)), "See its log.")
    return f"Redis at {where} is not available: {said or type(error).__name__}. {remedy}"


def _of_tls(error: BaseException | None) -> ssl.SSLError | None:
    """The failure of TLS that redis-py has wrapped, if it is one."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
