"""The committee: its laws, what it does with its costly members, and River's own checks."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import base, linear_model, tree

from stream.core.boosted import BoostedTrees
from stream.core.committee import Committee, Member, _Recent
from stream.core.drift import Drift
from stream.core.learners import Novel
from stream.core.linear import Linear
from stream.core.windows import ranked_average_precision
from tests.checks import checked

Row = tuple[dict[Any, Any], bool, float]


def stream(
    n: int,
    fraud_rate: float = 0.05,
    seed: int = 0,
    *,
    thinned_to: float = 1.0,
    by: str = "x",
) -> list[Row]:
    """A stream in which one feature, x or z, says something about y, but not all."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for _ in range(n):
        fraud = chance.random() < fraud_rate
        x = {"x": chance.gauss(0.0, 1.0), "z": chance.gauss(0.0, 1.0), "novelty": chance.random()}
        x[by] += 2.5 * fraud
        if fraud or chance.random() < thinned_to:
            rows.append((x, fraud, 1.0 if fraud else 1.0 / thinned_to))
    return rows


NOVEL = Member(partial(Novel, 5_000), 0.1, min_frauds=0)
LINEAR = Member(partial(Linear, "weights", 0.1, 5_000, 1))
BOOSTED = Member(partial(BoostedTrees, min_frauds=10, min_examples=100), 2.0)


class Knows(base.Classifier):
    """Tells whether a feature is high, and remembers what it was asked about."""

    def __init__(self, feature: str, sure: float = 2.0) -> None:
        self.feature = feature
        self.sure = sure
        self.learned = 0
        self.asked: list[dict[Any, Any]] = []

    def learn_one(self, x: dict[Any, Any], y: Any, w: float = 1.0) -> None:  # noqa: ARG002
        self.learned += 1

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        self.asked.append(dict(x))
        fraud = float(1.0 / (1.0 + np.exp(3.0 - self.sure * x[self.feature])))
        return {False: 1.0 - fraud, True: fraud}


def committee(**given: Any) -> Committee:
    return Committee({"one-class": NOVEL, "linear": LINEAR, "boosted": BOOSTED}, **given)


def learn(model: Committee, rows: list[Row]) -> None:
    for x, y, w in rows:
        model.learn_one(dict(x), y, w=w)


def risk(model: Committee, rows: list[Row]) -> list[float]:
    return [model.predict_proba_one(dict(x))[True] for x, *_ in rows]


def table(rows: list[Row]) -> tuple[tuple[str, ...], Any]:
    names = tuple(rows[0][0])
    return names, np.array([[x[name] for name in names] for x, *_ in rows], dtype=np.float32)


def together(model: Committee, rows: list[Row]) -> Any:
    return model.probabilities(model.votes(*table(rows)))


def ranked(model: Committee, rows: list[Row]) -> float:
    frauds = np.array([y for _, y, _ in rows])
    return ranked_average_precision(together(model, rows), frauds) or 0.0


def prequential(model: Committee, rows: list[Row]) -> Any:
    """Scores given before learning; they change with each block only."""
    scores = []
    for at in range(0, len(rows), model.block):
        scores.append(together(model, rows[at : at + model.block]))
        learn(model, rows[at : at + model.block])
    return np.concatenate(scores)


def calibration(scores: Any, rows: list[Row]) -> float:
    weights = np.array([w for *_, w in rows])
    frauds = np.array([y for _, y, _ in rows])
    return float((scores * weights).sum() / weights[frauds].sum())


def copy_of(model: Committee) -> Committee:
    copied: Committee = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    return copied


@pytest.fixture
def background() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@checked(Committee(**next(iter(Committee._unit_test_params()))))
def test_rivers_own_estimator_checks_pass(model: base.Estimator, check: Any) -> None:
    check(model.clone())


def test_predicting_changes_nothing() -> None:
    model, rows = committee(), stream(700)
    for i, (x, y, w) in enumerate(rows):
        model.learn_one(x, y, w=w)
        if i % 35 == 0:
            before = pickle.dumps(model)
            model.predict_proba_one(x)
            model.predict_one(x)
            model.weights()
            together(model, rows[:20])
            model.cheap_votes(*table(rows[:20]))
            assert pickle.dumps(model) == before


