"""Shakes hands with a Kafka broker once, as a client would, and tells plainly why it fails.

kafka-python tries again whatever the reason and says in the end only that time is up. So before a
client is made its first steps are gone through here: connection, TLS, protocol, user and password.
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any

import kafka.net.sasl

from stream.io.bus import BusRefused
from stream.io.security import Security, tls_failure

sasl: Any = kafka.net.sasl
_API_VERSIONS, _METADATA, _SASL_HANDSHAKE = (18, 0), (3, 1), (17, 1)
_SASL_AUTHENTICATE = (36, 0)
_UNSUPPORTED_SASL_MECHANISM, _ILLEGAL_SASL_STATE = 33, 34
_TLS_ALERT = 0x15
_MOST_BYTES = 1 << 20


class HungUpError(OSError):
    """The other side ended the connection, or said something that is not of Kafka."""


class NobodyError(HungUpError):
    """The other side ended the connection when asked something without a user."""


def greet(
    address: tuple[str, int], security: Security, context: ssl.SSLContext | None, seconds: float
) -> None:
    """Connect, shake hands and hang up. Every step may take `seconds`.

    Raises `BusRefused` where trying again would not help, else `OSError`.
    """
    try:
        _greet(address, security, context, seconds)
    except NobodyError:
        # A broker that is being ended in this very moment hangs up as well; but not twice.
        try:
            _greet(address, security, context, seconds)
        except NobodyError:
            raise BusRefused(
                f"it does not talk to clients without a user. Set {security.named('user')} and "
                f"{security.named('password_file')}."
            ) from None


def _greet(
    address: tuple[str, int], security: Security, context: ssl.SSLContext | None, seconds: float
) -> None:
    with socket.create_connection(address, seconds) as plain:
        if context is None:
            _converse(plain, security)
            return
        try:
            with context.wrap_socket(plain, server_hostname=address[0]) as secured:
                _converse(secured, security)
        except ssl.SSLEOFError:
            raise HungUpError("it ends the connection: is that its TLS port?") from None
        except ssl.SSLError as error:
            raise BusRefused(tls_failure(error, security)) from None


def _converse(connection: socket.socket, security: Security) -> None:
    _ask(connection, *_API_VERSIONS, b"")
    if security.user is None:
        try:
            _ask(connection, *_METADATA, struct.pack(">i", 0))
        except (HungUpError, ConnectionError) as error:
            raise NobodyError(str(error)) from None
        return
    name = security.mechanism.encode()
    answer = _ask(connection, *_SASL_HANDSHAKE, struct.pack(">h", len(name)) + name)
    (code,) = struct.unpack_from(">h", answer)
    if code == _UNSUPPORTED_SASL_MECHANISM:
        offered = ", ".join(_strings(answer[2:])) or "none"
        raise BusRefused(
            f"it does not offer {security.mechanism}. Let {security.named('sasl_mechanism')} be "
            f"one that it has: {offered}."
        )
    if code == _ILLEGAL_SASL_STATE:
        raise BusRefused(
            f"it knows no users there. Leave out {security.named('user')}, or give the address of "
            "its SASL port."
        )
    _authenticate(connection, security)


def _authenticate(connection: socket.socket, security: Security) -> None:
    """Go through the mechanism's messages, as kafka-python makes them."""
    exchange = sasl.get_sasl_mechanism(security.mechanism)(
        sasl_mechanism=security.mechanism,
        sasl_plain_username=security.user,
        sasl_plain_password=security.password,
    )
    while not exchange.is_done():
        token = exchange.auth_bytes()
        answer = _ask(connection, *_SASL_AUTHENTICATE, struct.pack(">i", len(token)) + token)
        code, told = struct.unpack_from(">hh", answer)
        if code:
            break
        (size,) = struct.unpack_from(">i", answer, 4 + max(told, 0))
        try:
            exchange.receive(answer[len(answer) - size :])
        except ValueError:
            raise BusRefused(
                "it does not prove that it knows the password itself. Is it the right broker?"
            ) from None
    if not exchange.is_done() or not exchange.is_authenticated():
        raise BusRefused(
            f"it does not accept user {security.user!r} with this password. Check "
            f"{security.named('user')}, {security.named('password_file')} and "
            f"{security.named('sasl_mechanism')}."
        )


def _ask(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    """Send a request, and return the body of the response to it."""
    request = struct.pack(">hhih", api, version, 0, -1) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    head = _receive(connection, 8)
    size, correlation = struct.unpack(">ii", head)
    if head[0] == _TLS_ALERT:
        raise BusRefused("it wants TLS. Write kafkas:// instead of kafka://.")
    if correlation != 0 or not 4 <= size <= _MOST_BYTES:
        raise HungUpError("what it says is not Kafka's protocol")
    return _receive(connection, size - 4)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        more = connection.recv(size - len(received))
        if not more:
            if received[:1] == bytes([_TLS_ALERT]):
                raise BusRefused("it wants TLS. Write kafkas:// instead of kafka://.")
            raise HungUpError("it ends the connection")
        received += more
    return received


def _strings(packed: bytes) -> list[str]:
    (count,) = struct.unpack_from(">i", packed)
    found, at = [], 4
    for _ in range(count):
        (size,) = struct.unpack_from(">h", packed, at)
        found.append(packed[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return found
