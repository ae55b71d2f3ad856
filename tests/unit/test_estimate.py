"""Estimates without labels: calibrated, as sure as they may be, and doubted where they must be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.estimate import NOTHING, Estimate, Estimates, estimate
from stream.core.scored import Scored
from stream.core.shift import fit
from stream.core.tally import LOG_ODDS, stacked, tally
from stream.core.windows import Windows, measure
from stream.events import WindowReport
from stream.watch.history import REFERENCE_WINDOWS, History
from stream.watch.snapshot import spans
from tests.unit.test_terminal import labelled, window

FIGURES = ("precision", "recall", "average_precision")
HOURS = 6
"""Windows to a day: few and large ones, for the sake of speed."""
THRESHOLD = 0.4
Pair = tuple[WindowReport, WindowReport]


def stream(
    seed: int,
    hours: int,
    *,
    off: float | Sequence[float] = 0.0,
    between: float = 0.0,
    riskier: float = 0.0,
    frauds: float = 0.02,
    per_hour: int = 2400,
    labelled_rest: float = 1.0,
) -> list[Pair]:
    """Windows of an hour before and after their labels, of scores that are off by a known shift.

    `off` is added to the log-odds of scores to get the truth, for all hours or for each, and so is
    a draw for each day with standard deviation `between`. `frauds` is the share of transactions
    that look like fraud, `riskier` moves the scores of all others. Labels come for all alerts and
    for a share of the rest.
    """
    random = np.random.default_rng(seed)
    windows, found = Windows(0, 3600, 10_000), []
    shifts = np.broadcast_to(np.asarray(off, dtype=np.float64), (hours,))
    shifts = shifts + np.repeat(random.normal(0, between, hours // HOURS + 1), HOURS)[:hours]
    for hour in range(hours):
        suspicious = random.random(per_hour) < frauds
        log_odds = np.where(
            suspicious, random.normal(0.0, 1.5, per_hour), random.normal(-7 + riskier, 1, per_hour)
        )
        scores = 1 / (1 + np.exp(-log_odds))
        truth = random.random(per_hour) < 1 / (1 + np.exp(-log_odds - shifts[hour]))
        alerts, times = scores >= THRESHOLD, np.full(per_hour, 3600.0 * hour)
        amounts = np.ones(per_hour)
        codes = np.zeros((per_hour, 2), dtype=np.int16)
        scored = Scored(times, scores, alerts, amounts, codes)
        windows.decided(scored, {})
        waiting = windows.changed()
        told = alerts | (random.random(per_hour) < labelled_rest)
        windows.labelled(scored.rows(told), truth[told])
        found += zip(waiting, windows.changed(), strict=True)
    return found


def estimated(past: Sequence[Pair], now: Sequence[Pair]) -> Estimates:
    return estimate([tally([w]) for w, _ in now], [tally([m]) for _, m in past])


def covered(found: Estimate, matured: float | None) -> bool:
    assert matured is not None
    assert found.low is not None
    assert found.high is not None
    return found.low - 1e-9 <= matured <= found.high + 1e-9


@pytest.mark.parametrize("between", [0.0, 0.5])
def test_intervals_hold_what_matures_as_often_as_they_say_and_are_of_use(between: float) -> None:
    days, held, widths = 12, dict.fromkeys(FIGURES, 0), []
    tries = 0
    for seed in range(5):
        pairs = stream(seed, HOURS * (days + 5), between=between)
        for day in range(days, days + 5):
            now = pairs[day * HOURS : (day + 1) * HOURS]
            found, matured = estimated(pairs[: day * HOURS], now), measure([m for _, m in now])
            tries += 1
            for name in FIGURES:
                held[name] += covered(found.figures()[name], getattr(matured, name))
            widths.append((found.precision.high or 0.0) - (found.precision.low or 0.0))
    for name, times in held.items():
        assert times / tries >= 0.85, name
    assert np.mean(widths) < (0.35 if between else 0.2)


def test_scores_that_announce_too_many_frauds_are_recalibrated_by_what_has_matured() -> None:
    pairs = stream(1, HOURS * 12, off=-1.2)
    past, now = pairs[: HOURS * 11], pairs[HOURS * 11 :]
    found, matured = estimated(past, now), measure([m for _, m in now])
    bare = measure([w for w, _ in now]).estimated_precision
    assert bare is not None
    assert matured.precision is not None
    assert bare > matured.precision + 0.15
    for name in FIGURES:
        assert found.figures()[name].trusted, found.figures()[name].why
        assert found.figures()[name].value == pytest.approx(getattr(matured, name), abs=0.05)


def test_calibration_that_varied_from_day_to_day_makes_the_interval_wider() -> None:
    now = stream(99, HOURS)
    steady, uneven = (estimated(stream(2, HOURS * 12, between=b), now) for b in (0.0, 0.8))
    for name in FIGURES:
        widths = [
            (found.figures()[name].high or 0.0) - (found.figures()[name].low or 0.0)
            for found in (steady, uneven)
        ]
        assert widths[1] > 1.5 * widths[0], name


def test_where_alerts_are_labelled_more_readily_than_the_rest_the_estimates_hold() -> None:
    pairs = stream(3, HOURS * 14, off=-0.7, labelled_rest=0.05)
    truth = stream(3, HOURS * 14, off=-0.7)
    found = estimated(pairs[: HOURS * 13], pairs[HOURS * 13 :])
    matured = measure([m for _, m in truth[HOURS * 13 :]])
    sampled = measure([m for _, m in pairs[HOURS * 13 :]])
    assert found.precision.value == pytest.approx(matured.precision, abs=0.05)
    assert found.recall.value == pytest.approx(matured.recall, abs=0.05)
    assert sampled.recall is not None
    assert matured.recall is not None
    assert sampled.recall > matured.recall + 0.1, "what labels alone would say is another figure"


def test_where_nothing_but_alerts_is_labelled_only_precision_is_trusted() -> None:
    pairs = stream(4, HOURS * 12, labelled_rest=0.0)
    found = estimated(pairs[:-HOURS], pairs[-HOURS:])
    assert found.precision.trusted, found.precision.why
    assert not found.recall.trusted
    assert not found.average_precision.trusted
    assert "nothing but alerts is labelled" in found.recall.why


@pytest.mark.parametrize("off", [-2.0, 2.0])
def test_scores_that_are_off_since_lately_are_not_trusted(off: float) -> None:
    pairs = stream(5, HOURS * 13, off=[0.0] * (HOURS * 11) + [off] * (HOURS * 2))
    past, now = pairs[: HOURS * 12], pairs[HOURS * 12 :]
    found = estimated(past, now)
    for name in FIGURES:
        assert not found.figures()[name].trusted
        assert "scores are off since lately" in found.figures()[name].why
    assert estimated(past[: HOURS * 11], now).precision.trusted, "nobody could know it then"


def test_scores_unlike_those_that_have_matured_are_not_trusted() -> None:
    found = estimated(stream(6, HOURS * 12), stream(7, HOURS, riskier=1.0))
    assert not found.precision.trusted
    assert "scores are unlike those that have matured" in found.precision.why


@pytest.mark.parametrize("frauds", [0.006, 0.06])
def test_where_another_share_of_frauds_is_announced_nothing_is_trusted(frauds: float) -> None:
    found = estimated(stream(8, HOURS * 12), stream(9, HOURS, frauds=frauds))
    for name in FIGURES:
        assert not found.figures()[name].trusted
        assert "frauds are announced" in found.figures()[name].why


def test_a_stream_that_goes_on_as_it_was_is_trusted() -> None:
    doubts = [
        estimated(pairs[:-HOURS], pairs[-HOURS:]).recall.why
        for pairs in (stream(seed, HOURS * 10, between=0.2) for seed in range(20, 32))
    ]
    assert sum(map(bool, doubts)) <= 1, doubts


def test_too_little_of_anything_is_not_trusted_and_is_told() -> None:
    pairs = stream(10, HOURS * 12)
    few = estimated(pairs[:-HOURS], pairs[-1:])
    assert few.precision.why.endswith("alerts are too few")
    assert "frauds expected are too few" in few.recall.why
    unchecked = estimated(stream(10, 2, per_hour=300), pairs[-HOURS:])
    assert "too few to check scores by" in unchecked.precision.why
    assert "too few windows have matured" in unchecked.precision.why
    unlabelled = estimated([], pairs[-HOURS:])
    assert unlabelled.precision.value is not None
    assert not unlabelled.precision.trusted
    assert estimated(pairs, []) == NOTHING


def test_labels_that_have_come_bound_an_estimate_and_may_contradict_it() -> None:
    pairs = stream(11, HOURS * 12)
    past, now = [tally([m]) for _, m in pairs[:-HOURS]], [m for _, m in pairs[-HOURS:]]
    told, matured = estimate([tally([m]) for m in now], past), measure(now)
    assert told.precision.low == told.precision.value == told.precision.high == matured.precision
    assert told.precision.trusted, told.precision.why
    wrong = stream(11, HOURS, off=-4.0)
    contradicted = estimate([tally([m]) for _, m in wrong], past)
    assert "the labels that have come contradict it" in contradicted.precision.why


def test_the_same_windows_give_the_same_estimates() -> None:
    pairs = stream(12, HOURS * 6)
    assert estimated(pairs[:-HOURS], pairs[-HOURS:]) == estimated(pairs[:-HOURS], pairs[-HOURS:])


def test_flagged_are_the_highest_scores_of_each_partition() -> None:
    parts = [
        window(0, 0, alerts=3, histogram={-10: (5, 0, 0), 4: (2, 0, 0)}),
        window(0, 1, alerts=1, histogram={-10: (4, 0, 0), 9: (1, 0, 0)}),
    ]
    found = tally(parts)
    flagged = {
        int(np.floor(LOG_ODDS[i] / 0.05)): found.flagged[i] for i in found.flagged.nonzero()[0]
    }
    assert flagged == {-10: 1, 4: 2, 9: 1}
    assert found.scored.sum() == 12
    assert stacked([tally(parts[:1]), tally(parts[1:])]).added().flagged.tolist() == (
        found.flagged.tolist()
    )


@pytest.mark.parametrize("between", [0.0, 0.7])
def test_the_shift_and_its_variation_between_blocks_are_found(between: float) -> None:
    random = np.random.default_rng(1)
    counts = np.zeros((60, len(LOG_ODDS)))
    counts[:, 420:500] = 20
    own = 0.8 + random.normal(0, between, 60)
    frauds = random.binomial(20, 1 / (1 + np.exp(-LOG_ODDS[420:500] - own[:, None]))).sum(axis=1)
    found = fit(counts, frauds.astype(np.float64), np.ones(60))
    assert found.value == pytest.approx(0.8, abs=0.2 if between else 0.05)
    assert found.between == pytest.approx(between, abs=0.15)


@pytest.mark.parametrize(("frauds", "low", "high"), [([520, 320], 0.0, 0.0), ([480], 0.35, 0.40)])
def test_what_chance_explains_is_no_shift(frauds: list[int], low: float, high: float) -> None:
    """Blocks that were off one way and then the other tell nothing; those all off one way do."""
    counts = np.zeros((8, len(LOG_ODDS)))
    counts[:, len(LOG_ODDS) // 2] = 800  # announced: half of them
    found = fit(counts, np.resize(np.array(frauds, dtype=np.float64), 8), np.ones(8))
    assert low <= found.value <= high
    assert fit(counts, np.resize(800.0 - np.array(frauds), 8), np.ones(8)).value <= 0.0


COUNTS = st.integers(0, 40)
BIN = st.tuples(COUNTS, COUNTS, COUNTS).map(lambda c: (max(c[0], c[1] + c[2]), c[1], c[2]))


@st.composite
def reports(draw: st.DrawFn) -> WindowReport:
    """A report of any counts that agree with each other."""
    bins = draw(st.dictionaries(st.integers(-460, 460), BIN, max_size=4))
    scored, legitimate, frauds = (sum(c[i] for c in bins.values()) for i in range(3))
    caught, false = draw(st.integers(0, frauds)), draw(st.integers(0, legitimate))
    return window(
        0,
        transactions=scored,
        alerts=draw(st.integers(caught + false, max(caught + false, scored))),
        labelled=legitimate + frauds,
        true_positives=caught,
        false_negatives=frauds - caught,
        false_positives=false,
        true_negatives=legitimate - false,
        histogram=bins,
    )


@given(st.lists(reports(), max_size=3), st.lists(reports(), max_size=9))
def test_whatever_the_counts_an_estimate_is_a_share_within_its_interval(
    waiting: list[WindowReport], matured: list[WindowReport]
) -> None:
    found = estimate([tally([r]) for r in waiting], [tally([r]) for r in matured])
    for one in found.figures().values():
        assert one.trusted == (not one.why)
        if one.value is None:
            assert one.low is None
            assert one.high is None
            assert not one.trusted
        else:
            assert one.low is not None
            assert one.high is not None
            assert 0 <= one.low <= one.value <= one.high <= 1 + 1e-12


def test_what_has_matured_is_remembered_when_views_have_left_it_behind() -> None:
    history, scores = History(), {-100: (990, 0, 0), 20: (10, 0, 0)}
    waiting = [window(30 + hour, histogram=scores) for hour in range(40)]
    everything = spans([*(labelled(hour) for hour in range(30)), *waiting])
    found = history.estimate(everything, 24)
    assert found.windows == 24
    assert found.precision.value == pytest.approx(0.75, abs=0.03)
    assert history.estimate([s for s in everything if s.start >= everything[25].start], 24) == found


def test_only_so_many_matured_windows_are_remembered() -> None:
    history = History()
    many = REFERENCE_WINDOWS + 30
    history.estimate(spans([labelled(hour) for hour in range(many)]), 24)
    oldest = min(history._matured)
    assert len(history._matured) == REFERENCE_WINDOWS
    assert oldest == labelled(0).start + timedelta(hours=30)
