"""The web page's server: what it answers, to whom, and what it does when something is missing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from stream.core.windows import measure
from stream.events import Alarm, ChallengerReport, Label, Segment, utc
from stream.io.bus import BusUnavailable, Record, TopicPartition, TopicSpec, connect, read_whole
from stream.io.challengers import ChallengerWriter
from stream.io.local_redis import LocalRedisServer
from stream.io.security import SecurityError
from stream.io.store import StoreReader, StoreWriter
from stream.settings import Settings
from stream.watch import hub as hubs
from stream.watch.dashboard import MAX_BODY_BYTES, PAGE, app
from stream.watch.door import new_token, token_of
from stream.watch.marking import Marking
from stream.watch.snapshot import Snapshot
from stream.watch.verdict import verdict
from tests.unit.test_terminal import NOW, REPORTS, alert, labelled, live

TOKEN = "a-token-for-the-tests"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def put(server: LocalRedisServer, prefix: str, **changes: Any) -> None:
    """Have a worker report windows, what it says of itself, and three alerts."""
    writer = StoreWriter(server.url, prefix, worker="w1", window_expiry_seconds=600)
    writer.put_windows(REPORTS)
    writer.put_live(live("w1", reported_at=utc(time.time()), **{"lag": 7} | changes))
    writer.put_alerts([alert(number, decided_at=utc(time.time() + number)) for number in range(3)])
    assert writer.flush(10)
    writer.close(timeout_seconds=5)


@contextlib.contextmanager
def served(
    server: LocalRedisServer, prefix: str, bus: str = "", **door: Any
) -> Iterator[TestClient]:
    """A client of the page, on Redis and, where one is given, a bus."""
    settings = Settings(bus=bus or "sqlite:////nowhere/bus.db", redis=server.url)
    with closing(StoreReader(server.url, prefix)) as reader:
        marking = Marking(settings, reader, lambda: connect(settings.bus))
        application = app(reader, marking, token=TOKEN, **door)
        with TestClient(application, base_url="http://127.0.0.1:9465") as client:
            yield client


def labels(bus: str) -> list[tuple[Record, Label]]:
    """What is on the labels topic."""
    with closing(connect(bus).reader()) as reader:
        sources = [TopicPartition("labels", partition) for partition in range(4)]
        found = list(read_whole(reader, sources))
    return [(record, Label.model_validate_json(record.value or b"")) for record in found]


@pytest.fixture
def bus(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/bus.db"
    connect(url).create_topics([TopicSpec("labels", 4), TopicSpec("transactions", 4)])
    return url


def test_the_snapshot_has_the_figures_that_are_in_redis(server: LocalRedisServer) -> None:
    put(server, "figures")
    with served(server, "figures") as client:
        shown = client.get("/api/snapshot").json()
    quality = measure([report for report in REPORTS if report.labelled])
    assert shown["windows"]["quality"] == quality.asdict()
    assert shown["now"]["lag"] == 7
    assert shown["now"]["model"]["threshold"] == 0.3123
    assert [each["alert_id"] for each in shown["alerts"]["alerts"]] == [
        "alert-2",
        "alert-1",
        "alert-0",
    ]
    assert shown["alerts"]["alerts"][0]["reasons"] == ["drains the account"]
    low, high = shown["windows"]["intervals"]["precision"]
    assert low < quality.precision < high
    assert [point["precision"] for point in shown["windows"]["points"]] == [0.75] * 3 + [None]


def test_challengers_stand_beside_the_one_in_force_as_they_are_in_redis(
    server: LocalRedisServer,
) -> None:
    measures = {"transactions": 1000, "labelled": 900, "precision": 0.5, "cost": None}
    report = ChallengerReport(
        name="plain",
        settings={"learner": "linear"},
        reported_at=datetime.now(UTC),
        done=False,
        graded_from=None,
        event_time=NOW,
        in_force=measures,
        challenger=measures | {"precision": 0.75},
        apart={
            **{"frauds_only_in_force": 2, "frauds_only_challenger": 12, "frauds_by_chance": 0.013},
            **{"false_only_in_force": 0, "false_only_challenger": 0, "false_by_chance": 1.0},
        },
    )
    with served(server, "challengers") as client:
        assert client.get("/api/snapshot").json()["challengers"] == {"challengers": []}
        writer = ChallengerWriter(server.url, "challengers", "plain", expiry_seconds=600)
        writer.put(report)
        writer.close(timeout_seconds=10)
        (shown,) = client.get("/api/snapshot").json()["challengers"]["challengers"]
    assert shown["challenger"] == report.challenger
    assert shown["in_force"] == report.in_force
    assert shown["from"] is None
    assert shown["said"][0].startswith("frauds: 2 caught only in force, 12 only by")


@pytest.mark.parametrize("name", ["1h", "6h", "1d", "30d"])
def test_a_range_counts_every_window_in_it_once(server: LocalRedisServer, name: str) -> None:
    put(server, f"range-{name}")
    with served(server, f"range-{name}") as client:
        shown = client.get(f"/api/snapshot?range={name}").json()["windows"]
    hours = {"1h": 1}.get(name, 4)
    assert shown["recent"]["transactions"] == 2000 * hours
    # A point of a month is six hours long, so here one holds all of them.
    matured = {"1h": 0, "30d": 4}.get(name, 3)
    assert shown["quality"]["transactions"] == 2000 * matured


def test_the_curve_tells_what_each_threshold_would_have_done(server: LocalRedisServer) -> None:
    put(server, "curve", threshold=0.5)
    with served(server, "curve") as client:
        shown = client.get("/api/snapshot").json()["windows"]
    curve = shown["curve"]
    assert curve["caught"] == [6 * 6, 6 * 10]
    assert curve["false_alarms"] == [6 * 2, 6 * 890]
    assert curve["precision"][0] == pytest.approx(0.75)
    assert curve["recall"] == [pytest.approx(0.6), 1.0]
    assert curve["amount_missed"] is None, "these windows do not tell amounts by score"
    assert curve["alerts_per_day"][0] == pytest.approx(10 * 6 / (3 / 24))
    assert shown["in_force"] == 0
    assert curve["threshold"][shown["in_force"]] >= 0.5


def test_amounts_by_score_are_told_where_they_are_those_of_all_frauds(
    server: LocalRedisServer,
) -> None:
    writer = StoreWriter(server.url, "amounts", worker="w1", window_expiry_seconds=600)
    amounts = {20: 1_250_000.0, -100: 18_200.0}
    writer.put_windows([labelled(0, fraud_amounts=amounts)])
    assert writer.flush(10)
    writer.close(timeout_seconds=5)
    with served(server, "amounts") as client:
        curve = client.get("/api/snapshot").json()["windows"]["curve"]
    assert curve["amount_caught"] == [1_250_000.0, 1_268_200.0]
    assert curve["amount_missed"] == [18_200.0, 0.0]


def test_segments_have_rates_with_intervals(server: LocalRedisServer) -> None:
    writer = StoreWriter(server.url, "segments", worker="w1", window_expiry_seconds=600)
    parts = {"type": {"DEBIT": Segment(500, 5, 3, 1, 440, 1), "CASH_IN": Segment(9, 0, 0, 0, 9, 0)}}
    writer.put_windows([labelled(0, 0, segments=parts), labelled(0, 1, segments=parts)])
    assert writer.flush(10)
    writer.close(timeout_seconds=5)
    with served(server, "segments") as client:
        (group,) = client.get("/api/snapshot").json()["windows"]["segments"]
    first, second = group["values"]
    assert (group["field"], first["value"], first["transactions"]) == ("type", "DEBIT", 1000)
    assert first["false_negative_rate"]["value"] == 0.25
    assert first["false_negative_rate"]["low"] < 0.25 < first["false_negative_rate"]["high"]
    assert first["false_positive_rate"]["value"] == pytest.approx(1 / 441)
    assert second["recall"] is None
    assert second["false_positive_rate"]["low"] == 0


def test_an_alert_is_shown_with_its_reasons_in_words(server: LocalRedisServer) -> None:
    put(server, "alert")
    with served(server, "alert") as client:
        shown = client.get("/api/alerts/alert-1").json()
        gone = client.get("/api/alerts/alert-99")
    assert shown["reasons"][0]["words"] == "drains the account"
    assert (shown["model_position"], shown["mark"]) == (3, None)
    assert gone.status_code == 404
    assert "weir alerts" in gone.json()["error"]


def test_a_mark_is_a_label_in_the_partition_of_its_transaction(
    server: LocalRedisServer, bus: str
) -> None:
    put(server, "mark")
    with served(server, "mark", bus) as client:
        said = client.post("/api/alerts/alert-1/label", json={"is_fraud": True}, headers=BEARER)
        shown = client.get("/api/alerts/alert-1").json()["mark"]
    assert said.status_code == 201
    ((record, label),) = labels(bus)
    assert (label.transaction_id, label.is_fraud, label.source) == ("1", True, "analyst")
    assert record.key == b"C553264065", "the key field of its transaction"
    assert shown["is_fraud"] is True


def test_a_label_in_a_replayed_stream_has_the_time_of_the_stream(
    server: LocalRedisServer, bus: str
) -> None:
    newest = datetime(2026, 1, 2, 6, tzinfo=UTC)
    put(server, "replayed", event_time=newest - timedelta(hours=5), label_time=newest)
    with served(server, "replayed", bus) as client:
        client.post("/api/alerts/alert-1/label", json={"is_fraud": False}, headers=BEARER)
    ((_, label),) = labels(bus)
    assert label.labelled_at == newest


def test_a_label_in_a_live_stream_has_the_time_of_the_clock(
    server: LocalRedisServer, bus: str
) -> None:
    before = datetime.now(UTC)
    put(server, "clock", event_time=before - timedelta(hours=9))
    with served(server, "clock", bus) as client:
        client.post("/api/alerts/alert-1/label", json={"is_fraud": False}, headers=BEARER)
    ((_, label),) = labels(bus)
    assert before <= label.labelled_at <= datetime.now(UTC)


def test_alarms_are_shown_in_words_and_spoil_the_verdict(server: LocalRedisServer) -> None:
    raised = Alarm(
        name="feature_missing:dest_balance",
        since=utc(time.time() - 90),
        figure=0.9,
        limit=0.5,
        cause="90 % of the last block lack the field",
        look="the field at its producer",
    )
    put(server, "alarms", alarms=(raised,), lag=0)
    with served(server, "alarms") as client:
        now = client.get("/api/snapshot").json()["now"]
    assert now["verdict"]["words"] == "1 alarm"
    assert now["alarms"][0]["words"] == "a field has gone missing (dest_balance)"
    assert now["alarms"][0]["cause"] == raised.cause


def test_the_verdict_names_the_worst_first() -> None:
    fine = live(reported_at=NOW, lag=3)
    assert verdict(Snapshot(taken_at=NOW, live=(fine,))).words == "healthy"
    behind = fine.model_copy(update={"lag": 6_000, "transactions_per_second": 500.0})
    assert verdict(Snapshot(taken_at=NOW, live=(behind,))).words == "behind by 12 s"
    still = fine.model_copy(update={"lag": 6_000, "transactions_per_second": 0.0})
    assert verdict(Snapshot(taken_at=NOW, live=(still,))).level == "bad"
    silent = behind.model_copy(update={"reported_at": NOW - timedelta(seconds=30)})
    told = verdict(Snapshot(taken_at=NOW, live=(behind, silent)))
    assert (told.level, told.words, len(told.notes)) == ("bad", "worker silent for 30 s", 2)
    assert verdict(Snapshot(taken_at=NOW)).words == "no worker"
    assert verdict(Snapshot(taken_at=NOW, live=(fine,), trouble="x")).words == "Redis is away"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong-token-of-some-length"}, {"Authorization": TOKEN}],
)
def test_nothing_is_marked_without_the_token(
    server: LocalRedisServer, bus: str, headers: dict[str, str]
) -> None:
    put(server, "no-token")
    with served(server, "no-token", bus) as client:
        client.post("/api/session", headers=BEARER)  # its cookie is to read with, not to write
        said = client.post("/api/alerts/alert-1/label", json={"is_fraud": True}, headers=headers)
    assert said.status_code == 401
    assert "#token=" in said.json()["error"]
    assert labels(bus) == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"is_fraud": 1}', b'{"is_fraud": true, "x": 1}'])
def test_a_body_that_is_not_understood_is_refused(
    server: LocalRedisServer, bus: str, body: bytes
) -> None:
    put(server, "body")
    with served(server, "body", bus) as client:
        said = client.post("/api/alerts/alert-1/label", content=body, headers=BEARER)
    assert said.status_code == 400
    assert labels(bus) == []


def test_a_body_without_end_is_not_read(server: LocalRedisServer) -> None:
    put(server, "long")
    with served(server, "long") as client:
        body = b" " * (MAX_BODY_BYTES + 1)
        said = client.post("/api/alerts/alert-1/label", content=body, headers=BEARER)
    assert said.status_code == 413


def test_a_bus_that_is_away_is_said_and_nothing_is_marked(server: LocalRedisServer) -> None:
    put(server, "no-bus")
    with served(server, "no-bus") as client:
        said = client.post("/api/alerts/alert-1/label", json={"is_fraud": True}, headers=BEARER)
        shown = client.get("/api/alerts/alert-1").json()
    assert said.status_code == 503
    assert said.json()["error"].startswith("The label was not sent: ")
    assert shown["mark"] is None


def test_while_redis_is_away_the_page_is_told_and_keeps_its_figures() -> None:
    local = LocalRedisServer(prefer="fakeredis")
    local.start()
    put(local, "away")
    with served(local, "away") as client:
        before = client.get("/api/snapshot").json()
        local.stop()
        after = client.get("/api/snapshot").json()
        gone = client.get("/api/alerts/alert-1")
    assert after["now"]["verdict"]["words"] == "Redis is away"
    assert after["now"]["trouble"]
    assert after["windows"]["quality"] == before["windows"]["quality"]
    assert gone.status_code == 503
    assert "Traceback" not in gone.text


@pytest.mark.parametrize("path", ["/", "/api/snapshot", "/nowhere", "/api/alerts/none"])
def test_every_answer_has_the_headers_that_keep_others_out(
    server: LocalRedisServer, path: str
) -> None:
    with served(server, "headers") as client:
        headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9465", 200),
        ("localhost:1", 200),
        ("[::1]:9465", 200),
        ("weir.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@127.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_names_that_are_ours_are_served(
    server: LocalRedisServer, host: str, status: int
) -> None:
    with served(server, "hosts", hosts=["weir.example"]) as client:
        for path in ("/", "/api/snapshot", "/events"):
            if status == 200 and path == "/events":
                continue  # it does not end
            assert client.get(path, headers={"Host": host}).status_code == status, path


def test_beyond_the_loopback_reading_needs_the_token_and_the_cookie_is_enough(
    server: LocalRedisServer,
) -> None:
    put(server, "locked")
    with served(server, "locked", reading_needs_token=True) as client:
        assert client.get("/").status_code == 200, "the page itself shows nothing"
        for path in ("/api/snapshot", "/api/alerts/alert-1", "/events"):
            assert client.get(path).status_code == 401, path
        assert client.get("/api/session").json() == {"may_read": False, "may_write": False}
        assert client.post("/api/session").status_code == 401
        opened = client.post("/api/session", headers=BEARER)
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/snapshot").status_code == 200
        assert client.get("/api/session").json() == {"may_read": True, "may_write": False}


@pytest.mark.parametrize("odd", ["a=1; b[0]={x}", 'q="; z', "no-value", "ü=ö", "; ;=;"])
def test_the_cookie_is_found_between_odd_ones_of_other_programs(
    server: LocalRedisServer, odd: str
) -> None:
    with served(server, "odd", reading_needs_token=True) as client:
        own = client.post("/api/session", headers=BEARER).headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        for sent, may_read in ((f"{odd}; {own}; {odd}", True), (odd, False)):
            said = client.get("/api/session", headers={"Cookie": sent.encode()})
            assert said.json()["may_read"] is may_read, sent


def test_two_dashboards_on_one_host_keep_a_cookie_each(server: LocalRedisServer) -> None:
    with served(server, "ports", reading_needs_token=True) as client:
        for host in ("127.0.0.1:9465", "127.0.0.1:9466", "127.0.0.1"):
            client.post("/api/session", headers=BEARER | {"Host": host})
        assert set(client.cookies) == {"weir_session_9465", "weir_session_9466", "weir_session"}
        other = {"Cookie": f"weir_session_9466={client.cookies['weir_session_9466']}"}
        client.cookies.clear()
        for port, may_read in ((9465, False), (9466, True)):
            headers = other | {"Host": f"127.0.0.1:{port}"}
            assert client.get("/api/session", headers=headers).json()["may_read"] is may_read


def test_a_range_or_a_path_that_is_not_there_is_a_sentence(server: LocalRedisServer) -> None:
    with served(server, "unknown") as client:
        assert "Give one of newest, 15m" in client.get("/api/snapshot?range=2h").json()["error"]
        for method, path, status in (
            ("GET", "/nowhere", 404),
            ("DELETE", "/api/session", 405),
            ("GET", "/..%2f..%2fsettings.py", 404),
        ):
            answer = client.request(method, path)
            assert answer.status_code == status, path
            assert set(answer.json()) == {"error"}


def test_a_page_too_many_is_told_so(
    server: LocalRedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "MAX_PAGES", 0)
    with served(server, "full") as client:
        said = client.get("/events")
    assert said.status_code == 503
    assert "As many pages are open" in said.json()["error"]


def test_the_token_of_the_settings_is_taken_and_a_weak_one_refused(tmp_path: Path) -> None:
    assert token_of(Settings()) is None
    assert token_of(Settings.model_validate({"dashboard_token": TOKEN})) == TOKEN
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert token_of(Settings(dashboard_token_file=path)) == TOKEN
    for weak in ("short", "with blanks in between them", "ü" * 20):
        with pytest.raises(SecurityError, match="is no token"):
            token_of(Settings.model_validate({"dashboard_token": weak}))
    with pytest.raises(SecurityError, match="cannot be read"):
        token_of(Settings(dashboard_token_file=tmp_path / "nowhere"))
    assert new_token() != new_token()


def test_a_publisher_that_fails_leaves_no_mark(server: LocalRedisServer) -> None:
    put(server, "fails")

    def away() -> Any:
        raise BusUnavailable("The bus is away.")

    with closing(StoreReader(server.url, "fails")) as reader:
        shown = reader.alert("alert-1")
        assert shown is not None
        with pytest.raises(BusUnavailable):
            Marking(Settings(), reader, away).mark(shown, is_fraud=True)
        assert reader.marks(["alert-1"]) == {}


def test_the_page_asks_nothing_of_another_host_and_has_no_script_in_its_markup() -> None:
    for path in PAGE.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path.name
        if path.suffix == ".html":
            assert "<style" not in text
            assert "<script>" not in text
            assert "style=" not in text
            assert " onclick" not in text
    sizes = {path.name: len(path.read_text().splitlines()) for path in PAGE.glob("*.js")}
    assert max(sizes.values()) < 200, sizes


def test_events_are_json_by_part(server: LocalRedisServer) -> None:
    put(server, "view")
    with served(server, "view") as client:
        shown = client.get("/api/snapshot").text
    assert set(json.loads(shown)) == {"now", "windows", "alerts", "challengers"}
