"""Each alarm is raised by what it is for, on a real worker; normal traffic has none."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest

from producers.paysim import Scenario, Shift, generate
from producers.rows import Row
from stream.__main__ import topic_specs
from stream.core.alarms import kind_of
from stream.core.feature_watch import FeatureWatch
from stream.events import LiveReport, utc
from stream.io.bus import Message, connect
from stream.io.worker import Worker
from tests.servers.worker import Memory
from tests.streams import labels, settings

DAY = 86_400.0
CLIENTS = 2_000
START = Scenario().start.timestamp()


class Told(NamedTuple):
    """What a worker told of alarms."""

    raised: list[str]
    """Names in the log's warnings, in order."""
    over: list[str]
    lines: list[str]
    live: list[LiveReport]

    def kinds(self) -> set[str]:
        return {kind_of(name) for name in self.raised}


def table(
    days: float, fraud_rate: float, seed: int = 3, shifts: tuple[Shift, ...] = ()
) -> list[Row]:
    scenario = Scenario(seed=seed, fraud_rate=fraud_rate, clients=CLIENTS, shifts=shifts)
    return list(itertools.chain.from_iterable(generate(scenario, days=days)))


def day_of(row: Row) -> float:
    return (row.time_seconds - START) / DAY


def changed(row: Row, **fields: object) -> Row:
    return row._replace(transaction=row.transaction.model_copy(update=fields))


def told(
    folder: Path,
    rows: Sequence[Row],
    delay: timedelta,
    *,
    labelled: Callable[[Row], bool] = lambda _: True,
    truth: Callable[[Row], bool] = lambda row: bool(row.is_fraud),
    junk: dict[float, int] | None = None,
    block: int = 500,
    **given: object,
) -> Told:
    """Run a worker over rows, their labels, and so much junk at a day; return what it told."""
    of = settings(bus=f"sqlite:///{folder}/bus.db", **given)
    said = [row._replace(is_fraud=truth(row)) for row in rows if labelled(row)]
    events = [
        (row.time_seconds, 1, row.transaction.model_dump_json(exclude_none=True)) for row in rows
    ]
    events += [
        (label.labelled_at.timestamp(), 0, label.model_dump_json()) for label in labels(said, delay)
    ]
    for day, count in (junk or {}).items():
        events += [(START + day * DAY, 1, "{")] * count
    topic = (of.labels_topic, of.transactions_topic)
    broker = connect(of.bus)
    broker.create_topics(topic_specs(of))
    publisher = broker.publisher()
    publisher.publish(
        [Message(topic[kind], b"key", text.encode()) for _, kind, text in sorted(events)]
    )
    publisher.close()
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    log = logging.getLogger("stream.io.alarm_log")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    memory, until_end = Memory(), Event()
    until_end.set()
    worker = Worker(of, broker, memory, member="one")
    worker.detector.feature_watch = FeatureWatch(block)
    try:
        worker.run(Event(), until_end)
    finally:
        worker.close()
        log.removeHandler(handler)
        log.setLevel(level)
    by_level = {
        name: [str(line.args[0]) for line in lines if line.levelname == name and line.args]  # type: ignore[index]
        for name in ("WARNING", "INFO")
    }
    return Told(
        by_level["WARNING"], by_level["INFO"], [line.getMessage() for line in lines], memory.live
    )


def test_many_more_frauds_raise_prior_shift_and_calibration_drift_which_ends_as_it_learns(
    tmp_path: Path,
) -> None:
    rows = table(9, fraud_rate=0.04, shifts=(Shift(5, 5),))
    found = told(tmp_path, rows, timedelta(hours=24))
    assert sorted(found.raised) == ["calibration_drift", "prior_shift"]
    assert "calibration_drift" in found.over


def test_frauds_that_stop_raise_prior_shift_and_then_below_prior(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        table(9, fraud_rate=0.04),
        timedelta(hours=3),
        truth=lambda row: bool(row.is_fraud) and day_of(row) < 5,
    )
    assert found.raised[:1] == ["prior_shift"]
    assert (
        {"below_prior", "prior_shift"}
        <= found.kinds()
        <= {*("below_prior", "prior_shift", "calibration_drift")}
    )
    (alarm,) = (each for each in found.live[-1].alarms if each.name == "below_prior")
    assert alarm.figure < alarm.limit
    assert "were flagged" in alarm.cause


