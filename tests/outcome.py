"""What is in the topics in the end, whatever happened to workers, brokers and Redis meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from stream.core.windows import measure
from stream.events import Decided, Example, WindowReport
from stream.io.bus import Message, connect
from stream.settings import Settings
from tests.streams import TOPICS, everything, labels, rows

ROWS = rows(20_000, fraud_rate=0.005, clients=8_000)
FRAUDS = {row.transaction.transaction_id: bool(row.is_fraud) for row in ROWS}
DELAY = timedelta(hours=3)
ENDS_WITHIN_SECONDS = 300.0
QUICK = {"max_batch": 200, "align_seconds": 3600}
"""Fewer, larger steps: a run is over in a few seconds, in some two hundred commits."""
OUTPUTS = TOPICS[2:]


def publish(to: Settings) -> None:
    """All transactions and labels, by event time; the account is the key."""
    events = [(r.time_seconds, 1, r.transaction.nameDest, r.transaction) for r in ROWS]
    events += [
        (label.labelled_at.timestamp(), 0, row.transaction.nameDest, label)
        for row, label in zip(ROWS, labels(ROWS, DELAY), strict=True)
    ]
    publisher = connect(to.bus).publisher()
    publisher.publish(
        [
            Message(
                to.transactions_topic if is_transaction else to.labels_topic,
                key.encode(),
                event.model_dump_json(exclude_none=True).encode(),
            )
            for _, is_transaction, key, event in sorted(events, key=lambda e: e[:3])
        ]
    )
    publisher.close()


class Outcome(NamedTuple):
    """What the topics hold in the end."""

    scores: dict[str, tuple[float, float]]
    alerts: list[str]
    log: list[Example]


def outcome(of: Settings) -> Outcome:
    """Read the topics, and check that nothing is there twice and nothing is missing."""
    broker = connect(of.bus)
    decided = [
        Decided.model_validate_json(record.value or b"")
        for record in everything(broker, of.decisions_topic)
    ]
    count = Counter(id_ for batch in decided for id_ in batch.transaction_ids)
    assert set(count.values()) == {1}
    assert count.keys() == FRAUDS.keys()
    scores = {
        id_: (score, threshold)
        for batch in decided
        for id_, score, threshold in zip(
            batch.transaction_ids, batch.scores, batch.thresholds, strict=True
        )
    }
    alerts = [json.loads(r.value or b"") for r in everything(broker, of.alerts_topic)]
    alert_ids = [alert["alert_id"] for alert in alerts]
    assert len(alert_ids) == len(set(alert_ids)) > 20
    flagged = {id_ for id_, (score, threshold) in scores.items() if score >= threshold}
    assert {alert["transaction_id"] for alert in alerts} == flagged
    for alert in alerts:
        assert (alert["score"], alert["threshold"]) == scores[alert["transaction_id"]]
    log = [
        Example.model_validate_json(r.value or b"") for r in everything(broker, of.training_topic)
    ]
    examples = Counter(example.transaction_id for example in log)
    assert set(examples.values()) == {1}
    assert {e.transaction_id for e in log if e.is_fraud} == {
        i for i, fraud in FRAUDS.items() if fraud
    }
    assert all((e.score, e.alerted) == _given(scores[e.transaction_id]) for e in log)
    return Outcome(scores, alert_ids, log)


def _given(score_and_threshold: tuple[float, float]) -> tuple[float, bool]:
    score, threshold = score_and_threshold
    return score, score >= threshold


def windows_are_those_of(found: Outcome, reports: list[WindowReport]) -> None:
    """Check that reports hold what was decided and what the labels say of it."""
    flagged = {id_: score >= threshold for id_, (score, threshold) in found.scores.items()}
    verdicts = Counter((flagged[id_], fraud) for id_, fraud in FRAUDS.items())
    whole = measure(reports)
    assert whole.transactions == whole.labelled == len(FRAUDS)
    assert whole.true_positives == verdicts[True, True]
    assert whole.false_positives == verdicts[True, False]
    assert whole.frauds == sum(FRAUDS.values())
    assert sum(r.score_sum for r in reports) == pytest.approx(
        sum(score for score, _ in found.scores.values())
    )


def reported(summary: Path) -> list[WindowReport]:
    return [WindowReport.model_validate(report) for report in json.loads(summary.read_text())]


def ended(process: BaseProcess) -> None:
    process.join(ENDS_WITHIN_SECONDS)
    assert process.exitcode == 0


def kill(process: BaseProcess) -> None:
    """As `kill -9` does."""
    process.kill()
    process.join()
