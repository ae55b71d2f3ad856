"""TLS, users and rights, on a real Kafka and a real Redis: the way in, and every way not to."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

from producers.__main__ import main as produce
from stream.__main__ import main
from stream.core.windows import measure
from stream.io.bus import BusRefused, connect
from stream.io.redis_link import StoreError
from stream.io.redis_link import connect as connect_redis
from stream.io.security import Security, SecurityError, kafka_security, redis_security
from stream.io.store import StoreReader
from stream.settings import Settings
from stream.watch.marking import Marking
from tests.commands import Ended, Weir
from tests.servers import kafka as kafka_server
from tests.servers import redis as redis_server
from tests.servers.certificates import Authority
from tests.servers.secured import SecuredKafka, SecuredRedis

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
MARK = "s3cret-of"
"""Every secret here begins like this, so that one search finds any."""


def run(*command: str, **env: str) -> Ended:
    """Run a command as people do; whatever comes of it, no secret is seen on the way."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "stream", *command],
        env=clean | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if sys.platform == "linux":
        assert MARK not in Path(f"/proc/{process.pid}/cmdline").read_text()
    out, err = process.communicate(timeout=180)
    assert MARK not in out + err
    assert "Traceback" not in err
    return Ended(process.returncode, out, err)


@pytest.fixture
def weir(weir: Weir) -> Weir:
    """As everywhere; and as in `run`, no secret is seen."""

    def quiet(*command: str, **given: Any) -> Ended:
        ended = weir(*command, **given)
        assert MARK not in ended.said
        return ended

    return quiet


def rights(role: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """What docs/security.md gives to a role in Kafka."""
    found = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] == role:
            kind = cells[1].upper().replace(" ", "_")
            for name in re.findall(r"`([^`]+)`", cells[2]):
                found[kind, name] = tuple(cells[3].split())
    assert found, role
    return found


class Place:
    """The servers, and the settings with which each role comes to them."""

    def __init__(self, folder: Path, kafka: SecuredKafka, redis: SecuredRedis) -> None:
        self.folder, self.kafka, self.redis = folder, kafka, redis
        self.ca = str(kafka.authority.ca)

    def secret(self, user: str) -> str:
        path = self.folder / f"{user}.password"
        path.write_text(f"{MARK}-{user}\n")
        return str(path)

    def role(self, user: str, **changes: str) -> dict[str, str]:
        """Settings of a role; what is changed to an empty text is left out."""
        env = {
            "WEIR_BUS": self.kafka.url("scram"),
            "WEIR_KAFKA_USER": user,
            "WEIR_KAFKA_PASSWORD_FILE": self.secret(user),
            "WEIR_KAFKA_CA_FILE": self.ca,
            "WEIR_REDIS": f"rediss://{user}@localhost:{self.redis.tls_port}/0",
            "WEIR_REDIS_PASSWORD_FILE": self.secret(user),
            "WEIR_REDIS_CA_FILE": self.ca,
            "WEIR_LEARNER": "linear",
            "WEIR_PARTITIONS": "1",
        }
        return {name: value for name, value in (env | changes).items() if value}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    missing = kafka_server.missing() or redis_server.missing()
    if missing and os.environ.get("WEIR_REQUIRE_SERVERS") == "1":
        pytest.fail(f"WEIR_REQUIRE_SERVERS=1, but: {missing}", pytrace=False)
    if missing:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("secured")
    with ExitStack() as servers:
        kafka = SecuredKafka(folder, {"plain": f"{MARK}-plain"})
        servers.callback(kafka.stop)
        kafka.start()
        rules = re.findall(r"^user \w+ (?:on|off).*$", PAGE, re.MULTILINE)
        assert len(rules) == 5
        users = re.sub(r"user (\w+) on >PASSWORD", rf"user \1 on >{MARK}-\1", "\n".join(rules))
        redis = SecuredRedis(folder, kafka.authority, users + "\n", "localhost")
        servers.callback(redis.stop)
        redis.start()
        kafka.grant("User:worker", {("TRANSACTIONAL_ID", "lent/*"): ("WRITE", "DESCRIBE")})
        for role in ("admin", "producer", "worker", "viewer", "operator", "analyst", "dashboard"):
            kafka.add_user(role, f"{MARK}-{role}", rights(role), "SCRAM-SHA-512")
        yield Place(folder, kafka, redis)


