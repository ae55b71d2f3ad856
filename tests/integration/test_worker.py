"""The worker on the embedded bus and on real Kafka: one decision each, whatever happens."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

import stream.io.intake as intake_module
import stream.io.restore as restore_module
import stream.io.training as training_module
import stream.io.worker as worker_module
from benchmarks.scaling.digest import digest
from producers.rows import Row
from stream.__main__ import topic_specs
from stream.core import wire
from stream.core.boosted import BoostedTrees
from stream.core.detector import Detector
from stream.core.evaluate import Scorecard, evaluate
from stream.core.model import Model
from stream.core.trees import Fit
from stream.core.windows import measure
from stream.events import Alert, Label, utc
from stream.io.background import Background
from stream.io.bus import (
    BusError,
    BusUnavailable,
    CommitLost,
    Message,
    Reader,
    Record,
    TooManyRejects,
    TopicPartition,
    connect,
)
from stream.io.state import pack_shard
from stream.io.training import TrainingLog
from stream.io.worker import Worker
from stream.saved import look, reset, show
from stream.settings import Settings
from tests.servers.kafka import LocalKafka
from tests.servers.worker import Memory
from tests.streams import everything, label, labels, rows, settings, topics

DELAY = timedelta(hours=3)
ROWS = rows(4_000, clients=4_000)
GOOD = json.loads(ROWS[0].transaction.model_dump_json(exclude_none=True))


@pytest.fixture
def chosen(url: str, unique: str) -> Settings:
    """Settings with topics of their own on either bus, and the topics made."""
    made = settings(bus=url, group=unique, **topics(unique))
    connect(url).create_topics(topic_specs(made))
    return made


def messages(
    of: Settings, table: Sequence[Row], said: Sequence[Label] | None = None
) -> Iterator[Message]:
    """Transactions and labels in event-time order, as the producers publish them."""
    said = labels(table, DELAY) if said is None else said
    events = [
        (row.time_seconds, 1, row.transaction.transaction_id, row.transaction) for row in table
    ]
    events += [(x.labelled_at.timestamp(), 0, x.transaction_id, x) for x in said]
    for _, is_transaction, _, event in sorted(events, key=lambda e: e[:3]):
        topic = of.transactions_topic if is_transaction else of.labels_topic
        yield Message(topic, b"key", event.model_dump_json(exclude_none=True).encode())


def publish(of: Settings, batch: Iterable[Message]) -> None:
    publisher = connect(of.bus).publisher()
    publisher.publish(list(batch))
    publisher.flush()
    publisher.close()


def run(
    of: Settings, member: str = "one", scorecard: Scorecard | None = None
) -> tuple[Worker, Memory]:
    """Run a worker over all there is, and close it."""
    memory = Memory()
    worker = Worker(of, connect(of.bus), memory, member=member, scorecard=scorecard)
    run_to_end(worker)
    return worker, memory


def run_to_end(worker: Worker) -> None:
    until_end = Event()
    until_end.set()
    try:
        worker.run(Event(), until_end)
    finally:
        worker.close()


def test_a_worker_decides_as_the_offline_evaluation_of_the_same_table(chosen: Settings) -> None:
    publish(chosen, messages(chosen, ROWS))
    online, offline = Scorecard(), Scorecard()
    worker, memory = run(chosen, scorecard=online)
    detector = Detector(chosen, Model(chosen))
    evaluate(detector, [(r.transaction, bool(r.is_fraud)) for r in ROWS], DELAY, offline)
    assert online.quality() == offline.quality()
    assert online.quality().labelled == len(ROWS)
    counts = worker.reporting.counts
    assert counts["transactions"] == counts["decisions"] == counts["labels"] == len(ROWS)
    assert detector.model.learned == worker.detector.model.learned == counts["examples"]
    assert memory.live[-1].lag == 0


def test_a_slow_machine_comes_to_the_same_as_a_fast_one(chosen: Settings) -> None:
    publish(chosen, messages(chosen, ROWS))
    online, offline, ticks = Scorecard(), Scorecard(), itertools.count(0, 3.0)
    worker = Worker(
        chosen,
        connect(chosen.bus),
        Memory(),
        member="one",
        scorecard=online,
        clock=lambda: next(ticks),  # each look at the clock is three seconds after the last
    )
    run_to_end(worker)
    detector = Detector(chosen, Model(chosen))
    evaluate(detector, [(r.transaction, bool(r.is_fraud)) for r in ROWS], DELAY, offline)
    assert online.quality() == offline.quality()


def test_a_time_that_cannot_be_is_a_dead_letter_and_stops_nothing(chosen: Settings) -> None:
    good = list(messages(chosen, ROWS[:100]))
    times = ("9999-12-31T23:59:59-12:00", "2150-01-01T00:00:00Z", "1800-01-01T00:00:00Z")
    bad = [json.dumps(GOOD | {"transaction_id": t, "timestamp": t}).encode() for t in times]
    said = label(ROWS[0].transaction.transaction_id, True, datetime(2150, 1, 1, tzinfo=UTC))
    ahead = Message(chosen.labels_topic, None, said.model_dump_json().encode())
    publish(
        chosen, [*(Message(chosen.transactions_topic, None, value) for value in bad), ahead, *good]
    )
    worker, memory = run(chosen)
    assert worker.reporting.counts["decisions"] == 100
    assert memory.live[-1].dead_letters == 4
    assert memory.live[-1].labels == 100


def test_a_handler_that_fails_leaves_no_snapshot_of_what_was_not_committed(
    chosen: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = chosen.model_copy(update={"state_dir": tmp_path / "state"})
    publish(chosen, messages(chosen, ROWS))
    failing = Worker(chosen, connect(chosen.bus), Memory(), member="one")
    commit = failing._consumer.commit

    def refused(outputs: Sequence[Message], positions: dict[TopicPartition, int]) -> Any:
        if failing.reporting.counts["decisions"] > 1_000:
            raise BusError("refused")
        return commit(outputs, positions)

    monkeypatch.setattr(failing._consumer, "commit", refused)
    with pytest.raises(BusError, match="refused"):
        failing.run(Event())
    failing.close()
    _, memory = run(chosen)
    assert sum(w.transactions for w in memory.windows.values()) == len(ROWS)
    assert sum(w.labelled for w in memory.windows.values()) == len(ROWS)
    assert memory.live[-1].duplicates == 0


def test_a_bus_that_goes_away_while_state_is_restored_is_waited_for(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(chosen, messages(chosen, ROWS[:1_000]))
    run(chosen)
    publish(chosen, messages(chosen, ROWS[1_000:2_000]))
    failures = iter([BusUnavailable("gone")] * 2)
    read = restore_module.read

    def sometimes(*given: Any) -> Any:
        for failure in failures:
            raise failure
        return read(*given)

    monkeypatch.setattr(restore_module, "read", sometimes)
    worker, memory = run(chosen)
    assert next(failures, None) is None
    assert worker.reporting.counts["decisions"] == 1_000
    assert sum(w.transactions for w in memory.windows.values()) == 2_000


@pytest.mark.parametrize("theirs", [0, 1, 3])
def test_own_examples_are_learned_without_reading_them_and_those_of_others_before_them(
    chosen: Settings, theirs: int
) -> None:
    """One that another worker wrote can stand where the mark of an own commit might."""
    log = TopicPartition(chosen.training_topic, 0)
    inputs = [chosen.transactions_topic, chosen.labels_topic]
    ours = connect(chosen.bus).consumer(group=chosen.group, member="one", inputs=inputs)
    while ours.assignment() != {0}:
        ours.poll(1, 0.1)
    detector, learned = Detector(chosen, Model(chosen)), []
    detector.model.learn = lambda one: learned.append(one.transaction_id)  # type: ignore[method-assign]
    reader = Counted(connect(chosen.bus).reader())
    training = TrainingLog(chosen, reader, detector, ours.mark)
    training.open()
    written: list[str] = []
    for number in range(4):
        before = [example(f"theirs-{number}-{i}") for i in range(theirs)]
        publish(chosen, [Message(log.topic, None, wire.written(each)) for each in before])
        own = [example(f"ours-{number}-{i}") for i in range(2)]
        out = [Message(log.topic, None, wire.written(each)) for each in own]
        end = ours.commit(out, {})[log]
        training.written(own, end)
        training.learn(end)
        written += [each.transaction_id for each in (*before, *own)]
        assert learned == written
    assert reader.read == 0 if not theirs else reader.read > 0
    training.close()
    ours.close()


def test_live_traffic_is_learned_a_little_at_a_time_and_comes_to_what_the_log_says(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = chosen.model_copy(update={"learner": "auto", "max_batch": 100})
    monkeypatch.setattr(intake_module, "_LIVE_SECONDS", 1e12)
    monkeypatch.setattr(worker_module, "_LEARNING_SECONDS", 0.0)
    monkeypatch.setattr(training_module, "_MANY", 10_000)
    follow_for, left = TrainingLog.follow_for, []

    def noted(of: TrainingLog, seconds: float) -> bool:
        left.append(follow_for(of, seconds))
        return left[-1]

    monkeypatch.setattr(TrainingLog, "follow_for", noted)
    publish(chosen, messages(chosen, ROWS))
    worker, _ = run(chosen)
    assert worker.reporting.counts["decisions"] == len(ROWS)
    assert sum(left) > 20
    model = Model(chosen)
    training = TrainingLog(chosen, connect(chosen.bus).reader(), Detector(chosen, model), 0)
    training.open()
    training.close()
    assert model.learned == worker.reporting.counts["examples"] > 300
    assert digest(model) == digest(worker.detector.model)


@pytest.mark.parametrize("error", [CommitLost("gone"), BusUnavailable("gone")])
def test_alerts_that_cannot_be_handed_over_lose_the_batch_and_nothing_else(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch, error: BusError
) -> None:
    chosen = chosen.model_copy(update={"max_batch": 500})
    publish(chosen, messages(chosen, ROWS))
    memory, failures = Memory(), iter([error] * 2)
    worker = Worker(chosen, connect(chosen.bus), memory, member="one")
    send = worker._consumer.send

    def sometimes(outputs: Sequence[Message]) -> None:
        for failure in failures:
            raise failure
        send(outputs)

    monkeypatch.setattr(worker._consumer, "send", sometimes)
    run_to_end(worker)
    assert next(failures, None) is None
    assert worker.reporting.counts["decisions"] == len(ROWS)
    assert sum(w.transactions for w in memory.windows.values()) == len(ROWS)
    ids = [
        Alert.model_validate_json(record.value or b"").alert_id
        for record in everything(connect(chosen.bus), chosen.alerts_topic)
    ]
    assert len(set(ids)) == len(ids) == worker.reporting.counts["alerts"] > 0


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_at_least_once_what_was_sent_is_committed_where_the_poll_behind_it_fails(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = chosen.model_copy(update={"max_batch": 500, "delivery": "at-least-once"})
    publish(chosen, messages(chosen, ROWS))
    failures = iter([BusUnavailable("gone")] * 3)
    worker = Worker(chosen, connect(chosen.bus), Memory(), member="one")
    poll = worker._consumer.poll

    def sometimes(*given: Any) -> list[Record]:
        for failure in failures if worker._uncommitted else ():
            raise failure
        return poll(*given)

    monkeypatch.setattr(worker._consumer, "poll", sometimes)
    run_to_end(worker)
    assert next(failures, None) is None
    told = Counter[str]()
    for record in everything(connect(chosen.bus), chosen.decisions_topic):
        told.update(json.loads(record.value or b"")["transaction_ids"])
    assert told == {row.transaction.transaction_id: 1 for row in ROWS}


def test_one_late_transaction_or_a_quiet_partition_makes_live_traffic_no_past(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [TopicPartition(chosen.transactions_topic, at) for at in range(2)]
    worker = Worker(chosen, connect(chosen.bus), Memory(), member="one")
    now, intake = ROWS[-1].time_seconds, worker._intake
    try:
        intake.open(0)
        intake.open(1)
        assert not worker._is_live()
        for row in (ROWS[-1], ROWS[0]):  # of now, and of days before
            text = row.transaction.model_dump_json(exclude_none=True).encode()
            intake.put([Record(*two[0], 0, int(now * 1000), None, text, ())])
            assert intake.take(lambda _: True, now)
            assert worker._is_live()
        monkeypatch.setattr(worker_module, "_LIVE_SECONDS", -1.0)
        worker._live_until = 0.0
        assert not worker._is_live()
    finally:
        worker.close()


def test_the_more_waits_the_more_is_learned_at_a_time(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_module, "_MANY", 500)
    detector = Detector(chosen, Model(chosen))
    training = TrainingLog(chosen, connect(chosen.bus).reader(), detector, 0)
    training.open()
    log = [
        Message(chosen.training_topic, None, wire.written(example(f"{i}"))) for i in range(1_600)
    ]
    publish(chosen, log[:100])
    deadline = time.monotonic() + 20.0
    while not training.follow_for(0.0):
        assert time.monotonic() < deadline
    assert detector.model.learned == 1
    publish(chosen, log)
    while detector.model.learned < 100:
        assert training.follow_for(0.0) or detector.model.learned == 100
    most = 0
    while detector.model.learned < 1_700:
        before = detector.model.learned
        training.follow_for(0.0)
        learned = detector.model.learned - before
        assert learned <= max(1, (len(training._read) + learned) // 500)
        most = max(most, learned)
        assert time.monotonic() < deadline
    assert most == 3
    training.close()


class Counted:
    """A reader that counts what it gave."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def poll(self, *args: Any) -> list[Record]:
        found = self._reader.poll(*args)
        self.read += len(found)
        return found


