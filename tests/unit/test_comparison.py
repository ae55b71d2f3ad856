"""Two deciders side by side: intervals, chance, and counts that follow corrections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from stream.core.comparison import Comparison, Held
from stream.core.detector import Detector
from stream.core.model import Model
from stream.core.wire import AnyLabel
from stream.events import utc
from tests.streams import label, labels, rows, settings

TABLE = rows(210)


@settings_of_hypothesis(max_examples=25)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=30), st.integers(7, 40))
def test_what_is_held_lies_in_the_slots_where_pending_holds_the_transaction(
    sizes: Sequence[int], most: int
) -> None:
    of = settings(max_pending=most)
    detector = Detector(of, Model(of))
    shard = detector.open(0)
    held, table = Held(most), TABLE[: sum(sizes)]
    given_scores: dict[str, float] = {}
    at = 0
    for size in sizes:
        batch = [row.transaction for row in table[at : at + size]]
        detector.on_transactions(0, batch)
        scores = np.arange(at, at + size, dtype=np.float64)
        held.add(scores, scores % 2 == 0)
        given_scores |= {tx.transaction_id: s for tx, s in zip(batch, scores, strict=True)}
        at += size
    joined = shard.pending.join(list[AnyLabel](labels(table)))
    found, flagged = held.at(joined.slots)
    expected = [given_scores[each.transaction_id] for each in joined.labels]
    assert found.tolist() == expected
    assert flagged.tolist() == [score % 2 == 0 for score in expected]


def test_a_correction_takes_back_what_it_corrects_on_both_sides() -> None:
    of = settings()
    table = rows(400)
    ids = [row.transaction.transaction_id for row in table]
    truth = labels(table, timedelta(hours=1))
    wrong = [
        label(each.transaction_id, not each.is_fraud, each.labelled_at) if i % 3 == 0 else each
        for i, each in enumerate(truth)
    ]
    corrections = [
        label(each.transaction_id, each.is_fraud, each.labelled_at + timedelta(hours=1))
        for i, each in enumerate(truth)
        if i % 3 == 0
    ]
    in_force = np.linspace(0.0, 1.0, len(ids))
    found = []
    for said in ((wrong, corrections), (truth,)):
        detector = Detector(of, Model(of))
        detector.open(0)
        comparison = Comparison(-math.inf, of.max_pending)
        decisions = detector.on_transactions(0, [row.transaction for row in table])
        comparison.decided(0, decisions, in_force, np.full(len(ids), 0.5))
        for batch in said:
            comparison.labelled(0, detector.on_labels(0, batch)[0])
        found.append(
            (
                comparison.in_force.measures(1.0),
                comparison.challenger.measures(1.0),
                comparison.apart(),
            )
        )
    (corrected, right) = found
    assert corrected[2] == right[2]
    for side in (0, 1):
        assert corrected[side] == pytest.approx(right[side], rel=1e-9, abs=1e-6)
    flagged = in_force >= 0.5
    frauds = np.array([bool(row.is_fraud) for row in table])
    assert right[0]["true_positives"] == int((flagged & frauds).sum())
    assert right[0]["false_positives"] == int((flagged & ~frauds).sum())


def test_only_transactions_from_the_moment_on_count() -> None:
    of, table = settings(), rows(100)
    moment = table[60].time_seconds
    detector = Detector(of, Model(of))
    detector.open(0)
    comparison = Comparison(moment, of.max_pending)
    decisions = detector.on_transactions(0, [row.transaction for row in table])
    comparison.decided(0, decisions, np.zeros(100), np.ones(100))
    comparison.labelled(0, detector.on_labels(0, labels(table))[0])
    newer = sum(row.time_seconds >= moment for row in table)
    assert comparison.in_force.transactions == newer
    assert comparison.challenger.measures()["labelled"] == newer
    assert utc(comparison.newest_seconds or 0.0) == utc(table[-1].time_seconds)