@settings(max_examples=3)
@given(
    cuts=st.lists(st.integers(0, 600), max_size=4),
    asked=st.lists(st.integers(0, 600), max_size=4),
)
def test_pickles_and_questions_in_between_change_nothing(cuts: list[int], asked: list[int]) -> None:
    """Wherever they fall: in the middle of a block, too, and while a fit is coming."""
    rows = stream(600, 0.1)
    whole, cut = committee(), committee()
    learn(whole, rows)
    for i, (x, y, w) in enumerate(rows):
        if i in cuts:
            cut = copy_of(cut)
        if i in asked:
            together(cut, rows[i : i + 7])
        cut.learn_one(dict(x), y, w=w)
    assert risk(cut, rows[:20]) == risk(whole, rows[:20])
    assert cut.weights() == whole.weights()


def test_examples_are_learned_by_blocks() -> None:
    model, rows = committee(), stream(400, 0.2)
    learn(model, rows[:350])
    before = risk(model, rows[:10])
    learn(model, rows[350:399])
    assert risk(model, rows[:10]) == before
    learn(model, rows[399:400])
    assert risk(model, rows[:10]) != before


def test_what_is_fitted_in_the_background_is_what_is_fitted_at_once(background: Executor) -> None:
    rows = stream(1_000)
    at_once, later = committee(), committee()
    later.executor = background
    assert np.array_equal(prequential(at_once, rows), prequential(later, rows))
    assert at_once.weights() == later.weights()
    assert at_once.weights()["boosted"] > 0.0
    assert copy_of(later).executor is None


def test_many_rows_at_once_are_scored_as_each_alone() -> None:
    model, rows = committee(), stream(1_000)
    for learned in (rows[:0], rows[:300], rows[300:]):
        learn(model, learned)
        assert together(model, rows[:50]).tolist() == pytest.approx(risk(model, rows[:50]))


def test_before_the_first_fraud_the_one_class_member_ranks() -> None:
    model = committee()
    for learned in (stream(0), stream(500, 0.0), stream(9, 1.0)):
        learn(model, learned)
        assert model.weights() == {"one-class": 1.0, "linear": 0.0, "boosted": 0.0}
        rows = [({"x": -float(i), "z": 0.0, "novelty": i / 4.0}, False, 1.0) for i in range(20)]
        scores = risk(model, rows)
        assert scores == sorted(scores)
        assert scores[0] < scores[-1]


def test_without_any_vote_it_says_the_prior() -> None:
    model = Committee({"linear": LINEAR})
    assert risk(model, stream(3)) == [0.5] * 3
    learn(model, stream(200, 0.0))
    assert risk(model, stream(3)) == [pytest.approx(0.5 / 201.0)] * 3
    assert model.weights() == {"linear": 1.0}


def test_a_member_votes_when_it_has_learned_enough_frauds() -> None:
    model = Committee({"early": LINEAR, "late": Member(LINEAR.build, min_frauds=40)})
    frauds = 0
    for i, (x, y, w) in enumerate(stream(600, 0.1)):
        model.learn_one(x, y, w=w)
        frauds += y
        if (i + 1) % model.block == 0:
            early, late = model.votes(*table(stream(5))).T
            assert np.isfinite(early).all() == (frauds >= 10)
            assert np.isfinite(late).all() == (frauds >= 40)
            assert np.isnan(early).all() == (frauds < 10)


def test_shares_of_the_vote_add_up_to_1() -> None:
    model = committee()
    said = []
    for at in range(0, 1_500, 50):
        learn(model, stream(50, seed=at))
        weights = model.weights()
        assert list(weights) == ["one-class", "linear", "boosted"]
        assert all(share >= 0.0 for share in weights.values())
        assert sum(weights.values()) == pytest.approx(1.0)
        said.append(weights)
    assert said[0]["one-class"] == 1.0
    assert said[-1]["linear"] + said[-1]["boosted"] > 0.8


def test_a_member_that_ranks_better_is_listened_to_more() -> None:
    members = {
        "good": Member(partial(Knows, "x")),
        "noise": Member(partial(Knows, "z")),
    }
    model = Committee(members, max_frauds=100)
    learn(model, stream(2_500))
    assert model.weights()["good"] > 0.9
    # What told nothing about fraud tells all of it from now on.
    learn(model, stream(3_500, seed=1, by="z"))
    assert model.weights()["noise"] > 0.9