@pytest.mark.kafka
@pytest.mark.redis
def test_each_role_does_its_part_of_the_journey_with_no_more_rights_than_documented(
    place: Place, tmp_path: Path, weir: Weir
) -> None:
    made = weir("topics", "create", **place.role("admin"))
    assert made.code == 0, made.err
    assert made.out.count("created") == 8
    sent = weir(
        "paysim", "--transactions=600", "--clients=300", "--fraud-rate=0.05", "--label-delay=1h",
        "--quiet", entry=produce, **place.role("producer"),
    )  # fmt: skip
    assert sent.code == 0, sent.err
    worker = place.role("worker")
    looked = run("check", **worker)
    assert looked.code == 0, looked.out
    worked = weir("detect", "--until-end", f"--state-dir={tmp_path}/state", **worker)
    assert worked.code == 0, worked.err
    assert "WARNING" not in worked.err
    for snapshot in (tmp_path / "state").iterdir():
        assert MARK.encode() not in snapshot.read_bytes()
    replayed = weir("dead-letters", "replay", **place.role("operator"))
    assert replayed.code == 0, replayed.err
    viewer = place.role("viewer")
    analyst = place.role("analyst")
    tried = weir("replay", "--from=beginning", "--threshold=f_beta:2", **analyst)
    assert tried.code == 0, tried.err
    assert "WARNING" not in tried.err
    as_viewer_of_redis = {name: viewer[name] for name in viewer if "REDIS" in name}
    audited = weir("audit", f"--out={tmp_path}/audit", **analyst | as_viewer_of_redis)
    assert audited.code == 0, audited.err
    alerts = weir("alerts", "--json", **viewer)
    assert alerts.code == 0, alerts.err
    shown = weir("watch", "--once", "--plain", **viewer)
    assert shown.code == 0, shown.err
    assert "decided=600" in shown.out
    as_viewer = Security("redis", password=f"{MARK}-viewer", ca_file=Path(place.ca))
    reader = StoreReader(viewer["WEIR_REDIS"], "weir", as_viewer)
    windows = measure(reader.windows())
    (newest,) = reader.alerts(1)
    dashboard = place.role("dashboard")
    settings = Settings.model_validate(
        {name.removeprefix("WEIR_").lower(): value for name, value in dashboard.items()}
    )
    with closing(StoreReader(settings.redis, "weir", redis_security(settings))) as own:
        marking = Marking(settings, own, lambda: connect(settings.bus, kafka_security(settings)))
        mark = marking.mark(newest, is_fraud=True)
    assert reader.marks([newest.alert_id]) == {newest.alert_id: mark}
    reader.close()
    assert windows.transactions == 600
    assert windows.alerts == len(alerts.out.splitlines()) > 0
    assert all(json.loads(line)["alert_id"] for line in alerts.out.splitlines())


class Refusal(NamedTuple):
    """What is wrong, the exit code of it, and what must be said."""

    changes: dict[str, str]
    code: int
    says: str
    command: tuple[str, ...] = ("check",)
    role: str = "worker"