def example(transaction_id: str) -> wire.Example:
    return wire.Example(
        version=1,
        transaction_id=transaction_id,
        timestamp=utc(1e9),
        labelled_at=utc(1e9),
        source="chargeback",
        is_fraud=False,
        score=0.1,
        alerted=False,
        amount=1.0,
        weight=2.0,
        features={"amount": 1.0},
    )


def test_alerts_go_out_once_each_and_equal_the_decisions(chosen: Settings) -> None:
    publish(chosen, messages(chosen, ROWS))
    worker, memory = run(chosen)
    alerts = [
        Alert.model_validate_json(r.value or b"")
        for r in everything(connect(chosen.bus), chosen.alerts_topic)
    ]
    assert (
        len({alert.alert_id for alert in alerts})
        == len(alerts)
        == worker.reporting.counts["alerts"]
    )
    assert sum(w.alerts for w in memory.windows.values()) == len(alerts) > 5
    assert all(alert.score >= alert.threshold for alert in alerts)
    assert memory.alerts == alerts


MALFORMED = [
    b"",
    b"{",
    b"\xff" * 50,
    b"[]",
    b"[" * 50_000,
    json.dumps(GOOD | {"amount": float("nan")}).encode(),
    json.dumps(GOOD | {"amount": -1.0}).encode(),
    json.dumps(GOOD | {"amount": 1e300}).encode(),
    json.dumps(GOOD | {"amount": "12.50"}).encode(),
    json.dumps(GOOD | {"version": 99}).encode(),
    json.dumps(GOOD | {"nameDest": None}).encode(),
    json.dumps({k: v for k, v in GOOD.items() if k != "transaction_id"}).encode(),
]
BLOB = b"x" * 5_000_000