def test_together_they_rank_no_worse_than_each() -> None:
    rows = stream(3_000, seed=5)
    for name, member in {"linear": LINEAR, "boosted": BOOSTED}.items():
        alone, all_of_them = Committee({name: member}), committee()
        for model in (alone, all_of_them):
            learn(model, stream(1_200))
        assert ranked(all_of_them, rows) > ranked(alone, rows) - 0.05
    assert ranked(all_of_them, rows) > 0.4


@pytest.mark.parametrize("thinned_to", [1.0, 0.2])
def test_scores_are_calibrated_after_a_tenfold_prior_shift(thinned_to: float) -> None:
    model = committee(max_frauds=100)
    n = int(2_500 / thinned_to**0.5)
    learn(model, stream(n, 0.01, seed=1, thinned_to=thinned_to))
    learn(model, stream(n // 2, 0.1, seed=2, thinned_to=thinned_to))
    rows = stream(n // 2, 0.1, seed=3, thinned_to=thinned_to)
    assert calibration(prequential(model, rows), rows) == pytest.approx(1.0, abs=0.25)


def test_scores_are_calibrated_after_the_prior_has_fallen() -> None:
    model = Committee({"linear": LINEAR}, max_frauds=50)
    learn(model, stream(2_000, 0.1, seed=1))
    learn(model, stream(4_000, 0.01, seed=2))
    rows = stream(4_000, 0.01, seed=3)
    assert calibration(prequential(model, rows), rows) == pytest.approx(1.0, abs=0.35)


def test_members_that_are_much_too_sure_are_calibrated() -> None:
    model = Committee({"sure": Member(partial(Knows, "x", 8.0))})
    learn(model, stream(2_000))
    rows = stream(3_000, seed=3)
    assert calibration(together(model, rows), rows) == pytest.approx(1.0, abs=0.25)
    # As the member itself says, it is not.
    members = model.learners["sure"]
    alone = [members.predict_proba_one(x)[True] for x, *_ in rows]
    assert calibration(np.array(alone), rows) > 2.0


def costly(build: Any, **given: Any) -> Committee:
    dear = Member(build, retires=True, costly=True)
    members = {"cheap": Member(partial(Knows, "x")), "dear": dear}
    return Committee(members, **given)


def test_a_costly_member_is_asked_only_about_the_doubtful() -> None:
    model = costly(partial(Knows, "z"), earns=-1.0)
    learn(model, stream(2_000))
    dear: Any = model.learners["dear"]
    dear.asked.clear()
    rows = stream(500, seed=7)
    votes = model.votes(*table(rows))
    doubtful = model.probabilities(model.cheap_votes(*table(rows))) > 2.0 * model.prior
    assert 20 < doubtful.sum() < 250
    assert np.array_equal(~np.isnan(votes[:, 1]), doubtful)
    assert np.isfinite(votes[:, 0]).all()
    asked = [x for (x, *_), ask in zip(rows, doubtful, strict=True) if ask]
    assert [x["z"] for x in dear.asked] == pytest.approx([x["z"] for x in asked])


class Both(Knows):
    """Tells of two features what the other member tells of one."""

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        return super().predict_proba_one({self.feature: x["x"] + x["z"]})


def both(n: int, seed: int) -> list[Row]:
    """Frauds that show in two features at once."""
    rows = stream(n, seed=seed)
    return [(x | {"z": x["z"] + 2.5 * y}, y, w) for x, y, w in rows]


def test_a_costly_member_that_adds_something_stays() -> None:
    model = costly(partial(Both, "both", 2.0))
    learn(model, both(4_000, 1))
    assert "dear" in model.learners
    assert model.weights()["dear"] > 0.2


def test_a_costly_member_that_adds_nothing_is_retired() -> None:
    model = costly(partial(Knows, "x"))
    before = 0
    for row in stream(4_000):
        learn(model, [row])
        before = before if "dear" not in model.learners else before + 1
    # Not before it has been looked at, ten times, on 50 frauds.
    assert 50 / 0.05 + 9 * 50 <= before < 3_500
    assert model.weights() == {"cheap": 1.0, "dear": 0.0}
    assert np.isnan(model.votes(*table(stream(200)))[:, 1]).all()


@pytest.mark.parametrize("dear", [False, True])
def test_a_member_that_does_not_retire_is_kept(dear: bool) -> None:
    other = Member(partial(Knows, "z"), costly=dear)
    model = Committee({"a": Member(partial(Knows, "x")), "b": other})
    learn(model, stream(4_000))
    assert set(model.learners) == {"a", "b"}


def test_members_retire_one_at_a_time() -> None:
    """Each of these is of no use beside the others, but one of them has to stay."""
    knows = partial(Knows, "x")
    model = Committee(
        {
            "dear": Member(knows, retires=True, costly=True),
            "cheap": Member(knows, retires=True),
            "stays": Member(knows),
        }
    )
    left = [set(model.learners)]
    since = 0
    for seed in range(100):
        learn(model, stream(model.block, seed=seed))
        since += 1
        if set(model.learners) != left[-1]:
            # Those that stay are judged anew: what they add without it may be more.
            assert since >= 5
            assert len(left[-1] - set(model.learners)) == 1
            left.append(set(model.learners))
            since = 0
    assert len(left) == 3
    assert model.weights() == {"dear": 0.0, "cheap": 0.0, "stays": 1.0}


def test_a_drift_of_the_error_brings_a_retired_member_back_unlearned() -> None:
    model = costly(partial(Knows, "x"))
    learn(model, stream(4_000))
    assert "dear" not in model.learners
    assert model.drift.found["error"] == 0
    # Frauds that no member knows.
    learned = 0
    for row in stream(6_000, seed=1, by="z"):
        learn(model, [row])
        learned += 1
        if "dear" in model.learners:
            break
    assert model.drift.found["error"] == 1
    assert learned % model.block == 0
    dear: Any = model.learners["dear"]
    # It has learned nothing from before, and has no vote until it has learned frauds.
    assert dear.learned == 0
    rows = stream(200, seed=2)
    assert np.isnan(model.votes(*table(rows))[:, 1]).all()
    learn(model, stream(model.block, 0.5, seed=3, by="z"))
    assert dear.learned == model.block
    assert not np.isnan(model.votes(*table(rows))[:, 1]).all()


class Rung(Drift):
    """Tells of a drift of the error when it is rung."""

    ringing = False

    def learn(self, *_: Any) -> tuple[str, ...]:
        found = ("error",) if self.ringing else ()
        self.ringing = False
        return found


def test_a_member_that_came_back_in_vain_comes_back_less_often() -> None:
    model = costly(partial(Both, "both", 2.0))
    bell = model.drift = Rung()
    rows = iter(range(10**9))

    def rung_until_back(useful: bool) -> int:
        """How often it rings until the member, of no use just now, is back; let it show its use."""
        while "dear" in model.learners:
            learn(model, stream(model.block, seed=next(rows)))
        rung = 0
        while "dear" not in model.learners:
            bell.ringing = True
            learn(model, stream(model.block, seed=next(rows)))
            rung += 1
        if useful:
            learn(model, both(4_000, next(rows)))
            assert "dear" in model.learners
        return rung

    assert [rung_until_back(useful) for useful in [False] * 4 + [True, False]] == [1, 2, 4, 8, 8, 1]


def test_a_drift_of_the_error_has_trees_fitted_again_soon() -> None:
    # Fitted at 200, 600 and 1,800 examples; the next time would be at 5,400.
    lazy = partial(BoostedTrees, min_frauds=10, min_examples=200, growth=2.0)
    model = Committee({"stubborn": Member(partial(Knows, "x")), "lazy": Member(lazy)})
    learn(model, stream(3_000))
    trees: Any = model.learners["lazy"]
    assert trees.fits == 3
    learn(model, stream(2_300, 0.1, seed=1, by="z"))
    assert model.drift.found["error"] > 0
    assert trees.fits > 3


def test_the_memory_of_recent_examples_is_bounded() -> None:
    model = Committee({"linear": LINEAR}, max_frauds=20, max_examples=200)
    sizes = []
    for seed in range(12):
        learn(model, stream(300, seed=seed))
        sizes.append(len(pickle.dumps(model)))
        votes, frauds, weights = model._seen.columns()
        assert len(votes) == len(frauds) == len(weights) <= 200
        assert frauds.sum() <= 20
    # Only the windows of the drift grow, with the logarithm of what they hold.
    assert sizes[-1] < 1.3 * sizes[3]


actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.booleans(), min_size=1, max_size=20)),
        st.tuples(st.just("keep"), st.integers(0, 12)),
        st.tuples(st.just("trim"), st.integers(1, 4)),
    ),
    max_size=80,
)


