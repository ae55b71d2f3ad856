"""The parts of the ranking benchmark that need no data: order, grades, recovery, results."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ranking import report, results, rivers, weir
from benchmarks.ranking import rows as table_rows
from benchmarks.ranking.described import Described, describe
from benchmarks.ranking.drift import back_after, matured_at, recovery, rolling
from benchmarks.ranking.grades import calibration_error, grade
from benchmarks.ranking.sources import mislabelled, stream_of, thinned
from benchmarks.ranking.streams import DAY, Stream, journey, settings
from stream.core.detector import Detector
from stream.core.evaluate import Scorecard, evaluate
from stream.core.model import Model
from tests.streams import rows


def small(count: int = 2_000, hours: float = 2, fraud_rate: float = 0.05) -> Stream:
    """A generated stream of some days."""
    held = rows(count, fraud_rate=fraud_rate)
    return stream_of("small", "a small one", held, timedelta(hours=hours), timedelta(days=1))


@pytest.fixture(scope="module")
def described() -> Described:
    return describe(small())


def test_the_order_and_so_the_scores_are_those_of_evaluate() -> None:
    stream, of = small(), settings(learner="linear")
    scores, _ = weir.run(stream, of)
    scorecard = Scorecard(stream.score_from)
    table = zip(stream.transactions, stream.frauds.tolist(), strict=True)
    evaluate(Detector(of, Model(of)), table, stream.delay, scorecard)
    found = grade(scores[stream.graded], stream.frauds[stream.graded], 0.0)
    expected = scorecard.quality()
    assert found.frauds == expected.frauds
    assert found.average_precision == expected.average_precision
    assert found.log_loss == pytest.approx(expected.log_loss)


@given(st.integers(0, 30 * 3600), st.integers(1, 2 * 3600), st.integers(1, 500))
def test_no_label_comes_before_its_time_and_each_row_once(
    delay_seconds: int, slice_seconds: int, max_batch: int
) -> None:
    stream = replace(SMALL, delay=timedelta(seconds=delay_seconds))
    asked = told = 0
    for step in journey(stream, slice_seconds, max_batch):
        if step.labels:
            assert step.first == told
            told = step.last
        else:
            assert step.first == asked
            assert 0 < step.last - step.first <= max_batch
            asked = step.last
            slice_begin = stream.times_seconds[step.first] // slice_seconds * slice_seconds
            assert np.all(stream.times_seconds[:told] + delay_seconds <= slice_begin + 1e-6)
            assert told == len(stream) or (
                stream.times_seconds[told] + delay_seconds > slice_begin - 1e-6
            )
    assert asked == told == len(stream)


SMALL = small(400)


def test_features_are_those_of_the_moment_of_scoring(described: Described) -> None:
    stream = described.stream
    assert described.features.shape == (len(stream), len(described.names))
    amounts = described.features[:, described.names.index("amount")]
    assert amounts == pytest.approx(np.log1p([tx.amount for tx in stream.transactions]))


def test_extra_columns_are_seen_by_every_row_of_the_table(described: Described) -> None:
    stream = described.stream
    extra = np.arange(len(stream), dtype=np.float32)[:, None]
    wider = replace(stream, extra=extra, extra_names=("place",))
    again = describe(wider)
    assert again.names == (*described.names, "place")
    assert np.array_equal(again.features[:, :-1], described.features)
    assert np.array_equal(again.features[:, -1:], extra)
    scores, _ = weir.run(wider, settings(learner="linear"))
    assert not np.array_equal(scores, weir.run(stream, settings(learner="linear"))[0])


def test_thinning_reaches_the_ratio_from_either_side() -> None:
    stream = small(20_000)
    for ratio in (5.0, 200.0):
        found = thinned(stream, ratio)
        frauds = int(found.frauds.sum())
        assert (len(found) - frauds) / frauds == pytest.approx(ratio, rel=0.35)
        kept_class = stream.frauds if ratio < 19 else ~stream.frauds
        of_kept = found.frauds if ratio < 19 else ~found.frauds
        assert kept_class.sum() == of_kept.sum()


def test_bad_labels_change_what_is_told_and_not_the_truth() -> None:
    stream = small()
    lost, lied = mislabelled(stream, missing=0.3), mislabelled(stream, wrong=0.05)
    assert lost.labelled.mean() == pytest.approx(0.7, abs=0.04)
    assert np.array_equal(lost.frauds, stream.frauds)
    assert np.array_equal(lied.frauds, stream.frauds)
    assert (lied.labels != stream.frauds).mean() == pytest.approx(0.05, abs=0.02)


def test_scores_that_are_the_truth_have_perfect_grades() -> None:
    frauds = np.arange(1_000) % 50 == 0
    found = grade(frauds.astype(np.float64), frauds, 1.0)
    assert (found.average_precision, found.calibration, found.calibration_error) == (1.0, 1.0, 0.0)
    assert found.log_loss == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300))
def test_the_calibration_error_is_at_least_the_error_of_the_mean(
    pairs: list[tuple[float, bool]],
) -> None:
    scores = np.array([score for score, _ in pairs])
    frauds = np.array([fraud for _, fraud in pairs])
    error = calibration_error(scores, frauds)
    assert error >= abs(scores.mean() - frauds.mean()) - 1e-9
    assert error <= np.abs(scores - frauds).mean() + 1e-9


def test_river_learns_under_the_same_delay_and_is_scored_where_it_counts(
    described: Described,
) -> None:
    model = rivers.RIVERS["River logistic regression"](7)
    scores, _ = rivers.run(described, model)
    graded = described.stream.graded
    assert np.all(scores[~graded] == 0)
    assert grade(scores[graded], described.stream.frauds[graded], 0.0).average_precision > 0.2  # type: ignore[operator]


def test_a_batch_anchor_ranks_and_gives_back_the_prior_after_smote(described: Described) -> None:
    pytest.importorskip("xgboost")
    pytest.importorskip("imblearn")
    from benchmarks.ranking import anchors

    few = anchors.Anchor(n_estimators=30, smote_share=0.3)
    scores, _ = anchors.run(described, few)
    graded, frauds = described.stream.graded, described.stream.frauds
    found = grade(scores[graded], frauds[graded], 0.0)
    assert found.average_precision is not None
    assert found.average_precision > 3 * frauds.mean()
    assert found.calibration == pytest.approx(1.0, abs=0.5)


def changing(worse: int) -> tuple[Stream, np.ndarray]:
    """Scores that are right but for some transactions after the change, whose delay is short."""
    n, changed = 40_000, 15_000
    base = small(10)
    frauds = np.arange(n) % 20 == 0
    stream = replace(
        base,
        transactions=[base.transactions[0]] * n,
        times_seconds=np.arange(n, dtype=np.float64),
        frauds=frauds,
        labels=frauds,
        labelled=np.ones(n, np.bool_),
        delay=timedelta(seconds=1000),
        score_from=timedelta(seconds=5000),
        drift_seconds=float(changed),
    )
    scores = np.where(frauds, 0.9, 0.1 / 19)
    scores[changed : changed + worse] = 0.05
    return stream, scores


def test_labels_matured_are_those_of_the_new_time_that_have_come() -> None:
    stream, _ = changing(0)
    matured = matured_at(stream)
    assert matured[15_999] == 0
    assert matured[16_000] == 1
    assert matured[17_000] == 1001


def test_recovery_is_counted_in_labels_from_the_change_on() -> None:
    never = recovery([changing(0)])
    assert never.back_after == 0
    assert never.before == never.lowest == never.after == 1.0
    assert never.calibration_before == pytest.approx(1.0)
    found = recovery([changing(3_000)])
    assert found.blind_labels == 1_000
    assert found.lowest < 0.2
    assert found.back_after is not None
    assert 2_000 < found.back_after <= 7_000
    assert len(found.calibrations) == (40_000 - 15_000 - 1_000) // 5_000
    assert [round(c or 0, 2) for c in found.calibrations[:2]] == [1.0, 1.0]


def test_the_level_before_a_change_is_that_of_the_same_time_of_day() -> None:
    """By night, a tenth of the transactions and as many frauds: ranked alike, rarer by day."""
    stream, _ = changing(0)
    n, chance = len(stream), np.random.default_rng(1)
    times = np.arange(n) * 20.0
    night = times % DAY >= DAY / 2
    frauds = chance.random(n) < np.where(night, 0.2, 0.02)
    stream = replace(
        stream, times_seconds=times, frauds=frauds, labels=frauds, drift_seconds=20.0 * 17_280
    )
    scores = np.where(frauds, 1.0, 0.0) + chance.normal(size=n)
    precision, level = rolling(stream, scores)
    assert precision.max() > 2 * precision.min()
    share = precision[10:-1] / level[10:-1]
    assert abs(share - 1.0).max() < 0.2


def test_a_curve_that_stays_low_is_not_back() -> None:
    assert back_after(np.full(30, 0.2), 0.5) is None
    stream, scores = changing(0)
    precision, level = rolling(stream, scores)
    assert len(precision) == len(level) == (40_000 - 15_000 - 1_000) // 500 + 1


def test_rows_are_named_by_patterns_and_an_unknown_one_is_said() -> None:
    assert table_rows.chosen("weir auto") == ("Weir auto",)
    assert set(table_rows.chosen("river*")) == set(rivers.RIVERS)
    assert table_rows.chosen("*")[: len(weir.strategies())][-1] == "Weir auto"
    with pytest.raises(ValueError, match="no row is called 'nobody'"):
        table_rows.chosen("weir*,nobody")


def test_results_of_later_runs_are_added_and_rendered_between_the_markers(tmp_path: Path) -> None:
    file, page = tmp_path / "results.json", tmp_path / "page.md"
    markers = [f"<!-- {s} -->\nold\n<!-- /{s} -->" for s in report.SECTIONS]
    page.write_text("\n".join(["Before.", *markers, "After."]))
    place = results.Place("table", "small", "a small stream")
    made = {"features": 9, "features_digest": "x", "note": "as it is", "versions": "Python 3"}
    for row, level in (("Weir auto", 0.5), ("XGBoost", 0.25), ("Weir auto", 0.75)):
        score = np.array([level, 0.1])
        figures = grade(score, np.array([True, False]), 2.0).asdict()
        results.add(file, place, row, {**figures, "average_precision": level, **made})
    stream, scores = changing(3_000)
    found = recovery([(stream, scores)]).asdict()
    results.add(file, results.Place("drift", "change", "a change"), "Weir auto", {**found, **made})
    report.write(page, results.read(file))
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.")
    assert "old" not in text
    assert "| Weir auto | **0.750** |" in text
    assert "| XGBoost | 0.250 |" in text
    assert "Not measured yet." in text  # robustness
    report.write(page, results.read(file))
    assert page.read_text() == text


def test_a_page_without_markers_and_a_file_of_something_else_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks the markers"):
        report.placed("nothing here", "table", "made")
    (tmp_path / "other.json").write_text("not JSON")
    with pytest.raises(ValueError, match="holds no results"):
        results.read(tmp_path / "other.json")