def test_ten_thousand_malformed_end_in_dead_letters_and_the_good_are_decided(
    chosen: Settings,
) -> None:
    good = list(messages(chosen, rows(6_000, clients=6_000)))
    bad = [Message("", b"bad", MALFORMED[i % len(MALFORMED)]) for i in range(9_995)]
    bad += [Message("", None, BLOB)] * 5
    mixed: list[Message] = []
    for i, message in enumerate(good):
        mixed.append(message)
        if i < len(bad):
            mixed.append(bad[-1 - i]._replace(topic=message.topic))
    for i in range(0, len(mixed), 1_000):
        publish(chosen, mixed[i : i + 1_000])
    worker, memory = run(chosen)
    counts = worker.reporting.counts
    assert (counts["decisions"], counts["labels"]) == (6_000, 6_000)
    letters = everything(connect(chosen.bus), chosen.dead_letters_topic)
    assert len(letters) == 10_000 == memory.live[-1].dead_letters
    assert sum(letter.value == BLOB for letter in letters) == 5
    originals = connect(chosen.bus).reader()
    for letter in letters[::500]:
        headers = {name: value.decode() for name, value in letter.headers}
        source = TopicPartition(headers["topic"], int(headers["partition"]))
        originals.assign({source: int(headers["offset"])})
        (original, *_) = originals.poll(1, 5.0)
        assert (original.value, original.key) == (letter.value, letter.key)
        assert headers["reason"]
    originals.close()


