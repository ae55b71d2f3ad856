"""Labels that contradict an earlier one: what was counted moves, and the model is told."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from stream.core.detector import Detector
from stream.core.evaluate import Scorecard
from stream.core.model import Model
from stream.core.plain import whole
from stream.core.windows import measure
from stream.events import Example, Label, utc
from tests.streams import label, labels, rows, settings

ROWS = [
    row._replace(  # few accounts, so that each has several labels
        transaction=row.transaction.model_copy(
            update={"nameOrig": f"C{i % 5}", "nameDest": f"C{i % 3}"}
        )
    )
    for i, row in enumerate(rows(24))
]
IDS = [row.transaction.transaction_id for row in ROWS]
BEGIN = utc(ROWS[-1].time_seconds)

told = st.lists(
    st.tuples(st.sampled_from(IDS), st.booleans(), st.integers(0, 5).map(lambda h: h / 2)),
    max_size=60,
).map(lambda said: [label(id_, fraud, BEGIN + timedelta(hours=at)) for id_, fraud, at in said])


def detector(**given: object) -> Detector:
    chosen = settings(**given)
    made = Detector(chosen, Model(chosen))
    made.open(0)
    return made


def decide(of: Detector) -> None:
    of.on_transactions(0, [row.transaction for row in ROWS])


def final(said: list[Label]) -> list[Label]:
    """The one label of each transaction that holds: the newest, of equal ones the last."""
    found: dict[str, Label] = {}
    for each in said:
        if each.transaction_id not in found or (
            each.labelled_at >= found[each.transaction_id].labelled_at
        ):
            found[each.transaction_id] = each
    return list(found.values())


def counted(of: Detector) -> dict[str, Any]:
    """Everything that labels are counted in, by name: windows, and sums of account history."""
    shard = of.shards[0]
    shard.windows.touch()
    windows = [report.model_dump(exclude={"start"}) for report in shard.windows.changed()]
    state = whole(shard.features.accounts.snapshot())
    return {
        **{f"{i} {name}": value for i, each in enumerate(windows) for name, value in each.items()},
        "labels": state["labels"],
        "newest": state["moments"][:, :, 1],
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name.endswith("fraud_amounts"):
            assert value == pytest.approx(other[name]), name
        elif isinstance(value, dict):  # the histogram, segments
            assert value == other[name], name
        else:
            assert value == pytest.approx(other[name], abs=1e-6), name


@given(told, st.integers(0, 60), st.lists(st.integers(0, 60), max_size=4))
@how(max_examples=60)
def test_what_is_counted_is_what_each_transactions_final_label_says(
    said: list[Label], come_at: int, cuts: list[int]
) -> None:
    made, log = detector(rebalance="under", target_share=0.5), list[Example]()
    ends = sorted({0, len(said), min(come_at, len(said)), *(min(c, len(said)) for c in cuts)})
    if come_at == 0:
        decide(made)
    for begin, end in itertools.pairwise(ends):
        log += made.on_labels(0, said[begin:end])[1]
        if end == min(come_at, len(said)):  # those until here came early
            decide(made)
            log += made.on_labels(0, [])[1]
    if not said and come_at:
        decide(made)
    plain = detector(rebalance="under", target_share=0.5)
    decide(plain)
    plain.on_labels(0, final(said))
    same(counted(made), counted(plain))
    pending = made.shards[0].pending
    assert len(pending) == len(ROWS) - len(final(said))
    firsts = len({each.transaction_id for each in said})
    assert pending.repeated + pending.corrected + firsts == len(said)
    assert pending.unknown == pending.early == 0
    weights: dict[str, float] = {}
    for example in log:  # each correction says what it takes the place of in the log
        before = weights.get(example.transaction_id)
        if example.corrects_weight is not None:
            assert example.corrects_weight == (before or 0.0)
            assert example.weight == 1.0
        else:
            assert before is None
        weights[example.transaction_id] = example.weight


@given(told, st.integers(0, 60))
@how(max_examples=30)
def test_going_on_from_a_snapshot_equals_going_on(said: list[Label], cut: int) -> None:
    made, resumed = detector(), detector()
    decide(made)
    made.on_labels(0, said[:cut])
    for part in ("features", "pending", "windows"):
        getattr(resumed.shards[0], part).restore(whole(getattr(made.shards[0], part).snapshot()))
    one, other = (each.on_labels(0, said[cut:]) for each in (made, resumed))
    assert one[1] == other[1]
    for part in ("features", "pending", "windows"):
        mine, theirs = (whole(getattr(d.shards[0], part).snapshot()) for d in (made, resumed))
        for name, array in mine.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_a_correction_of_what_has_left_the_windows_is_late_and_stops_nothing() -> None:
    made = detector(max_windows=1, window_seconds=3600)
    decide(made)
    first = ROWS[0].transaction.transaction_id
    late = made.shards[0].windows.late
    made.on_labels(0, [label(first, False, BEGIN)])
    _, examples = made.on_labels(0, [label(first, True, BEGIN + timedelta(hours=1))])
    assert [example.is_fraud for example in examples] == [True]
    assert made.shards[0].windows.late >= late


def test_a_model_that_was_corrected_has_learned_what_one_that_knew_better_has() -> None:
    table = rows(600, fraud_rate=0.05, clients=100)
    right = labels(table, timedelta(hours=1))
    mistaken = set(np.random.default_rng(1).choice(len(right), 50, replace=False).tolist())
    later = [
        each.model_copy(update={"labelled_at": each.labelled_at + timedelta(days=1)})
        for i, each in enumerate(right)
        if i in mistaken
    ]
    wrong = [
        each.model_copy(update={"is_fraud": each.is_fraud != (i in mistaken)})
        for i, each in enumerate(right)
    ]

    def learned(first: list[Label]) -> Detector:
        made = detector(learner="boosted", rebalance="none")
        made.on_transactions(0, [row.transaction for row in table])
        for said in (first, later):
            _, examples = made.on_labels(0, said)
            made.on_examples(examples, made.model.position + len(examples))
        return made

    corrected, knew = learned(wrong), learned(right)
    assert corrected.shards[0].pending.corrected == len(mistaken)
    assert knew.shards[0].pending.repeated == len(mistaken)
    # Counts decay with each label, by half in 50,000: what is taken out has decayed a little.
    assert corrected.model.prior.value == pytest.approx(knew.model.prior.value, rel=0.02)
    for one, other in zip(*(training_sets(made.model) for made in (corrected, knew)), strict=True):
        assert np.array_equal(one, other)


def training_sets(model: Model) -> list[Any]:
    """What the trees, the committee's judging and the threshold have been told, in order."""
    trees: Any = model.committee.learners["boosted 0.1"]
    curve = model.threshold.curve
    _, frauds, weights = model.committee._seen.columns()
    matured = curve._columns[1:, curve._begin : curve._end].T
    waiting = sorted((time, each[1:]) for time, _, each in model.threshold.maturing._heap)
    assert len(matured) + len(waiting) == len(frauds)
    return [
        trees._features[: trees._held],
        trees._frauds[: trees._held],
        trees._weights[: trees._held],
        frauds,
        weights,
        np.array([each for _, each in waiting]),
        matured,
    ]


def test_a_scorecard_grades_by_the_last_label() -> None:
    made, scorecard = detector(), Scorecard()
    decide(made)
    scorecard.begin(ROWS[0].time_seconds)
    for hours, fraud in enumerate((False, True, False)):
        said = [
            label(id_, fraud == (i % 3 == 0), BEGIN + timedelta(hours=hours))
            for i, id_ in enumerate(IDS)
        ]
        scorecard.add(made.on_labels(0, said)[0])
    quality = scorecard.quality()
    assert quality.labelled == len(IDS)
    assert quality.frauds == sum(i % 3 != 0 for i in range(len(IDS)))
    assert measure(made.shards[0].windows.changed()).frauds == quality.frauds
