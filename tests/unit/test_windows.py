"""Windows against counts made one by one, and measures against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.windows import Windows, average_precision, measure, score_bin

STATE = {"threshold": 0.5, "fraud_prior": 0.01, "sampling_rate": 0.1, "learned_share": 0.03}

rows = st.lists(
    st.tuples(
        st.integers(0, 4 * 3600 - 1),
        st.integers(0, 100).map(lambda n: n / 100),
        st.booleans(),
        st.floats(0, 1e6),
        st.sampled_from([None, True, False]),
    ),
    max_size=60,
)


def filled(data: list, partition: int = 0) -> Windows:
    windows = Windows(partition, 3600, 100)
    columns = [np.array(c) for c in zip(*data, strict=True)] if data else [np.empty(0)] * 5
    times, scores, alerts, amounts = (
        columns[0].astype(float),
        columns[1].astype(float),
        columns[2].astype(bool),
        columns[3].astype(float),
    )
    windows.decided(times, scores, alerts, amounts, STATE)
    known = np.array([row[4] is not None for row in data], dtype=bool)
    frauds = np.array([row[4] is True for row in data], dtype=bool)
    windows.labelled(*(c[known] for c in (times, scores, alerts, amounts, frauds)))
    return windows


@given(rows)
def test_each_window_counts_its_own_transactions_as_far_as_labels_have_come(data: list) -> None:
    reports = {int(r.start.timestamp()): r for r in filled(data).changed()}
    assert set(reports) == {t // 3600 * 3600 for t, *_ in data}
    for start, report in reports.items():
        mine = [row for row in data if row[0] // 3600 * 3600 == start]
        known = [row for row in mine if row[4] is not None]
        assert report.transactions == len(mine)
        assert report.alerts == sum(row[2] for row in mine)
        assert report.labelled == len(known)
        assert report.true_positives == sum(row[2] and row[4] for row in known)
        assert report.false_positives == sum(row[2] and not row[4] for row in known)
        assert report.false_negatives == sum(not row[2] and row[4] for row in known)
        assert report.true_negatives == sum(not row[2] and not row[4] for row in known)
        assert report.amount == pytest.approx(sum(row[3] for row in mine))
        assert report.amount_missed == pytest.approx(
            sum(row[3] for row in known if row[4] and not row[2])
        )
        assert sum(c[0] for c in report.histogram.values()) == len(mine)
        assert sum(c[1] + c[2] for c in report.histogram.values()) == len(known)


@given(rows, rows)
def test_partitions_add_up(one: list, other: list) -> None:
    parts = measure([*filled(one).changed(), *filled(other, 1).changed()])
    whole = measure(filled([*one, *other]).changed())
    for name, value in whole.asdict().items():
        assert parts.asdict()[name] == pytest.approx(value), name


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=30))
def test_average_precision_is_the_stepwise_sum(bins: list) -> None:
    legitimate, frauds = [b[0] for b in bins], [b[1] for b in bins]
    expected, tp, flagged = 0.0, 0, 0
    for l_count, f_count in bins:
        tp, flagged = tp + f_count, flagged + l_count + f_count
        if f_count:
            expected += f_count / sum(frauds) * tp / flagged
    found = average_precision(legitimate, frauds)
    assert found == (None if not sum(frauds) else pytest.approx(expected))


def test_measures_follow_their_definitions() -> None:
    data = [
        *[(0, 0.9, True, 100.0, True)] * 6,
        *[(0, 0.8, True, 10.0, False)] * 2,
        *[(0, 0.2, False, 50.0, True)] * 4,
        *[(0, 0.1, False, 1.0, False)] * 88,
    ]
    found = measure(filled(data).changed(), beta=2.0)
    assert found.precision == 0.75
    assert found.recall == 0.6
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert found.f_beta == pytest.approx(5 * 0.75 * 0.6 / (4 * 0.75 + 0.6))
    assert found.g_mean == pytest.approx(math.sqrt(0.6 * 88 / 90))
    assert found.balanced_accuracy == pytest.approx((0.6 + 88 / 90) / 2)
    assert found.mcc == pytest.approx((6 * 88 - 2 * 4) / math.sqrt(8 * 10 * 90 * 92))
    assert found.average_precision == pytest.approx(0.6 * 1 + 0.4 * 10 / 12)
    assert found.calibration == pytest.approx((5.4 + 1.6 + 0.8 + 8.8) / 10)
    assert found.estimated_precision == pytest.approx((5.4 + 1.6) / 8)
    assert (found.amount_caught, found.amount_missed, found.amount_false) == (600, 200, 20)


def test_figures_that_are_not_known_are_none_and_not_zero() -> None:
    found = measure(filled([(0, 0.5, False, 1.0, None)]).changed())
    assert found.label_coverage == 0
    assert found.precision is found.recall is found.average_precision is found.log_loss is None


def test_a_report_comes_again_only_when_its_window_changed() -> None:
    windows = filled([(0, 0.5, False, 1.0, None), (3600, 0.5, False, 1.0, None)])
    assert len(windows.changed()) == 2
    assert not windows.changed()
    one = np.array([0.0]), np.array([0.5]), np.array([False]), np.array([1.0]), np.array([True])
    windows.labelled(*one)
    assert [r.start.timestamp() for r in windows.changed()] == [0]


def test_windows_stay_bounded_and_labels_for_closed_ones_are_counted_as_late() -> None:
    windows = Windows(0, 3600, 3)
    for hour in range(10):
        windows.decided(
            np.array([hour * 3600.0]), np.array([0.5]), np.array([True]), np.array([1.0]), STATE
        )
    assert windows.closed == 7
    one = np.array([0.0]), np.array([0.5]), np.array([True]), np.array([1.0]), np.array([True])
    windows.labelled(*one)
    assert windows.late == 1
    assert len(windows.changed()) == 3


@given(rows)
def test_going_on_from_a_snapshot_equals_going_on(data: list) -> None:
    windows, restored = filled(data), Windows(0, 3600, 100)
    restored.restore(windows.snapshot())
    assert restored.changed() == windows.changed()


def test_bins_rank_as_the_scores_do_up_to_ties() -> None:
    scores = np.sort(np.random.default_rng(1).beta(0.2, 2, 5_000))
    assert (np.diff(score_bin(scores)) >= 0).all()