def test_bad_messages_fields_features_and_silence_are_each_told_once_and_most_end(
    tmp_path: Path,
) -> None:
    def spoilt(row: Row) -> Row:
        if 4 <= day_of(row) < 5:
            return changed(row, oldbalanceDest=None)
        if 5.5 <= day_of(row) < 6.2:
            return changed(row, amount=100.0)
        return row

    found = told(
        tmp_path,
        [spoilt(row) for row in table(9.5, fraud_rate=0.02)],
        timedelta(hours=3),
        labelled=lambda row: day_of(row) < 8.3,
        junk={3.0: 400},
    )
    # What is mended is over.
    ended = ["dead_letters", "feature_missing:dest_balance", "feature_constant:amount"]
    assert found.raised == [*ended, "labels_silent"]
    assert found.over == ended
    assert [alarm.name for alarm in found.live[-1].alarms] == ["labels_silent"]
    assert any([alarm.name for alarm in report.alarms] == ["dead_letters"] for report in found.live)


def test_alerts_that_turn_out_to_be_false_raise_the_precision_floor(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        table(9, fraud_rate=0.08),
        timedelta(hours=48),
        truth=lambda row: bool(row.is_fraud) and day_of(row) < 5.5,
        threshold="precision_at_least:0.5",
    )
    assert "precision_floor" in found.raised
    assert found.raised.count("precision_floor") == 1
    (alarm,) = (each for each in found.live[-1].alarms if each.name == "precision_floor")
    assert alarm.figure < alarm.limit == 0.5


def test_an_attack_at_dawn_raises_that_the_budget_is_used_up(tmp_path: Path) -> None:
    rows = table(6, fraud_rate=0.03)
    begun = START + 5.2 * DAY
    attack = [
        changed(row, transaction_id=f"attack-{i}", timestamp=utc(begun + 5 * i))._replace(
            time_seconds=begun + 5 * i
        )
        for i, row in enumerate([row for row in rows if row.is_fraud and day_of(row) < 4][-200:])
    ]
    rows = sorted([*rows, *attack], key=lambda row: row.time_seconds)
    found = told(tmp_path, rows, timedelta(hours=3), threshold="alert_budget:40/1d")
    assert found.raised[0] == "budget_exhausted"
    assert found.kinds() <= {"budget_exhausted", "prior_shift"}
    (alarm,) = (each for each in found.live[-1].alarms if each.name == "budget_exhausted")
    assert alarm.figure > 0.5


def test_traffic_that_looks_like_fraud_raises_score_drift(tmp_path: Path) -> None:
    rows = table(10, fraud_rate=0.05)
    frauds = itertools.cycle(
        [row.transaction for row in rows if row.is_fraud and 6 < day_of(row) < 8]
    )

    def disguised(row: Row) -> Row:
        fields = ("type", "amount", "oldbalanceOrg", "oldbalanceDest", "nameDest")
        like = next(frauds)
        return changed(row, **{field: getattr(like, field) for field in fields})

    found = told(
        tmp_path,
        [disguised(row) if day_of(row) >= 9 else row for row in rows],
        timedelta(hours=24),
    )
    assert "score_drift" in found.raised
    (alarm,) = (each for each in found.live[-1].alarms if each.name == "score_drift")
    assert alarm.figure > alarm.limit


@pytest.mark.parametrize(
    "policy", ["f_beta:1", "alert_budget:40/1d", "alert_budget:20", "precision_at_least:0.5"]
)
def test_a_week_of_normal_traffic_raises_none_from_the_first_transaction_on(
    tmp_path: Path, policy: str
) -> None:
    found = told(tmp_path, table(8, fraud_rate=0.03, seed=5), timedelta(hours=6), threshold=policy)
    assert found.lines == []
    assert not any(report.alarms for report in found.live)
    assert found.live[-1].weights