@given(actions=actions, bound=st.integers(1, 8))
def test_recent_examples_are_the_newest_in_their_order(actions: list[Any], bound: int) -> None:
    recent = _Recent(1, bound)
    expected: list[tuple[int, bool]] = []
    added = itertools.count()
    for what, amount in actions:
        if what == "add":
            at = [next(added) for _ in amount]
            votes = np.array(at, dtype=np.float32)[:, None]
            recent.add(votes, np.array(amount), np.array(at, dtype=np.float64), at)
            expected += zip(at, amount, strict=True)
        elif what == "keep":
            recent.keep(amount)
            expected = expected[max(len(expected) - amount, 0) :]
        else:
            recent.trim(amount)
            expected = expected[-bound:]
            frauds = [at for at, (_, is_fraud) in enumerate(expected) if is_fraud]
            if len(frauds) > amount:
                expected = expected[frauds[-amount] :]
        votes, labels, weights = recent.columns()
        # What is beyond the bound goes by itself, but not at once.
        assert min(len(expected), bound) <= len(votes) <= min(len(expected), 2 * bound)
        expected = expected[len(expected) - len(votes) :]
        assert votes[:, 0].tolist() == weights.tolist() == [at for at, _ in expected]
        assert labels.tolist() == [is_fraud for _, is_fraud in expected]


