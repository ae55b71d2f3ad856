"""Evaluation over a table: what is graded, the figures, and the report."""

from __future__ import annotations

import functools
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.columns import COLUMNS
from producers.labels import LateLabels
from stream.core.detector import Detector
from stream.core.evaluate import Graded, Scorecard, evaluate
from stream.core.model import Model
from stream.core.windows import ranked_average_precision
from stream.evaluation.command import Run
from stream.evaluation.curves import (
    by_period,
    precision_recall,
    readable_period,
    reliability,
)
from stream.evaluation.distort import Distortion, keep_rate
from stream.evaluation.figures import figures, roc_auc
from stream.evaluation.plan import Plan
from stream.evaluation.report import write_report
from stream.evaluation.timeline import Moment, Timeline
from tests.streams import rows, settings

ROWS = rows(2_500)
TABLE = [(row.transaction, bool(row.is_fraud)) for row in ROWS]
FRAUDS = sum(is_fraud for _, is_fraud in TABLE)
DELAY = timedelta(hours=6)

scored = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40).map(
    lambda pairs: (np.array([s / 8 for s, _ in pairs]), np.array([f for _, f in pairs]))
)


def detector() -> Detector:
    return Detector(settings(), Model(settings()))


def graded(scores: np.ndarray, frauds: np.ndarray) -> Graded:
    n = len(scores)
    return Graded(np.arange(n) * 3600.0, scores, scores > 0.5, np.full(n, 10.0), frauds)


def test_labels_that_never_come_are_graded_all_the_same_and_teach_nothing() -> None:
    made, scorecard = detector(), Scorecard()
    evaluate(made, TABLE, DELAY, scorecard, label_of=lambda _tx, _is_fraud: None)
    assert scorecard.quality().labelled == len(TABLE)
    assert scorecard.quality().frauds == FRAUDS
    assert made.model.learned == 0


def test_wrong_labels_are_learned_and_the_truth_is_graded() -> None:
    made, scorecard = detector(), Scorecard()
    evaluate(made, TABLE, DELAY, scorecard, label_of=lambda _, is_fraud: not is_fraud)
    assert scorecard.quality().frauds == FRAUDS
    assert made.model.prior.value > 0.9


def test_what_nobody_knows_gets_neither_label_nor_grade() -> None:
    made, scorecard = detector(), Scorecard()
    hidden = [(tx, None if i % 2 else is_fraud) for i, (tx, is_fraud) in enumerate(TABLE)]
    evaluate(made, hidden, DELAY, scorecard)
    assert scorecard.quality().labelled == len(TABLE[::2])
    assert len(made.shards[0].pending) == len(TABLE[1::2])


def test_a_second_copy_of_a_transaction_is_not_graded_again() -> None:
    once, twice = Scorecard(), Scorecard()
    evaluate(detector(), TABLE, DELAY, once)
    evaluate(detector(), [row for row in TABLE for _ in range(2)], DELAY, twice)
    assert twice.quality() == once.quality()


