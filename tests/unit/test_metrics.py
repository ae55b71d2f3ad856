"""Prometheus is given what Redis holds, under names and units as it wants them."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stream.core.alarms import KINDS
from stream.core.windows import measure
from stream.events import utc
from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreReader, StoreWriter
from stream.watch.metrics import (
    OF_PARTS,
    OF_RECENT,
    OF_STREAM,
    OF_WORKER,
    REDIS_UP,
    Metrics,
    serve,
)
from stream.watch.snapshot import Watcher
from tests.servers.kafka import free_port
from tests.unit.test_terminal import REPORTS, alarm, live

DEFINED = (*OF_WORKER, *OF_PARTS, *OF_STREAM, *OF_RECENT)
NAMES = [*(metric.name for metric in DEFINED), REDIS_UP]


@contextmanager
def reported(to: LocalRedisServer, prefix: str) -> Iterator[Metrics]:
    """Metrics of two workers that have reported windows, three of four of them labelled."""
    writer = StoreWriter(to.url, prefix, worker="w1", window_expiry_seconds=600)
    writer.put_windows(REPORTS)
    writer.put_live(live("w1", reported_at=utc(time.time()), lag=7, learning_us=25.0))
    assert writer.flush(10)
    other = StoreWriter(to.url, prefix, worker="w2", window_expiry_seconds=600)
    raised = (alarm("feature_constant:amount", 5), alarm("labels_silent", 90))
    other.put_live(live("w2", reported_at=utc(time.time()), lag=9, alarms=raised))
    assert other.flush(10)
    with closing(StoreReader(to.url, prefix)) as reader:
        yield Metrics(Watcher(reader))
    writer.close(timeout_seconds=5)
    other.close(timeout_seconds=5)


def scraped(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Samples by name and labels, as the client library's own parser reads them."""
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    found = {(s.name, tuple(v for _, v in sorted(s.labels.items()))): s.value for s in samples}
    assert len(found) == len(samples)
    return found


def exposed(metrics: Metrics) -> str:
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode()


def test_each_metric_is_defined_once_with_help_and_in_base_units() -> None:
    assert max(Counter(NAMES).values()) == 1
    for name in NAMES:
        assert re.fullmatch(r"weir(_[a-z0-9]+)+", name), name
        assert not re.search(r"_(ms|us|millis|micros|minutes|hours|percent|pct|kb|mb)(_|$)", name)
    for metric in OF_WORKER:
        counts = metric.kind.__name__.startswith("Counter")
        assert counts == metric.name.endswith("_total"), metric.name
    for help_ in (metric.help for metric in DEFINED):
        assert help_[0].isupper()
        assert help_.endswith(".")


def test_all_that_is_defined_is_exposed_and_equals_what_is_in_redis(
    server: LocalRedisServer,
) -> None:
    with reported(server, "equal") as metrics:
        text = exposed(metrics)
        found = scraped(text)
    assert {name for name, _ in found} == set(NAMES)
    quality = measure([report for report in REPORTS if report.labelled])
    assert found["weir_lag_records", ("w1",)] == 7
    assert found["weir_lag_records", ("w2",)] == 9
    assert found["weir_decisions_total", ("w1",)] == 31_204
    assert found["weir_learning_seconds_per_transaction", ("w1",)] == pytest.approx(25e-6)
    assert found["weir_decision_latency_seconds", ("0.99", "w1")] == pytest.approx(0.0484)
    assert found["weir_partitions", ("w1",)] == 2
    assert found["weir_member_weight_ratio", ("boosted", "w1")] == 0.75
    assert found["weir_segment_false_negative_ratio", ("type", "other")] == pytest.approx(0.4)
    assert found["weir_segment_false_positive_ratio", ("type", "DEBIT")] == 0
    assert ("weir_segment_precision_ratio", ("type", "DEBIT")) not in found  # nothing flagged
    assert found["weir_window_precision_ratio", ()] == quality.precision
    assert found["weir_window_average_precision_ratio", ()] == quality.average_precision
    estimates = metrics._watcher.take().estimates
    for name, estimate in estimates.figures().items():
        assert found["weir_estimated_ratio", (name,)] == estimate.value
        assert found["weir_estimated_low_ratio", (name,)] == estimate.low
        assert found["weir_estimated_high_ratio", (name,)] == estimate.high
        assert found["weir_estimated_trusted", (name,)] == 0, "a few windows tell too little"
    assert found[REDIS_UP, ()] == 1
    assert "# TYPE weir_decisions_total counter" in text
    assert "# TYPE weir_lag_records gauge" in text


def test_every_alarm_has_a_gauge_that_is_one_while_any_worker_has_raised_it(
    server: LocalRedisServer,
) -> None:
    with reported(server, "alarms") as metrics:
        found = scraped(exposed(metrics))
    gauges = {labels[0]: value for (name, labels), value in found.items() if name == "weir_alarm"}
    assert gauges.keys() == KINDS.keys()
    raised = {name for name, value in gauges.items() if value == 1}
    assert raised == {"feature_constant", "labels_silent"}
    assert {gauges[name] for name in gauges.keys() - raised} == {0}


def test_a_figure_that_is_not_defined_is_absent_and_not_zero(server: LocalRedisServer) -> None:
    with closing(StoreReader(server.url, "nothing-there")) as reader:
        found = scraped(exposed(Metrics(Watcher(reader))))
    assert found == {(REDIS_UP, ()): 1.0}


def test_while_redis_is_away_there_are_no_old_figures() -> None:
    local = LocalRedisServer(prefer="fakeredis")
    local.start()
    with reported(local, "away") as metrics:
        assert len(scraped(exposed(metrics))) > len(NAMES)
        local.stop()
        assert scraped(exposed(metrics)) == {(REDIS_UP, ()): 0.0}


def test_scrapes_are_answered_until_it_is_stopped(server: LocalRedisServer) -> None:
    port, stop = free_port(), threading.Event()
    with reported(server, "served") as metrics:
        watcher = metrics._watcher
        thread = threading.Thread(target=serve, args=(watcher, "127.0.0.1", port, stop))
        thread.start()
        try:
            found = scraped(answer(port))
            assert found["weir_lag_records", ("w2",)] == 9
            with pytest.raises(OSError, match="in use"):
                serve(watcher, "127.0.0.1", port, stop)
        finally:
            stop.set()
            thread.join(10)
    assert not thread.is_alive()


def answer(port: int) -> str:
    """What a scrape is given, as soon as the server listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answered:
                return str(answered.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