def test_a_correction_is_judged_by_the_votes_of_then_and_told_to_those_who_can_undo() -> None:
    members = {"trees": BOOSTED, "knows": Member(partial(Knows, "x"))}
    model, plain = Committee(members), Committee(members)
    rows = stream(500)
    wrong = [i for i in range(0, 450, 9) if not rows[i][1]][:25]
    for i, (x, y, w) in enumerate(rows):
        model.learn_one(x, y or i in wrong, w=w)
        plain.learn_one(x, y or i in wrong, w=w)
    before = plain._seen.columns()[0]
    for i in wrong:
        model.correct(rows[i][0], rows[i][1])
    learn(model, stream(50 - len(wrong), seed=2))
    votes, frauds, _ = model._seen.columns()
    assert np.array_equal(votes[: len(rows)], before, equal_nan=True)
    assert frauds[: len(rows)].tolist() == [y for _, y, _ in rows]
    assert len(votes) == len(rows) + 50 - len(wrong)  # corrections are not held twice
    trees: Any = model.learners["trees"]
    assert trees._frauds[: len(rows)].tolist() == [y for _, y, _ in rows]
    knows: Any = model.learners["knows"]
    assert knows.learned == trees.learned == len(rows) + 50


@pytest.mark.parametrize("label", [0, 1])
def test_labels_may_be_numbers(label: int) -> None:
    by_bool, by_int = committee(), committee()
    for x, y, w in stream(500):
        by_bool.learn_one(dict(x), y, w=w)
        by_int.learn_one(dict(x), int(y), w=w)
    by_bool.learn_one({"x": 0.0, "z": 0.0, "novelty": 0.0}, bool(label))
    by_int.learn_one({"x": 0.0, "z": 0.0, "novelty": 0.0}, label)
    assert risk(by_bool, stream(10)) == risk(by_int, stream(10))


def test_a_classifier_of_rivers_is_a_member_as_it_is() -> None:
    members = {
        "regression": Member(linear_model.LogisticRegression),
        "tree": Member(tree.HoeffdingTreeClassifier, min_frauds=10**9),
    }
    model = Committee(members)
    learn(model, stream(2_000))
    assert ranked(model, stream(2_000, seed=4)) > 0.4
    assert model.weights() == {"regression": 1.0, "tree": 0.0}