NOBODY = {"WEIR_KAFKA_USER": "", "WEIR_KAFKA_PASSWORD_FILE": ""}
REFUSALS = {
    "a wrong password": Refusal(
        {"WEIR_KAFKA_PASSWORD_FILE": "{wrong}"}, 5, "not accept user 'worker' with this password"
    ),
    "an unknown user": Refusal(
        {"WEIR_KAFKA_USER": "ann"}, 5, "not accept user 'ann' with this password"
    ),
    "a mechanism with other passwords": Refusal(
        {"WEIR_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}, 5, "WEIR_KAFKA_SASL_MECHANISM"
    ),
    "no user": Refusal(NOBODY, 5, "without a user. Set kafka_user"),
    "an expired certificate": Refusal({**NOBODY, "WEIR_BUS": "{expired}"}, 5, "has expired"),
    "another host's certificate": Refusal(
        {**NOBODY, "WEIR_BUS": "{elsewhere}"}, 5, "for another host name"
    ),
    "a certificate of an unknown authority": Refusal(
        {**NOBODY, "WEIR_BUS": "{strange}"}, 5, "WEIR_KAFKA_CA_FILE"
    ),
    "a port that wants a client certificate": Refusal(
        {**NOBODY, "WEIR_BUS": "{mutual}"}, 5, "WEIR_KAFKA_CERT_FILE"
    ),
    "no TLS where it is wanted": Refusal(
        {"WEIR_BUS": "kafka://{scram_host}", "WEIR_KAFKA_CA_FILE": ""}, 5, "Write kafkas://"
    ),
    "TLS where there is none": Refusal({"WEIR_BUS": "kafkas://{plain_host}"}, 3, "TLS port"),
    "a user where there are none": Refusal(
        {"WEIR_BUS": "kafka://{plain_host}", "WEIR_KAFKA_CA_FILE": ""}, 5, "knows no users there"
    ),
    "a topic to look at": Refusal({}, 5, "use topic alerts, dead-letters", role="producer"),
    "a topic to read": Refusal({}, 5, "use topic alerts", ("alerts",), role="producer"),
    "a topic to make": Refusal({}, 5, "use topic own", ("topics", "create", "--alerts-topic=own")),
    "a transactional id": Refusal(
        {}, 5, "use transactional id other/me", ("detect", "--group=other", "--worker-id=me")
    ),
    "a group": Refusal(
        {}, 5, "use consumer group", ("detect", "--group=lent", "--worker-id=me", "--until-end")
    ),
    "a wrong password of Redis": Refusal(
        {"WEIR_REDIS_PASSWORD_FILE": "{wrong}"}, 5, "Check user and password: WEIR_REDIS,"
    ),
    "a Redis user without rights": Refusal(
        {"WEIR_REDIS": "rediss://viewer@{redis}/0", "WEIR_REDIS_PASSWORD_FILE": "{viewer}"},
        5, "rights (ACL) of its role",
    ),
    "a Redis of an unknown authority": Refusal(
        {"WEIR_REDIS_CA_FILE": ""}, 5, "WEIR_REDIS_CA_FILE"
    ),
    "another host's certificate at Redis": Refusal(
        {"WEIR_REDIS": "rediss://worker@{redis_number}/0"}, 5, "for another host name"
    ),
    "a Redis that wants TLS": Refusal(
        {"WEIR_REDIS": "redis://worker@{redis}/0", "WEIR_REDIS_CA_FILE": ""}, 3, "rediss://"
    ),
    "a Redis to watch": Refusal(
        {"WEIR_REDIS_PASSWORD_FILE": "{wrong}"}, 5, "Check user and password", ("watch",)
    ),
}  # fmt: skip


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_ends_in_one_clear_line_and_an_exit_code(
    place: Place, what: str, weir: Weir
) -> None:
    changes, code, says, command, role = REFUSALS[what]
    kafka, redis = place.kafka, place.redis
    names = {
        "wrong": place.secret("wrong"), "viewer": place.secret("viewer"),
        **{name: kafka.url(name) for name in kafka.ports},
        "scram_host": kafka.url("scram").partition("://")[2], "plain_host": kafka.bootstrap,
        "redis": f"localhost:{redis.tls_port}", "redis_number": f"127.0.0.1:{redis.tls_port}",
    }  # fmt: skip
    filled = {name: value.format_map(names) for name, value in changes.items()}
    ended = weir(*command, **place.role(role, **filled))
    assert ended.code == code, ended.said
    lines = [line for line in ended.said.splitlines() if says in line]
    assert len(lines) == 1, ended.said
    assert lines[0].startswith(("weir: ", "FAIL  bus ", "FAIL  redis ")), lines[0]


@pytest.mark.kafka
@pytest.mark.redis
def test_a_producer_that_is_refused_says_so_and_ends(place: Place, weir: Weir) -> None:
    few = ("paysim", "--transactions=5", "--quiet")
    refused = weir(*few, entry=produce, **place.role("viewer"))
    assert refused.code == 1
    assert "use topic labels, transactions" in refused.err
    assert len(refused.err.splitlines()) == 1


@pytest.mark.kafka
@pytest.mark.redis
def test_a_worker_that_redis_refuses_warns_once_and_goes_on_scoring(
    place: Place, tmp_path: Path, weir: Weir
) -> None:
    env = place.role("worker", WEIR_REDIS_PASSWORD_FILE=place.secret("wrong"))
    env["WEIR_BUS"] = f"sqlite:///{tmp_path}/bus.db"
    assert weir("topics", "create", **env).code == 0
    sent = weir("paysim", "--transactions=50", "--quiet", entry=produce, **env)
    assert sent.code == 0, sent.err
    worked = weir("detect", "--until-end", **env)
    assert worked.code == 0, worked.err
    assert "50 transactions decided" in worked.err
    assert worked.err.count("Check user and password") == 1
    assert worked.err.count("Scoring goes on") == 1


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_every_mechanism_lets_its_user_in(place: Place, mechanism: str) -> None:
    user, password = "plain", f"{MARK}-plain"
    if mechanism != "PLAIN":
        user = mechanism.lower()
        place.kafka.add_user(user, password, {("TOPIC", "seen"): ("READ",)}, mechanism)
    security = Security("kafka", user, password, mechanism, Path(place.ca))
    assert connect(place.kafka.url("scram"), security).topics() == {}
    refused = Security("kafka", user, "x", mechanism, Path(place.ca))
    with pytest.raises(BusRefused, match="with this password"):
        connect(place.kafka.url("scram"), refused).topics()


@pytest.mark.kafka
@pytest.mark.redis
def test_a_client_certificate_is_a_user_too(place: Place) -> None:
    cert, key, both = place.kafka.authority.issue("visitor")
    place.kafka.grant("User:CN=visitor", {("CLUSTER", "kafka-cluster"): ("DESCRIBE",)})
    for files in ({"cert_file": cert, "key_file": key}, {"cert_file": both}):
        security = Security("kafka", ca_file=Path(place.ca), **files)
        assert connect(place.kafka.url("mutual"), security).topics() == {}
    late = place.kafka.authority.issue("late", days=-1)
    security = Security("kafka", ca_file=Path(place.ca), cert_file=late.both)
    with pytest.raises(BusRefused, match="accept the client's certificate"):
        connect(place.kafka.url("mutual"), security).topics()


@pytest.mark.parametrize("given", [
    ("--kafka-password", f"{MARK}-x"), (f"--redis-password={MARK}-x",),
    (f"--redis=redis://:{MARK}-x@localhost/0",), (f"--bus=kafka://ann:{MARK}-x@localhost:1",),
    (f"--redis=redis://localhost?password={MARK}-x",),
])  # fmt: skip
def test_a_password_in_a_flag_is_refused_without_repeating_it(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for entry, command in ((main, "check"), (main, "detect"), (produce, "paysim")):
        if entry is produce and given[0].startswith("--redis="):
            continue  # has no such flag
        try:
            code = entry([command, *given])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        assert code == 2, said.err
        assert "WEIR_KAFKA_PASSWORD_FILE" in said.err
        assert MARK not in said.out + said.err


def test_settings_show_no_secret_and_take_none_into_a_pickle() -> None:
    settings = Settings(
        bus="kafkas://localhost:1", kafka_user="ann", kafka_password=f"{MARK}-ann",
        redis=f"rediss://ann:{MARK}-b@localhost/0",
    )  # fmt: skip
    security = kafka_security(settings)
    assert security.password == f"{MARK}-ann"
    for shown in (repr(settings), str(settings), repr(security), repr(pickle.dumps(settings))):
        assert MARK not in shown
    assert pickle.loads(pickle.dumps(settings)).seed == settings.seed  # noqa: S301 - our own


@pytest.mark.parametrize(("values", "named"), [
    ({"kafka_user": "ann"}, "kafka_password_file"),
    ({"kafka_password": MARK}, "kafka_user"),
    ({"kafka_password": MARK, "kafka_password_file": "{empty}"}, "give one of them"),
    ({"kafka_user": "ann", "kafka_password_file": "{empty}"}, "the file is empty"),
    ({"kafka_user": "ann", "kafka_password_file": "{none}"}, "WEIR_KAFKA_PASSWORD_FILE"),
    ({"kafka_ca_file": "{none}"}, "WEIR_KAFKA_CA_FILE"),
    ({"kafka_ca_file": "{empty}"}, "no certificates in PEM"),
    ({"kafka_key_file": "{empty}"}, "a key without a certificate"),
    ({"kafka_cert_file": "{cert}"}, "WEIR_KAFKA_KEY_FILE"),
    ({"kafka_cert_file": "{cert}", "kafka_key_file": "{locked}"}, "has no passphrase"),
    ({"bus": "kafka://localhost:1", "kafka_ca_file": "{cert}"}, "would protect nothing"),
    ({"bus": "kafka://localhost:1", "kafka_user": "ann", "kafka_password": MARK,
      "kafka_sasl_mechanism": "PLAIN"}, "WEIR_KAFKA_SASL_MECHANISM"),
    ({"redis": "redis://localhost:1/0", "redis_ca_file": "{cert}"}, "would protect nothing"),
    ({"redis": "rediss://localhost:1/0", "redis_ca_file": "{empty}"}, "WEIR_REDIS_CA_FILE"),
    ({"redis": f"redis://:{MARK}@host:1/0", "redis_password": MARK}, "WEIR_REDIS_PASSWORD"),
    ({"redis": "rediss://localhost:1/0?ssl_cert_reqs=none"}, "WEIR_REDIS_CA_FILE"),
    ({"redis": "rediss://localhost:1/0?ssl_check_hostname=false"}, "WEIR_REDIS_CA_FILE"),
])  # fmt: skip
def test_settings_that_do_not_go_together_are_named_without_their_values(
    tmp_path: Path, values: dict[str, str], named: str
) -> None:
    issued = Authority(tmp_path, "own").issue("ann")
    (tmp_path / "empty").write_text("")
    key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
    sealed = serialization.BestAvailableEncryption(MARK.encode())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "locked").write_bytes(key.private_bytes(pem, pkcs8, sealed))
    files = {name: str(tmp_path / name) for name in ("empty", "none", "locked")}
    files["cert"] = str(issued.cert)
    given = {name: value.format_map(files) for name, value in values.items()}
    settings = Settings(**({"bus": "kafkas://localhost:1"} | given))

    def use() -> None:
        connect(settings.bus, kafka_security(settings))
        connect_redis(settings.redis, redis_security(settings))

    with pytest.raises((SecurityError, StoreError)) as raised:
        use()
    said = str(raised.value)
    assert named in said
    assert MARK not in said
    assert str(tmp_path) not in said