def test_too_many_that_cannot_be_read_stop_the_worker_with_nothing_lost(chosen: Settings) -> None:
    few = chosen.model_copy(update={"reject_window": 100})
    publish(few, list(messages(few, ROWS[:200])))
    publish(few, [Message(few.transactions_topic, None, b"?")] * 200)
    with pytest.raises(TooManyRejects, match=r"of the last 100 messages cannot be read"):
        run(few)
    _, memory = run(few.model_copy(update={"reject_share": 0.999999, "reject_window": 10_000}))
    letters = everything(connect(few.bus), few.dead_letters_topic)
    assert len({record.headers for record in letters}) == len(letters) == 200
    assert sum(w.transactions for w in memory.windows.values()) == 200


@pytest.mark.parametrize("with_snapshot", [True, False], ids=["snapshot", "from-the-topics"])
def test_a_worker_that_vanished_is_continued_with_one_decision_each(
    chosen: Settings, tmp_path: Path, with_snapshot: bool
) -> None:
    if with_snapshot:
        chosen = chosen.model_copy(
            update={"state_dir": tmp_path / "state", "checkpoint_seconds": 1e-3, "max_batch": 500}
        )
    publish(chosen, messages(chosen, ROWS))
    memory = Memory()
    vanished = Worker(chosen, connect(chosen.bus), memory, member="one")
    vanished._training.open()
    while vanished.reporting.counts["decisions"] < 2_000:
        vanished.step()
    # Never closed: the next one of its name takes over, as after kill -9.
    worker, after = run(chosen, member="one")
    alerts = everything(connect(chosen.bus), chosen.alerts_topic)
    ids = [json.loads(record.value or b"")["transaction_id"] for record in alerts]
    assert len(ids) == len(set(ids))
    decided = vanished.reporting.counts["decisions"] + worker.reporting.counts["decisions"]
    assert decided == len(ROWS)
    examples = everything(connect(chosen.bus), chosen.training_topic)
    learned = Counter(json.loads(r.value or b"")["transaction_id"] for r in examples)
    assert set(learned.values()) == {1}
    assert worker.detector.model.learned == len(examples)
    windows = after.windows.values()
    assert sum(w.alerts for w in windows) == len(alerts)
    assert sum(w.transactions for w in windows) == sum(w.labelled for w in windows) == len(ROWS)
    vanished._consumer.close()
    vanished._training.close()