def test_no_label_is_known_before_the_delay_is_over() -> None:
    made, learned = detector(), list[int]()
    late = timedelta(days=1)
    evaluate(made, TABLE, late, Scorecard(), lambda _: learned.append(made.model.learned))
    seen = [row.time_seconds for row in ROWS]
    slices = np.unique(np.array(seen) // made.settings.align_seconds)
    before = int((slices < (seen[0] + 86_400) // made.settings.align_seconds).sum())
    assert learned[before - 1] == 0
    assert learned[-1] > 0


def test_the_time_the_detector_took_is_that_of_the_clock_given() -> None:
    ticks = iter(range(10**9))
    took = evaluate(detector(), TABLE[:500], DELAY, Scorecard(), clock=lambda: float(next(ticks)))
    assert took == next(ticks) / 2


@given(scored)
def test_roc_auc_and_average_precision_are_those_of_counting_by_hand(
    pairs: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, frauds = pairs
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[frauds] for b in scores[~frauds]
    ]
    assert roc_auc(scores, frauds) == (pytest.approx(np.mean(wins)) if wins else None)
    steps, recall = 0.0, 0.0
    for cut in sorted(set(scores), reverse=True) if frauds.any() else ():
        flagged = scores >= cut
        reached = frauds[flagged].sum() / frauds.sum()
        steps += (reached - recall) * frauds[flagged].mean()
        recall = reached
    expected = pytest.approx(steps) if frauds.any() else None
    assert ranked_average_precision(scores, frauds) == expected
    curve = precision_recall(scores, frauds)
    area = float((np.diff(curve.recall, prepend=0.0) * curve.precision).sum())
    assert (area if frauds.any() else None) == expected


@given(scored, st.integers(1, 12))
def test_the_bins_of_the_calibration_hold_every_transaction_once(
    pairs: tuple[np.ndarray, np.ndarray], bins: int
) -> None:
    scores, frauds = pairs
    found = reliability(scores, frauds, bins)
    if not scores.any():  # nothing is announced: there is nothing to be calibrated
        assert not len(found.score)
        return
    assert len(found.score) <= bins
    assert found.transactions.sum() == len(scores)
    assert (found.fraud_rate * found.transactions).sum() == pytest.approx(frauds.sum())
    assert (found.score * found.transactions).sum() == pytest.approx(scores.sum())
    assert (found.low <= found.fraud_rate + 1e-9).all()
    assert (found.fraud_rate <= found.high + 1e-9).all()
    assert (np.diff(found.score) > 0).all()


@given(scored, st.sampled_from([3600.0, 7 * 3600.0, 1e7]))
def test_the_stretches_of_time_hold_every_transaction_once(
    pairs: tuple[np.ndarray, np.ndarray], seconds: float
) -> None:
    whole = graded(*pairs)
    periods = by_period(whole, 0.0, seconds)
    assert sum(p.transactions for p in periods) == len(whole.scores)
    assert sum(p.frauds for p in periods) == whole.frauds.sum()
    assert sum(p.alerts for p in periods) == whole.alerts.sum()
    assert readable_period(whole) >= 3600


@given(scored, st.floats(0, 100))
def test_the_cost_is_false_alarms_and_what_was_missed(
    pairs: tuple[np.ndarray, np.ndarray], false_alarm_cost: float
) -> None:
    found = figures(graded(*pairs), false_alarm_cost=false_alarm_cost)
    missed = 10.0 * found.false_negatives
    assert found.cost == pytest.approx(found.false_positives * false_alarm_cost + missed)
    assert found.alerts == found.true_positives + found.false_positives
    assert found.frauds == found.true_positives + found.false_negatives


@given(st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_the_labels_that_come_are_those_that_the_producer_sends(share: float, seed: int) -> None:
    late = LateLabels(DELAY, share, seed)
    late.add(ROWS[:200])
    sent = {due.label.transaction_id for due in late.release()}
    spoiled = Distortion(seed=seed, label_fraction=share)
    given_ = {
        tx.transaction_id for tx, truth in TABLE[:200] if spoiled.label(tx, truth) is not None
    }
    assert given_ == sent


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32))
def test_what_a_smaller_share_keeps_a_larger_one_keeps_too(a: float, b: float, seed: int) -> None:
    small, large = sorted((a, b))
    ids = [tx.transaction_id for tx, _ in TABLE[:200]]

    def kept(share: float) -> set[str]:
        thin = Distortion(seed=seed, keep_frauds=share)
        return {id_ for id_ in ids if thin.keeps(id_, is_fraud=True)}

    assert kept(small) <= kept(large)


def test_shares_of_labels_and_of_frauds_are_those_asked_for() -> None:
    table = rows(20_000, fraud_rate=0.05)
    wrong, thin = Distortion(seed=1, wrong_labels=0.05), Distortion(seed=1, keep_frauds=0.25)
    turned = [wrong.label(r.transaction, False) for r in table]
    assert np.mean([bool(label) for label in turned]) == pytest.approx(0.05, abs=0.006)
    kept = [thin.keeps(r.transaction.transaction_id, True) for r in table]
    assert np.mean(kept) == pytest.approx(0.25, abs=0.012)
    assert all(thin.keeps(r.transaction.transaction_id, False) for r in table)


def test_too_few_of_a_class_cannot_be_thinned() -> None:
    with pytest.raises(ValueError, match="10 frauds to 10,000 others are fewer than that already"):
        keep_rate("frauds", there=10, other=10_000, wanted=1 / 200)


@given(st.lists(st.floats(0.1, 1e5), max_size=300), st.integers(2, 20))
def test_a_timeline_is_bounded_and_in_order(gaps: list[float], most: int) -> None:
    timeline = Timeline(most)
    for time in np.cumsum(gaps).tolist():
        if timeline.wants(time):
            timeline.add(Moment(time, 0.5, {}, {}))
    times = [moment.time_seconds for moment in timeline.moments]
    assert len(times) <= most
    assert times == sorted(times)
    assert bool(times) == bool(gaps)


@functools.cache
def a_run() -> Run:
    scorecard, timeline = Scorecard(timedelta(hours=12)), Timeline()
    made = detector()

    def look(_: int) -> None:
        state, weights = made.model.state(), {"a": 0.3, "b": 0.7}
        timeline.add(Moment(scorecard.newest_seconds, made.threshold, state, weights))

    evaluate(made, TABLE, DELAY, scorecard, look)
    found, start = scorecard.graded(), scorecard.from_seconds
    counted = figures(found.since(start), false_alarm_cost=1, microseconds_per_transaction=9)
    return Run(settings(), counted, found, scorecard.begin_seconds, start, timeline)


@pytest.mark.parametrize("strategies", [("none",), ("none", "under")])
def test_a_report_is_one_page_that_needs_nothing_else(
    tmp_path: Path, strategies: tuple[str, ...]
) -> None:
    plan = Plan(
        path=Path("a <b> & c.csv"),
        columns=COLUMNS["paysim"],
        label_delay=DELAY,
        score_from=timedelta(hours=12),
        limit=None,
        false_alarm_cost=1.0,
        distortion=Distortion(seed=7),
        size=None,
    )
    page = write_report(tmp_path, plan, dict.fromkeys(strategies, a_run()), "weir evaluate '<x>'")
    text = page.read_text("utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    assert not re.search(r"(src|href)=\"(?!#)|https?:|@import|url\((?!#)|<script", text)
    assert "a &lt;b&gt; &amp; c.csv" in text
    assert "&lt;x&gt;" in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text)) <= set(ids)
    assert "redis" not in text
    for title in ("Calibration", "Threshold", "Shares", "Alerts", "Members", "Versions"):
        assert text.count(f">{title}<") == (1 if title == "Versions" else len(strategies)), title
    assert "#0a0" not in text  # every colour is one of the style sheet
