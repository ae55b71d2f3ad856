"""Kafka and Redis as a bank would run them: TLS, users, rights. And listeners with wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from tests.servers.certificates import Authority
from tests.servers.kafka import LocalKafka, free_port
from tests.servers.redis import LocalRedis

Rights = Mapping[tuple[str, str], tuple[str, ...]]
"""Operations by type and name of a resource; a name that ends in `*` is a prefix."""


class SecuredKafka(LocalKafka):
    """One broker with an authorizer. Whoever comes by the plain port of the loopback is its admin.

    Its other listeners, by name: `scram` (TLS, users with a password), `mutual` (TLS, client
    certificates), and `expired`, `elsewhere` and `strange` (a certificate that is past its time,
    for another host, of an authority of its own), and `unencrypted` (users, no TLS). The users of
    SASL PLAIN are fixed, by name and password; those of SCRAM come with `add_user`.
    """

    def __init__(self, folder: Path, plain_users: Mapping[str, str]) -> None:
        self.authority = Authority(folder, "authority")
        own = self.authority.issue("broker", "localhost", "127.0.0.1")
        certificates = {
            "scram": own,
            "mutual": own,
            "expired": self.authority.issue("expired", "localhost", days=-1),
            "elsewhere": self.authority.issue("elsewhere", "broker.example"),
            "strange": Authority(folder, "stranger").issue("strange", "localhost"),
        }
        users = ("scram", "unencrypted")
        self.ports = {name: free_port() for name in (*certificates, "unencrypted")}
        kinds = {
            name: ("SASL_" if name in users else "")
            + ("SSL" if name in certificates else "PLAINTEXT")
            for name in self.ports
        }
        super().__init__()
        listeners = [f"{name.upper()}://localhost:{port}" for name, port in self.ports.items()]
        protocols = [f"{name.upper()}:{kind}" for name, kind in kinds.items()]
        properties = {
            "listeners": ",".join([self.properties["listeners"], *listeners]),
            "advertised.listeners": ",".join([self.properties["advertised.listeners"], *listeners]),
            "listener.security.protocol.map": ",".join(
                [self.properties["listener.security.protocol.map"], *protocols]
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        known = " ".join(f'user_{name}="{word}"' for name, word in plain_users.items())
        plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        mechanisms = "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN"
        for name in users:
            properties |= {
                f"listener.name.{name}.sasl.enabled.mechanisms": mechanisms,
                f"listener.name.{name}.plain.sasl.jaas.config": plain,
                f"listener.name.{name}.scram-sha-512.sasl.jaas.config": scram,
                f"listener.name.{name}.scram-sha-256.sasl.jaas.config": scram,
            }
        for name, issued in certificates.items():
            properties |= {
                f"listener.name.{name}.ssl.keystore.type": "PEM",
                f"listener.name.{name}.ssl.keystore.location": str(issued.both),
                f"listener.name.{name}.ssl.truststore.type": "PEM",
                f"listener.name.{name}.ssl.truststore.location": str(self.authority.ca),
            }
        properties["listener.name.mutual.ssl.client.auth"] = "required"
        self.configure(properties)

    def url(self, listener: str, scheme: str = "kafkas") -> str:
        return f"{scheme}://localhost:{self.ports[listener]}"

    def add_user(self, user: str, password: str, rights: Rights, mechanism: str) -> None:
        """A user of SCRAM with these rights and no others."""
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            refused = admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(user, mechanism, password)]
            )
            assert refused == {user: None}
        self.grant(f"User:{user}", rights)

    def grant(self, principal: str, rights: Rights) -> None:
        """Allow a principal these operations."""
        rules = []
        for (kind, name), operations in rights.items():
            pattern = ResourcePattern(
                ResourceType[kind],
                name.removesuffix("*"),
                ACLResourcePatternType.PREFIXED
                if name.endswith("*")
                else ACLResourcePatternType.LITERAL,
            )
            for operation in operations:
                allow, what = ACLPermissionType.ALLOW, ACLOperation[operation]
                rules.append(ACL(principal, "*", what, allow, pattern))
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            assert admin.create_acls(rules)["failed"] == []


class SecuredRedis(LocalRedis):
    """Redis with TLS only, and users of an ACL file."""

    def __init__(self, folder: Path, authority: Authority, rules: str, *hosts: str) -> None:
        own = authority.issue(f"redis-{'-'.join(hosts) or 'nowhere'}", *hosts)
        acl = folder / "users.acl"
        acl.write_text(rules)
        self.tls_port = free_port()
        super().__init__(
            ["--tls-port", str(self.tls_port), "--tls-cert-file", str(own.cert),
             "--tls-key-file", str(own.key), "--tls-auth-clients", "no", "--aclfile", str(acl)]
        )  # fmt: skip