def test_who_handled_much_again_saves_it_at_once_so_that_the_next_one_need_not(
    chosen: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """None of them has the partition for as long as it takes until a snapshot is due."""
    chosen = chosen.model_copy(update={"checkpoint_seconds": 3600.0})
    publish(chosen, messages(chosen, ROWS))
    states: list[dict[int, bytes]] = []
    for again in (0, 2 * len(ROWS), 0):
        worker = Worker(chosen, connect(chosen.bus), Memory(), member="one")
        worker._training.open()
        with caplog.at_level("INFO", "stream.io.restore"):
            while not worker._at_end() or worker._states.waiting:
                worker.step()
        restored = [said for said in caplog.messages if said.endswith("records handled again")]
        assert restored[-1].endswith(f" {again} records handled again")
        states.append(shard_bytes(worker))
        worker._consumer.close()  # without a last snapshot
        worker._training.close()
    assert states[0] == states[1] == states[2]


def test_a_batch_whose_commit_is_lost_is_restored_and_done_again(chosen: Settings) -> None:
    publish(chosen, messages(chosen, ROWS))
    memory = Memory()
    former = Worker(chosen, connect(chosen.bus), memory, member="one")
    former._training.open()
    while former.reporting.counts["decisions"] < 1_000:
        former.step()
    former_decided = former.reporting.counts["decisions"]
    worker, _ = run(chosen, member="one")  # fences the former one, which still has work in hand
    for _ in range(5):
        try:
            former.step()
        except Exception as fenced:  # Kafka says so for good, the embedded bus lets it stand by
            assert "taken over" in str(fenced)  # noqa: PT017
            break
    assert former.reporting.counts["decisions"] == former_decided
    assert former_decided + worker.reporting.counts["decisions"] == len(ROWS)
    former._consumer.close()
    former._training.close()


def messy(table: Sequence[Row]) -> tuple[list[Label], Counter[str]]:
    """Labels of a table: some come before their transaction, twice, wrong first, of nobody."""
    said, expected = list[Label](), Counter[str]()
    for i, each in enumerate(labels(table, DELAY)):
        at, truth = each.labelled_at, each.is_fraud
        kind = {1: "early", 2: "repeated", 3: "corrected", 4: "unknown"}.get(i % 20)
        if kind == "early":
            at -= DELAY + timedelta(hours=1)
        said.append(label(each.transaction_id, truth != (kind == "corrected"), at))
        if kind in {"repeated", "corrected"}:
            said.append(label(each.transaction_id, truth, at + timedelta(hours=1)))
        elif kind == "unknown":
            said.append(label(f"nobody-{i}", True, at))
        expected[str(kind)] += 1
    return said, expected


def test_labels_that_come_early_twice_or_contradict_are_each_counted_and_the_last_holds(
    chosen: Settings,
) -> None:
    table = ROWS[:2_000]
    said, expected = messy(table)
    publish(chosen, messages(chosen, table, said))
    scorecard = Scorecard()
    worker, memory = run(chosen, scorecard=scorecard)
    live, frauds = memory.live[-1], sum(bool(row.is_fraud) for row in table)
    assert live.labels == len(said)
    assert live.labels_repeated == expected["repeated"]
    assert live.labels_corrected == expected["corrected"]
    assert live.labels_early == expected["unknown"]
    assert live.dead_letters == live.labels_unknown == live.pending == 0
    assert scorecard.quality().labelled == len(table)
    assert scorecard.quality().frauds == frauds
    found = measure(list(memory.windows.values()))
    assert (found.labelled, found.frauds) == (len(table), frauds)
    records = everything(connect(chosen.bus), chosen.training_topic)
    log = [json.loads(record.value or b"") for record in records]
    corrections = [example for example in log if "corrects_weight" in example]
    assert len(corrections) == live.labels_corrected
    assert all(example["weight"] == 1.0 for example in corrections)
    assert worker.detector.model.learned == live.examples == len(log)


def test_an_empty_topic_is_no_error(chosen: Settings) -> None:
    worker, memory = run(chosen)
    assert worker.summary()["decisions"] == 0
    assert not memory.windows


def test_state_whose_partition_goes_while_it_is_restored_is_none(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(chosen, messages(chosen, ROWS[:1_000]))
    worker = Worker(chosen, connect(chosen.bus), Memory(), member="one")
    worker._training.open()
    while worker.reporting.counts["decisions"] < 1_000:
        worker.step()
    worker._forget([0])  # as where a commit is lost: its state is no more than what is committed
    monkeypatch.setattr(restore_module, "_STILL_THERE_SECONDS", 0.0)
    asked = iter([True, False])
    given = (worker.detector, connect(chosen.bus), worker._consumer)
    assert restore_module.restore([0], *given, go_on=lambda: next(asked)) is None
    assert not worker.detector.shards
    found = restore_module.restore([0], *given, go_on=lambda: True)
    assert found is not None
    assert found[0].positions[TopicPartition(chosen.transactions_topic, 0)] >= 1_000
    worker.detector.shards.clear()
    worker._consumer.close()
    worker._training.close()


def shard_bytes(worker: Worker) -> dict[int, bytes]:
    """The account state by partition, as it would be saved."""
    return {p: pack_shard(shard) for p, shard in worker.detector.shards.items()}


def test_who_learns_the_log_anew_has_the_trees_of_then_without_fitting_them(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = chosen.model_copy(update={"learner": "auto", "max_batch": 100})
    publish(chosen, messages(chosen, ROWS))

    def shutdown(pool: ThreadPoolExecutor, **_: bool) -> None:
        """Do all fits first: which of them a worker that ends drops is a matter of time."""
        ThreadPoolExecutor.shutdown(pool)

    monkeypatch.setattr(Background, "shutdown", shutdown)
    first, _ = run(chosen)
    published = {record.key for record in everything(connect(chosen.bus), chosen.fits_topic)}
    done: list[Fit] = []
    fit = Fit.__call__
    monkeypatch.setattr(Fit, "__call__", lambda due: done.append(due) or fit(due))
    second, _ = run(chosen, "two")
    boosted = [
        learner
        for learner in first.detector.model.committee.learners.values()
        if isinstance(learner, BoostedTrees)
    ]
    assert len(published) == sum(learner.fits for learner in boosted) > 2
    assert not done
    assert second.detector.model.position == first.detector.model.position
    assert digest(second.detector.model) == digest(first.detector.model)


def test_what_is_saved_is_shown_and_what_is_forgotten_is_rebuilt_the_same(
    chosen: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = chosen.model_copy(update={"state_dir": tmp_path / "state", "learner": "auto"})
    publish(chosen, messages(chosen, ROWS))
    first, _ = run(chosen)
    assert show(chosen, thorough=True, as_json=True)
    accounts, model = json.loads(capsys.readouterr().out)
    assert (accounts["behind"], model["behind"]) == (0, 0)
    assert accounts["size_bytes"] > 100_000
    assert reset(chosen) == 2
    assert [finding.saved for finding in look(chosen, thorough=True)] == ["nothing", "nothing"]
    second, _ = run(chosen)
    assert second.reporting.counts["decisions"] == 0
    assert shard_bytes(second) == shard_bytes(first)
    probe = np.zeros((1, len(first.detector.shards[0].features.names)), dtype=np.float32)
    names = first.detector.shards[0].features.names
    assert second.detector.model.scores(names, probe) == first.detector.model.scores(names, probe)


def test_saved_state_that_is_damaged_or_of_other_settings_is_not_used(
    chosen: Settings, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(chosen, messages(chosen, ROWS[:1_000]))
    first, _ = run(chosen)
    other = chosen.model_copy(update={"half_lives_hours": (5.0,)})
    assert not show(other, thorough=False, as_json=False)
    assert "made with another settings" in " ".join(capsys.readouterr().out.split())
    newest = everything(connect(chosen.bus), chosen.state_topic)
    chunk = next(r for r in newest if not (r.key or b"").endswith(b"manifest"))
    value = bytearray(chunk.value or b"")
    value[len(value) // 2] ^= 1
    publish(
        chosen, [Message(chosen.state_topic, chunk.key, bytes(value), chunk.headers, partition=0)]
    )
    assert not show(chosen, thorough=True, as_json=False)
    second, _ = run(chosen)
    assert "is left alone: its chunks are not those that were written" in caplog.text
    assert shard_bytes(second) == shard_bytes(first)


@pytest.mark.kafka
def test_account_state_moves_with_its_partition_to_the_last_bit(
    kafka: LocalKafka, unique: str
) -> None:
    chosen = settings(
        bus=f"kafka://{kafka.bootstrap}",
        group=unique,
        partitions=4,
        checkpoint_seconds=0.2,
        max_batch=300,
        **topics(unique),
    )
    connect(chosen.bus).create_topics(topic_specs(chosen))
    for partition in range(4):
        here = [m._replace(partition=partition) for m in messages(chosen, ROWS[partition::4])]
        publish(chosen, here)
    former = Worker(chosen, connect(chosen.bus), Memory(), member="former")
    former._training.open()
    while former.reporting.counts["decisions"] < len(ROWS) or not former._at_end():
        former.step()
    before = shard_bytes(former)
    assert set(before) == {0, 1, 2, 3}
    # It leaves without a last snapshot, so that there is something to handle again.
    former._consumer.close()
    former._training.close()
    latter, _ = run(chosen, member="latter")
    assert latter.reporting.counts["decisions"] == 0
    after = shard_bytes(latter)
    for partition, state in before.items():
        assert after[partition] == state
