"""Who Weir is to Kafka and to Redis, and whom it trusts: users, passwords, certificates.

A certificate and its host name are always verified: there is no setting that turns it off.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stream.settings import Settings

Server = Literal["kafka", "redis"]
# Numbers of OpenSSL's X509_V_ERR_*.
_DATES, _NAMES, _AUTHORITIES = (9, 10), (62, 64), (2, 18, 19, 20, 21)


class SecurityError(Exception):
    """Settings of security that do not go together, or a file of theirs that cannot be used.

    The message names the setting, and never its value.
    """


INSTEAD_OF_A_FLAG = (
    "Give the password by a file (WEIR_KAFKA_PASSWORD_FILE, WEIR_REDIS_PASSWORD_FILE) or by the "
    "environment (WEIR_KAFKA_PASSWORD, WEIR_REDIS_PASSWORD)."
)


def refuse_password(url: str | None, flag: str) -> None:
    """Raise `SecurityError` where an address given by a flag has, or may have, a password in it."""
    place, _, options = (url or "").partition("://")[2].partition("?")
    if ":" in place.rpartition("@")[0] or "password" in options or "@" in options:
        raise SecurityError(
            f"{flag}: an address with a password is no flag: flags are read by everyone (ps). "
            f"{INSTEAD_OF_A_FLAG}"
        )


@dataclass(frozen=True, slots=True)
class Security:
    """What is shown to a server, and what its certificate is checked by.

    Parameters
    ----------
    server
        Whose settings these are, for messages.
    user, password
        Of SASL for Kafka; for Redis the address may hold the user.
    mechanism
        Of SASL.
    ca_file
        Certificates of the authorities trusted, PEM; None for those of the system.
    cert_file, key_file
        The client's own certificate, and its key where that is not in the same file, PEM.
    """

    server: Server = "kafka"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: str = "SCRAM-SHA-512"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def named(self, setting: str) -> str:
        """A setting of this server as messages name it.

        >>> Security("redis").named("ca_file")
        'redis_ca_file (WEIR_REDIS_CA_FILE)'
        """
        name = f"{self.server}_{setting}"
        return f"{name} (WEIR_{name.upper()})"

    def context(self) -> ssl.SSLContext:
        """Return what verifies the server's certificate and host name. TLS 1.2 or newer.

        Raises `SecurityError` for a file that cannot be used.
        """
        for setting in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, setting)
            if path is not None:
                _read(path, self.named(setting))
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError:
            raise SecurityError(f"{self.named('ca_file')}: no certificates in PEM there.") from None
        if self.cert_file is not None:
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
            except (ssl.SSLError, ValueError):
                raise SecurityError(
                    f"{self.named('cert_file')}: no certificate in PEM with the key that fits it. "
                    f"The key may be in {self.named('key_file')}, and has no passphrase."
                ) from None
        elif self.key_file is not None:
            raise SecurityError(
                f"{self.named('key_file')}: a key without a certificate. Give "
                f"{self.named('cert_file')} too."
            )
        return context

    def without_tls(self, remedy: str) -> None:
        """Raise `SecurityError` where a setting says that TLS was meant; `remedy` is what to do."""
        for setting in ("ca_file", "cert_file", "key_file"):
            if getattr(self, setting) is not None:
                raise SecurityError(
                    f"{self.named(setting)}: the address is not one of TLS, so this certificate "
                    f"would protect nothing. {remedy}"
                )


def kafka_security(settings: Settings) -> Security:
    """Return the credentials for Kafka, with what their files hold. Raises `SecurityError`."""
    if not settings.bus.startswith("kafka"):
        return Security("kafka")
    found = _security(settings, "kafka")
    if found.user is not None and found.password is None:
        raise SecurityError(
            f"{found.named('user')}: a user without a password. Give "
            f"{found.named('password_file')} or {found.named('password')}."
        )
    if found.user is None and found.password is not None:
        raise SecurityError(
            f"{found.named('password')}: a password without a user. Give {found.named('user')}."
        )
    return found


def redis_security(settings: Settings) -> Security:
    """Return the credentials for Redis, with what their files hold. Raises `SecurityError`."""
    return _security(settings, "redis")


def tls_failure(error: ssl.SSLError, security: Security) -> str:
    """What is wrong between two sides of TLS, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedies = {
            _DATES: "its certificate has expired or is not valid yet. Have it renewed.",
            _NAMES: "its certificate is for another host name. Give the address by the name in the "
            "certificate, or have that issued for the address.",
            _AUTHORITIES: "its certificate comes from an authority that is not trusted here. Let "
            f"{security.named('ca_file')} name the file of the one that issued it.",
        }
        found = (text for codes, text in remedies.items() if error.verify_code in codes)
        return next(found, f"its certificate does not hold ({error.verify_message}).")
    reason = error.reason or ""
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA")):
        return (
            "it does not accept the client's certificate, or misses one. Let "
            f"{security.named('cert_file')} name a valid one that it trusts."
        )
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "it does not speak TLS there. Give the address of its TLS port, or leave out TLS."
    return f"TLS fails: {reason.replace('_', ' ').lower() or error}."


def _security(settings: Settings, server: Server) -> Security:
    names = Security(server)

    def of(setting: str) -> Path | None:
        path: Path | None = getattr(settings, f"{server}_{setting}")
        return path

    secret = settings.kafka_password if server == "kafka" else settings.redis_password
    password = None if secret is None else secret.get_secret_value()
    path = of("password_file")
    if path is not None:
        if password is not None:
            raise SecurityError(
                f"{names.named('password')} and {names.named('password_file')}: give one of them."
            )
        password = _read(path, names.named("password_file")).rstrip("\r\n")
        if not password:
            raise SecurityError(f"{names.named('password_file')}: the file is empty.")
    return Security(
        server,
        user=settings.kafka_user if server == "kafka" else None,
        password=password,
        mechanism=settings.kafka_sasl_mechanism,
        ca_file=of("ca_file"),
        cert_file=of("cert_file"),
        key_file=of("key_file"),
    )


def _read(path: Path, named: str) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SecurityError(f"{named}: the file cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SecurityError(f"{named}: the file is not text.") from None


def _no_passphrase() -> str:
    """Instead of asking for one at the terminal, which nobody may be sitting at."""
    raise ValueError("the key has a passphrase")
