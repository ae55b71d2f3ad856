"""Windows against counts made one by one, and measures against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.scored import Scored
from stream.core.windows import Windows, average_precision, measure, score_bin
from stream.events import Transaction

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


KINDS = ("TRANSFER", "PAYMENT", "DEBIT")


def codes(windows: Windows, amounts: np.ndarray) -> np.ndarray:
    """Of transactions whose type is one of three, by the amount's last digit."""
    types = (KINDS[int(amount) % 3] for amount in amounts)
    batch = [
        Transaction(transaction_id="1", type=kind, amount=0, nameOrig="C1", nameDest="M1", step=0)
        for kind in types
    ]
    return windows.segments.codes(batch, amounts)


def one(seconds: float = 0.0, *, alert: bool = True) -> Scored:
    """One transaction of one band."""
    return Scored(
        np.array([seconds]),
        np.array([0.5]),
        np.array([alert]),
        np.array([1.0]),
        np.zeros((1, 2), dtype=np.int16),
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
    scored = Scored(times, scores, alerts, amounts, codes(windows, amounts))
    windows.decided(scored, STATE)
    known = np.array([row[4] is not None for row in data], dtype=bool)
    frauds = np.array([row[4] is True for row in data], dtype=bool)
    windows.labelled(scored.rows(known), frauds[known])
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
    windows.labelled(one(alert=False), np.array([True]))
    assert [r.start.timestamp() for r in windows.changed()] == [0]


def test_windows_stay_bounded_and_labels_for_closed_ones_are_counted_as_late() -> None:
    windows = Windows(0, 3600, 3)
    for hour in range(10):
        windows.decided(one(seconds=hour * 3600.0), STATE)
    assert windows.closed == 7
    windows.labelled(one(), np.array([True]))
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


@given(rows)
def test_segments_of_each_field_add_up_to_the_window_and_amounts_to_what_was_fraud(
    data: list,
) -> None:
    for report in filled(data).changed():
        counts = ("transactions", "alerts", "true_positives", "false_positives")
        for values in report.segments.values():
            for name in (*counts, "true_negatives", "false_negatives"):
                assert sum(getattr(s, name) for s in values.values()) == getattr(report, name)
        frauds = report.amount_caught + report.amount_missed
        assert sum(report.fraud_amounts.values()) == pytest.approx(frauds)
        assert {b for b, amount in report.fraud_amounts.items() if amount} <= {
            b for b, (_, _, fraud) in report.histogram.items() if fraud
        }


@given(rows)
def test_a_correction_moves_its_segment_and_its_amount(data: list) -> None:
    once = [row for row in data if row[4] is not None]
    windows = filled(once)
    times, scores, alerts, amounts, frauds = (
        np.array(column, dtype=kind)
        for column, kind in zip(
            zip(*once, strict=True) if once else [()] * 5,
            (float, float, bool, float, bool),
            strict=True,
        )
    )
    scored = Scored(times, scores, alerts, amounts, codes(windows, amounts))
    windows.corrected(scored, ~frauds)
    turned = filled([(*row[:4], not row[4]) for row in once])
    for found, wanted in zip(windows.changed(), turned.changed(), strict=True):
        assert found.segments == wanted.segments
        amounts_found = {b: a for b, a in found.fraud_amounts.items() if abs(a) > 1e-6}
        wanted_amounts = {b: a for b, a in wanted.fraud_amounts.items() if abs(a) > 1e-6}
        assert amounts_found == pytest.approx(wanted_amounts)


@given(rows)
def test_with_other_segments_all_else_of_a_snapshot_is_restored(data: list) -> None:
    windows, restored = filled(data), Windows(0, 3600, 100, ["channel"])
    restored.restore(windows.snapshot())
    for found, wanted in zip(restored.changed(), windows.changed(), strict=True):
        assert found.segments.pop("channel") == {}
        assert found == wanted
