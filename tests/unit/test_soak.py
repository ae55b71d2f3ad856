"""The benchmark of memory: what it runs, and what it says of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from benchmarks.soak import (
    LateLabels,
    Sample,
    costs_of_last_million,
    curve,
    drawn,
    growth,
    measured,
    soaked,
)
from tests.streams import settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def sample(resident_mb: float) -> Sample:
    return Sample(0, 0.0, resident_mb, 0, 0, 0, 0, 0, 0)


def test_the_stream_has_as_many_accounts_as_it_was_asked_for_and_some_frauds() -> None:
    cut = list(drawn(20_000, 4_000, 10.0, settings()))
    transactions = [tx for each in cut for tx in each.transactions]
    assert len(transactions) == 20_000
    assert len({tx.transaction_id for tx in transactions}) == 20_000
    assert len({name for tx in transactions for name in (tx.nameOrig, tx.nameDest)}) == 4_000
    times = np.concatenate([each.times_seconds for each in cut])
    assert (np.diff(times) >= 0).all()
    assert times[-1] - times[0] == pytest.approx(10 * 86_400, rel=0.01)
    assert 10 < sum(each.frauds.sum() for each in cut) < 100


def test_labels_come_after_the_delay_and_tell_the_truth() -> None:
    cut = list(drawn(2_000, 500, 1.0, settings()))
    late = LateLabels(timedelta(hours=3), 600)
    for each in cut:
        late.add(each)
    begin = cut[0].times_seconds[0]
    early = [label for labels in late.due(begin + 6 * 3600) for label in labels]
    rest = [label for labels in late.due(np.inf) for label in labels]
    assert 200 < len(early) < 300
    assert early[-1].labelled_at.timestamp() <= begin + 6 * 3600
    truth = np.concatenate([each.frauds for each in cut])
    assert [label.is_fraud for label in early + rest] == truth.tolist()


def test_what_exceeds_the_bounds_falls_out_and_is_counted() -> None:
    chosen = settings(max_accounts=500, max_pending=1_000)
    samples, detector = soaked(chosen, 10_000, 2_000, 2.0, timedelta(hours=12))
    pending = detector.shards[0].pending
    last = samples[-1]
    assert len(samples) == 50
    assert last.transactions == 10_000
    assert max(each.accounts for each in samples) <= 500
    assert max(each.pending for each in samples) <= 1_000
    assert last.evicted > 0
    assert last.expired > 0
    assert last.learned == 0
    assert pending.early + pending.unknown > 0  # labels of what has fallen out


def test_memory_that_grew_early_has_levelled_off_and_memory_that_goes_on_has_not() -> None:
    flat = [sample(100.0 + min(i, 30)) for i in range(60)]
    steady = [sample(100.0 + i) for i in range(60)]
    assert growth(flat, 1 / 3) == 0.0
    assert growth(flat, 1.0) > 0.2
    assert growth(steady, 1 / 3) == pytest.approx(16 / 141, abs=0.01)


def test_the_last_million_is_compared_with_the_second_also_on_a_machine_that_slows_down() -> None:
    samples = [
        replace(sample(0.0), transactions=million * 500_000, handling_us=us, yardstick_us=stick)
        for million, us, stick in (
            *((1, 90.0, 1.0), (2, 90.0, 1.0), (3, 40.0, 2.0), (4, 60.0, 2.0)),
            *((5, 70.0, 2.0), (6, 70.0, 2.0), (7, 100.0, 4.0), (8, 100.0, 4.0)),
        )
    ]
    assert costs_of_last_million(samples) == {
        "second_million_us": 50.0,
        "last_million_us": 100.0,
        "last_to_second_us": 2.0,
        "last_to_second_in_yardsticks": 1.0,
    }
    assert costs_of_last_million(samples[:3]) == {}


def test_the_curve_is_drawn_from_nothing_to_its_highest() -> None:
    assert curve([1.0, 2.0, 4.0, 4.0], height=2).splitlines() == [
        "    4 |  ██",
        "    2 |▄███",
        "    0 +----",
    ]


def test_a_pending_transaction_costs_more_than_its_features() -> None:
    assert measured("pending transaction", 20_000) > 4 * 62
