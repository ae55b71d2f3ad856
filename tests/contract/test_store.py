"""What the store promises, over fakeredis' server and over a real Redis."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from stream.core.windows import measure
from stream.events import (
    Alarm,
    Alert,
    ChallengerReport,
    LiveReport,
    Reason,
    WindowReport,
    alert_id,
    utc,
)
from stream.io.challengers import ChallengerWriter
from stream.io.local_redis import LocalRedisServer
from stream.io.store import (
    NEWEST_ALERTS,
    Keys,
    StoreError,
    StoreReader,
    StoreUnavailable,
    StoreWriter,
    address,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
SERVERS = ["fakeredis", pytest.param("redis-server", marks=pytest.mark.redis)]


def window(partition: int = 0, hour: int = 0, **changes: object) -> WindowReport:
    values: dict[str, object] = {
        "partition": partition,
        "start": START + timedelta(hours=hour),
        "seconds": 3600,
        "transactions": 1000,
        "alerts": 10,
        "labelled": 800,
        "true_positives": 6,
        "false_positives": 2,
        "true_negatives": 790,
        "false_negatives": 2,
        "amount": 1234.5,
        "amount_caught": 600.25,
        "amount_missed": 20.0,
        "amount_false": 3.0,
        "score_sum": 8.5,
        "alert_score_sum": 7.5,
        "labelled_score_sum": 7.0,
        "labelled_log_loss_sum": 30.0,
        "histogram": {-120: (990, 792, 1), 40: (10, 0, 7)},
        "fraud_amounts": {-120: 20.0, 40: 600.25},
        "segments": {"type": {"TRANSFER": (900, 9, 6, 1, 700, 2), "other": (100, 1, 0, 1, 90, 0)}},
        "threshold": 0.31,
        "fraud_prior": 0.0013,
        "sampling_rate": 0.04,
        "learned_share": 0.03,
        "model_position": 812,
    }
    return WindowReport.model_validate(values | changes)


_NESTED: dict[str, object] = {
    "weights": {"boosted": 0.75, "linear": 0.25},
    "alarms": (
        Alarm(
            name="feature_constant:drains",
            since=datetime(2026, 1, 1, tzinfo=UTC),
            figure=0.0,
            limit=1e-6,
            cause="drains has been 0 for 5,000 transactions",
            look="what produces it",
        ),
    ),
}


def live(worker: str = "w1", **changes: object) -> LiveReport:
    values: dict[str, object] = {**dict.fromkeys(LiveReport.model_fields, 1), **_NESTED}
    values |= {
        "worker": worker,
        "reported_at": utc(time.time()),
        "started_at": utc(time.time() - 60),
        "event_time": START,
        "partitions": (0, 2),
        "threshold_reason": "[held]",
    }
    return LiveReport.model_validate(values | changes)


def alert(name: str, seconds: float = 0, **changes: object) -> Alert:
    values: dict[str, object] = {
        "alert_id": alert_id(name),
        "transaction_id": name,
        "timestamp": START,
        "decided_at": START + timedelta(seconds=seconds),
        "type": "TRANSFER",
        "amount": 10.5,
        "nameOrig": "C1",
        "nameDest": "C2",
        "score": 0.9,
        "threshold": 0.3,
        "model_position": 3,
        "reasons": (Reason(feature="drains", value=1.0, habit=0.0, effect=2.5),),
    }
    return Alert.model_validate(values | changes)


@dataclasses.dataclass
class Store:
    """A server with a prefix of the test's own, and all that it has opened."""

    server: LocalRedisServer
    prefix: str
    opened: list[Callable[[], object]]

    def writer(self, **changes: object) -> StoreWriter:
        options: dict[str, object] = {
            "worker": "w1",
            "window_expiry_seconds": 86_400,
            "max_waiting": 100,
        }
        writer = StoreWriter(self.server.url, self.prefix, **(options | changes))  # type: ignore[arg-type]
        self.opened.append(lambda: writer.close(0.0))
        return writer

    def reader(self) -> StoreReader:
        reader = StoreReader(self.server.url, self.prefix)
        self.opened.append(reader.close)
        return reader

    def redis(self) -> Redis:
        client = Redis.from_url(self.server.url, decode_responses=True, protocol=2)
        self.opened.append(client.close)
        return client

    def close(self) -> None:
        for close in reversed(self.opened):
            close()


def start(kind: str) -> LocalRedisServer:
    if kind != "fakeredis" and shutil.which(kind) is None:
        missing = f"{kind} is not installed: the store is not tested over a real Redis"
        if os.environ.get("WEIR_REQUIRE_SERVERS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    server = LocalRedisServer(prefer=kind)  # type: ignore[arg-type]
    server.start()
    return server


@pytest.fixture(scope="module", params=SERVERS)
def shared_server(request: pytest.FixtureRequest) -> Iterator[LocalRedisServer]:
    server = start(request.param)
    yield server
    server.stop()


@pytest.fixture
def store(shared_server: LocalRedisServer) -> Iterator[Store]:
    store = Store(shared_server, f"weir-{uuid.uuid4().hex}", [])
    yield store
    store.close()


@pytest.fixture(params=SERVERS)
def own_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store on a server of the test's own, which it may stop."""
    server = start(request.param)
    store = Store(server, f"weir-{uuid.uuid4().hex}", [])
    yield store
    store.close()
    server.stop()


@pytest.fixture
def real_store() -> Iterator[Store]:
    server = start("redis-server")
    store = Store(server, f"weir-{uuid.uuid4().hex}", [])
    yield store
    store.close()
    server.stop()


def test_what_is_written_is_read_back_equal(store: Store) -> None:
    windows = [window(1), window(0), window(0, hour=-1, histogram={})]
    idle = live("w2", event_time=None)
    writer, reader = store.writer(), store.reader()
    writer.put_windows(windows)
    writer.put_live(live())
    assert writer.flush(5)
    writer.put_live(idle)
    writer.put_alerts([alert("a"), alert("b", 1, reasons=())])
    assert writer.flush(5)
    assert reader.windows() == [windows[2], windows[1], windows[0]]
    assert [report.worker for report in reader.live()] == ["w1", "w2"]
    assert reader.live()[1] == idle
    assert reader.alerts(10) == [alert("b", 1, reasons=()), alert("a")]
    assert reader.unreadable == 0
    reader.ping()


def test_windows_are_selected_by_start_with_since_included_and_until_not(store: Store) -> None:
    writer = store.writer()
    writer.put_windows(window(hour=hour) for hour in range(5))
    assert writer.flush(5)
    found = store.reader().windows(START + timedelta(hours=1), START + timedelta(hours=3))
    assert [report.start.hour for report in found] == [1, 2]


def test_a_window_written_again_is_overwritten_and_never_incremented(store: Store) -> None:
    writer, reader = store.writer(), store.reader()
    for _ in range(3):
        writer.put_windows([window(alerts=10)])
        assert writer.flush(5)
    assert reader.windows() == [window(alerts=10)]
    unlabelled = window(
        labelled=0, true_positives=0, false_positives=0, true_negatives=0, false_negatives=0
    )
    writer.put_windows([unlabelled])
    assert writer.flush(5)
    assert reader.windows() == [unlabelled]
    names = store.redis().hkeys(Keys(store.prefix).window(f"0:{START.timestamp():.0f}"))
    assert "precision" not in names, "a figure of before the replay is left over"


def test_measures_stand_beside_the_counts_for_people_with_redis_cli(store: Store) -> None:
    writer = store.writer()
    writer.put_windows([window(3)])
    assert writer.flush(5)
    fields = store.redis().hgetall(Keys(store.prefix).window(f"3:{START.timestamp():.0f}"))
    measures = measure([window(3)])
    assert float(fields["precision"]) == measures.precision == 0.75
    assert float(fields["average_precision"]) == measures.average_precision
    assert float(fields["label_coverage"]) == 0.8
    assert fields["histogram"] == '{"-120":[990,792,1],"40":[10,0,7]}'
    assert fields["start"] == "2026-01-01T00:00:00Z"


def test_every_key_expires_and_has_the_prefix(store: Store) -> None:
    writer, redis = store.writer(window_expiry_seconds=1000), store.redis()
    writer.put_windows([window()])
    writer.put_live(live())
    writer.put_alerts([alert("a")])
    assert writer.flush(5)
    keys = redis.keys(f"{store.prefix}:*")
    assert len(keys) == 7
    left = {key.removeprefix(f"{store.prefix}:"): redis.ttl(key) for key in keys}
    assert 0 < left.pop("live:w1") <= 60
    assert all(900 < seconds <= 1000 for seconds in left.values()), left


def test_a_challenger_leaves_its_report_and_its_windows_beside_those_in_force(store: Store) -> None:
    writer, reader = store.writer(), store.reader()
    assert reader.challengers() == []
    assert reader.span() is None
    writer.put_windows([window(), window(hour=2)])
    assert writer.flush(5)
    for alerts in (3, 4):  # the second one replaces all that the first has left
        theirs = ChallengerWriter(store.server.url, store.prefix, "bold", expiry_seconds=1000)
        theirs.put_windows([window(hour=alerts, alerts=alerts)])
        report = ChallengerReport(
            name="bold",
            settings={"threshold": "f_beta:2"},
            reported_at=utc(time.time()),
            done=True,
            graded_from=None,
            event_time=START,
            in_force={"alerts": 2, "precision": None},
            challenger={"alerts": alerts, "precision": 0.5},
            apart={"frauds_by_chance": 0.25},
        )
        theirs.put(report)
        theirs.close(5.0)
    assert reader.challengers() == [report]
    own = StoreReader(store.server.url, Keys(store.prefix).challenger("bold"))
    assert own.windows() == [window(hour=4, alerts=4)]
    own.close()
    assert reader.windows() == [window(), window(hour=2)]
    assert reader.span() == (START, START + timedelta(hours=2))
    redis = store.redis()
    keys = redis.keys(f"{store.prefix}:challenger*")
    assert len(keys) == 5
    assert all(900 < redis.ttl(key) <= 1000 for key in keys)


def test_expired_windows_leave_the_index_though_event_time_is_long_ago(store: Store) -> None:
    old = window(hour=-24 * 3000)
    writer, redis, keys = store.writer(window_expiry_seconds=1), store.redis(), Keys(store.prefix)
    writer.put_windows([old])
    assert writer.flush(5)
    assert store.reader().windows() == [old]
    time.sleep(1.2)
    assert store.reader().windows() == []
    redis.zadd(keys.windows, {"0:1": 1.0})
    redis.zadd(keys.windows_expiry, {"0:1": time.time() - 1})
    other = store.writer(worker="w2")
    other.put_windows([window()])
    assert other.flush(5)
    assert redis.zrange(keys.windows, 0, -1) == [f"0:{START.timestamp():.0f}"]


def test_alerts_written_again_are_not_doubled_and_only_the_newest_are_kept(store: Store) -> None:
    writer, reader = store.writer(), store.reader()
    many = [alert(f"t{n}", n) for n in range(NEWEST_ALERTS)]
    for _ in range(2):
        writer.put_alerts(many)
        assert writer.flush(5)
    assert len(reader.alerts(10_000)) == NEWEST_ALERTS
    more = [alert(f"u{n}", 10_000 + n) for n in range(20)]
    writer.put_alerts(more)
    assert writer.flush(5)
    newest = reader.alerts(10_000)
    assert newest == [*reversed(more), *reversed(many[20:])]
    assert store.redis().hlen(Keys(store.prefix).alerts) == NEWEST_ALERTS
    assert reader.alerts(3) == newest[:3]
    assert reader.alerts(0) == []


def test_what_does_not_fit_is_left_out_and_counted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader, redis, keys = store.writer(), store.reader(), store.redis(), Keys(store.prefix)
    writer.put_windows([window(partition) for partition in range(7)])
    writer.put_alerts([alert("a"), alert("b")])
    assert writer.flush(5)
    member = f"{START.timestamp():.0f}"
    redis.hset(keys.window(f"3:{member}"), "histogram", '{"1000": [1, 0, 0]}')
    redis.hset(keys.window(f"4:{member}"), "segments", '{"a":' * 100_000)
    redis.hset(keys.window(f"5:{member}"), "labelled", "-4")
    redis.hset(keys.window(f"6:{member}"), "threshold", "nan")
    redis.hset(keys.window(f"0:{member}"), "alerts", "many")
    redis.hset(keys.window(f"1:{member}"), "histogram", "{not json")
    redis.hset(keys.alerts, alert_id("a"), "gASVCQAAAAAAAACMBWhlbGxvlC4=")
    assert reader.windows() == [window(2)]
    assert reader.alerts(5) == [alert("b")]
    assert reader.unreadable == 7
    assert len(caplog.records) == 1
    assert "(alerts)" in caplog.text


def test_latest_reports_arrive_when_redis_has_been_away_and_nothing_blocks(
    own_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    writer = own_store.writer()
    writer.put_windows([window(alerts=1)])
    assert writer.flush(5)
    own_store.server.stop()
    slowest = 0.0
    for alerts in range(2, 102):
        before = time.perf_counter()
        writer.put_windows([window(alerts=alerts)])
        writer.put_live(live(alerts=alerts))
        writer.put_alerts([alert("a")])
        slowest = max(slowest, time.perf_counter() - before)
        time.sleep(0.005)
    assert slowest < 0.2
    assert not writer.flush(0.5)
    assert not writer.healthy
    assert writer.waiting == 3
    with pytest.raises(StoreUnavailable, match=f"{own_store.server.port}.*Start it"):
        own_store.reader().windows()
    own_store.server.start()
    assert writer.flush(12)
    assert writer.healthy
    assert writer.dropped == 0
    assert own_store.reader().windows() == [window(alerts=101)]
    assert [report.alerts for report in own_store.reader().live()] == [101]
    assert own_store.reader().alerts(5) == [alert("a")]
    assert len(caplog.messages) == 2
    assert "not available" in caplog.messages[0]
    assert "is back" in caplog.messages[1]


def test_what_waits_is_bounded_and_what_falls_out_is_counted(own_store: Store) -> None:
    own_store.server.stop()
    writer = own_store.writer(max_waiting=10)
    for hour in range(25):
        writer.put_windows([window(hour=hour)])
    writer.put_alerts([alert(f"t{n}", n) for n in range(NEWEST_ALERTS + 7)])
    assert writer.waiting == 10 + NEWEST_ALERTS
    assert writer.dropped == 15
    own_store.server.start()
    assert writer.flush(12)
    assert [report.start for report in own_store.reader().windows()] == [
        START + timedelta(hours=hour) for hour in range(15, 25)
    ]


def test_a_redis_restarted_between_two_reports_goes_unnoticed(
    own_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = own_store.writer(), own_store.reader()
    writer.put_windows([window()])
    assert writer.flush(5)
    reader.ping()
    own_store.server.stop()
    own_store.server.start()
    writer.put_windows([window(alerts=11)])
    assert writer.flush(5)
    assert reader.windows() == [window(alerts=11)]
    assert caplog.messages == []


def test_a_redis_that_has_lost_its_data_is_noticed_so_that_all_can_be_put_again(
    own_store: Store,
) -> None:
    writer, reader = own_store.writer(), own_store.reader()
    writer.put_windows([window(), window(1)])
    assert writer.flush(5)
    writer.put_windows([window()])
    assert writer.flush(5)
    assert writer.losses == 0
    own_store.server.stop()
    own_store.server.start()
    writer.put_live(live())
    assert writer.flush(5)
    assert writer.losses == 1
    writer.put_windows([window(), window(1)])
    assert writer.flush(5)
    assert writer.losses == 1
    assert reader.windows() == [window(), window(1)]


def test_closing_without_redis_ends_in_time_and_says_what_was_not_written(
    own_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    own_store.server.stop()
    writer = own_store.writer()
    writer.put_windows([window(), window(1)])
    before = time.perf_counter()
    writer.close(0.3)
    assert time.perf_counter() - before < 3
    assert "2 reports of w1 were not written" in caplog.text


@pytest.mark.redis
def test_a_redis_out_of_memory_is_survived_and_written_to_again(
    real_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    redis, writer = real_store.redis(), real_store.writer()
    redis.config_set("maxmemory", "1mb")
    writer.put_windows([window()])
    assert not writer.flush(1)
    assert "maxmemory" in caplog.text
    redis.config_set("maxmemory", "0")
    assert writer.flush(12)
    assert real_store.reader().windows() == [window()]


@pytest.mark.redis
def test_a_replica_is_survived_and_the_log_says_to_name_the_primary(
    real_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    redis, writer = real_store.redis(), real_store.writer()
    writer.put_windows([window()])
    assert writer.flush(5)
    # Of a primary that is not there: it keeps its data and refuses writes.
    redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    writer.put_windows([window(alerts=11)])
    assert not writer.flush(1)
    assert "primary" in caplog.text
    redis.execute_command("REPLICAOF", "NO", "ONE")
    assert writer.flush(12)
    assert real_store.reader().windows() == [window(alerts=11)]


@pytest.mark.redis
def test_a_redis_that_hangs_blocks_neither_reports_nor_readers_for_long(real_store: Store) -> None:
    redis, writer, reader = real_store.redis(), real_store.writer(), real_store.reader()
    reader.ping()
    redis.execute_command("CLIENT", "PAUSE", "3000", "ALL")
    before = time.perf_counter()
    writer.put_windows([window()])
    assert time.perf_counter() - before < 0.2
    assert writer.flush(12)
    assert reader.windows() == [window()]


@pytest.mark.redis
def test_a_wrong_password_is_told_without_showing_it(
    real_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    real_store.redis().config_set("requirepass", "right-one")
    url = real_store.server.url.replace("redis://", "redis://:s3cret-word@")
    writer = StoreWriter(
        url, real_store.prefix, worker="w1", window_expiry_seconds=60, max_waiting=5
    )
    writer.put_windows([window()])
    assert not writer.flush(1)
    writer.close(0)
    reader = StoreReader(url, real_store.prefix)
    with pytest.raises(StoreUnavailable, match="password") as raised:
        reader.ping()
    reader.close()
    assert "Check user and password" in caplog.text
    assert "s3cret" not in caplog.text + str(raised.value) + repr(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://ann:s3cret@host", "redis://host"),
        ("rediss://:s3cret@[::1]:6380/2?ssl_password=s3cret", "rediss://[::1]:6380/2"),
        ("redis://host/?password=s3cret&db=3", "redis://host/"),
        ("redis://host?password=s3cret@x", "redis://..."),
        ("redis://:s3c/ret@host:6379/0", "redis://..."),
        ("redis://:12/s3cret@host:6379/0", "redis://..."),
        ("redis://:s3cret#1@host:6379/0", "redis://..."),
        ("redis://:s3cret?1@host:6379/0", "redis://..."),
        ("redis://ann:s3cret:x@host:port/0", "redis://..."),
        ("unix://ann:s3cret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("ann:s3cret@host", "(not a Redis address)"),
        ("http://ann:s3cret@host", "(not a Redis address)"),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert address(url) == shown


@pytest.mark.parametrize("url", ["http://:s3cret@host", "redis://:s3c/ret@host", "host", ""])
def test_an_address_that_is_none_is_refused_at_once_without_showing_it(url: str) -> None:
    with pytest.raises(StoreError, match="redis://") as raised:
        StoreReader(url, "weir")
    assert "s3c" not in str(raised.value)
    assert raised.value.__suppress_context__
