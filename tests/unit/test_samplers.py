"""Laws that hold for every sampler, and River's own checks on all of them."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import base, linear_model, naive_bayes, optim, preprocessing

from stream.core.online_bagging import OOB, UOB
from stream.core.oversampling import replicas
from stream.core.samplers import SAMPLERS
from stream.core.weighting import HardExamples, Unsampled
from tests.checks import checked

Stream = list[tuple[dict[str, float], bool, float]]

AIMING = [name for name in SAMPLERS if name != "none"]
"""Samplers with a target share."""


def stream(
    n: int, fraud_rate: float, seed: int = 0, *, thinned_to: float = 1.0, heavy: float = 1.0
) -> Stream:
    """A stream in which x says something about y, but not all, thinned at the given rate.

    Of the legitimate examples that are left, one kind (z above 1/2) is kept `heavy` times as often
    as the other, and each carries the inverse of its rate as its weight.
    """
    chance = random.Random(seed)
    rows: Stream = []
    for _ in range(n):
        fraud = chance.random() < fraud_rate
        z = chance.random()
        x = {
            "x": chance.gauss(2.0 if fraud else 0.0, 1.0),
            "z": z,
            "card": float(chance.random() < (0.8 if fraud else 0.3)),
        }
        rate = 1.0 if fraud else min(1.0, thinned_to * (heavy if z > 0.5 else 1.0))
        if chance.random() < rate:
            rows.append((x, fraud, 1.0 / rate))
    return rows


def regression() -> base.Classifier:
    return linear_model.LogisticRegression(optim.SGD(0.05), intercept_lr=0.05)


class Counting(base.Classifier):
    """Counts what it learns."""

    def __init__(self) -> None:
        self.learned = {False: 0.0, True: 0.0}

    def learn_one(self, x: dict[str, float], y: bool, w: float = 1.0) -> None:  # noqa: ARG002
        assert w > 0
        self.learned[bool(y)] += w

    def predict_proba_one(self, x: dict[str, float]) -> dict[bool, float]:  # noqa: ARG002
        total = sum(self.learned.values())
        share = self.learned[True] / total if total else 0.5
        return {False: 1.0 - share, True: share}


def counted(name: str, target_share: float, half_life: float) -> tuple[Any, list[Counting]]:
    """A sampler, and the classifiers inside it."""
    model: Any = SAMPLERS[name](Counting(), target_share, half_life, 1)
    return model, list(model) if name in ("oob", "uob") else [model.classifier]


def copy_of(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))  # noqa: S301 - made here


def learn(model: Any, rows: Stream) -> None:
    for x, y, w in rows:
        model.learn_one(dict(x), y, w=w)


def calibration(model: Any, rows: Stream, skip: int) -> float:
    """Mean score over fraud rate of the original stream, score first and learn later."""
    scores = frauds = 0.0
    for i, (x, y, w) in enumerate(rows):
        if i >= skip:
            scores += w * model.predict_proba_one(dict(x))[True]
            frauds += w * y
        model.learn_one(dict(x), y, w=w)
    return scores / frauds


@pytest.mark.parametrize(("target_share", "thinned_to"), [(0.1, 1.0), (0.3, 0.5)])
@pytest.mark.parametrize("name", AIMING)
def test_the_learned_share_tends_to_the_target(
    name: str, target_share: float, thinned_to: float
) -> None:
    model, inner = counted(name, target_share, half_life=5_000)
    learn(model, stream(30_000, 0.02, thinned_to=thinned_to))
    assert model.learned_share == pytest.approx(target_share, rel=0.25)
    # And that is what the classifiers inside say, who forget nothing.
    shares = [each.predict_proba_one({})[True] for each in inner]
    assert sum(shares) / len(shares) == pytest.approx(target_share, rel=0.25)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_log_that_is_at_the_target_already_is_learned_as_it_is(name: str) -> None:
    """No sampler adds or drops much where nothing is to be done."""
    rows = stream(60_000, 0.02, thinned_to=0.2)
    share = sum(y for _, y, _ in rows) / len(rows)
    model, inner = counted(name, share, half_life=1e6)
    learn(model, rows)
    learned = sum(sum(each.learned.values()) for each in inner) / len(inner)
    expected = sum(w for _, _, w in rows) if name == "none" else len(rows)
    assert learned == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_replicas_and_weights_of_one_example_stay_under_the_cap(name: str) -> None:
    model, inner = counted(name, 0.5, half_life=1_000)
    for x, y, w in stream(3_000, 0.002, seed=2, thinned_to=0.1):
        before = [sum(each.learned.values()) for each in inner]
        model.learn_one(x, y, w=w * 20)
        after = [sum(each.learned.values()) for each in inner]
        assert all(b - a <= 30 + 1e-6 for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("target_share", "thinned_to", "heavy"),
    [(0.1, 1.0, 1.0), (0.3, 0.05, 4.0)],
    ids=["whole", "thin and uneven"],
)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_corrected_score_is_calibrated_whatever_the_sampler_does(
    name: str, target_share: float, thinned_to: float, heavy: float
) -> None:
    model = preprocessing.StandardScaler() | SAMPLERS[name](regression(), target_share, 20_000, 1)
    rows = stream(int(20_000 / thinned_to**0.5), 0.02, thinned_to=thinned_to, heavy=heavy)
    assert calibration(model, rows, skip=len(rows) // 3) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_scores_follow_a_tenfold_prior_shift_within_a_few_half_lives(name: str) -> None:
    model = preprocessing.StandardScaler() | SAMPLERS[name](regression(), 0.1, 2_000, 1)
    learn(model, stream(15_000, 0.005, seed=1))
    learn(model, stream(8_000, 0.05, seed=2))
    assert calibration(model, stream(8_000, 0.05, seed=3), skip=0) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_predicting_changes_nothing(name: str) -> None:
    model = SAMPLERS[name](regression(), 0.1, 1_000, 3)
    for x, y, w in stream(400, 0.2):
        model.learn_one(dict(x), y, w=w)
        before = pickle.dumps(model)
        model.predict_proba_one(dict(x))
        model.predict_one(dict(x))
        assert pickle.dumps(model) == before


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("oob", "uob")])
def test_correcting_many_at_once_is_correcting_each(name: str) -> None:
    model: Any = SAMPLERS[name](regression(), 0.3, 1_000, 3)
    rows = stream(1_000, 0.1)
    learn(model, rows)
    own = np.array([model.classifier.predict_proba_one(x)[True] for x, *_ in rows[:50]])
    each = [model.predict_proba_one(x)[True] for x, *_ in rows[:50]]
    assert model.corrected(own).tolist() == pytest.approx(each)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_does_not_grow_with_what_it_has_learned(name: str) -> None:
    model, rows = SAMPLERS[name](regression(), 0.3, 1_000, 3), stream(6_000, 0.3)
    learn(model, rows[:3_000])
    size = len(pickle.dumps(model))
    learn(model, rows[3_000:])
    assert len(pickle.dumps(model)) < 1.05 * size


@pytest.mark.parametrize("name", SAMPLERS)
def test_going_on_from_a_snapshot_equals_going_on(name: str) -> None:
    rows = stream(2_000, 0.1)
    model = SAMPLERS[name](regression(), 0.3, 1_000, 3)
    learn(model, rows[:1_000])
    resumed = copy_of(model)
    learn(model, rows[1_000:])
    learn(resumed, rows[1_000:])
    assert [model.predict_proba_one(x) for x, *_ in rows[:50]] == [
        resumed.predict_proba_one(x) for x, *_ in rows[:50]
    ]
    assert model._rng.getstate() == resumed._rng.getstate()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SAMPLERS)
def test_before_any_example_a_score_is_a_probability(name: str) -> None:
    proba = SAMPLERS[name](regression(), 0.03, 50_000, 7).predict_proba_one({"x": 1.0})
    assert 0.0 < proba[True] < 1.0
    assert proba[False] == 1.0 - proba[True]


@pytest.mark.parametrize("label", [False, True])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_stream_of_one_class_only_is_learned(name: str, label: bool) -> None:
    model = SAMPLERS[name](regression(), 0.1, 20, 1)
    for x, _, _ in stream(3_000, 0.1):
        model.learn_one(dict(x), label, w=3.0)
    assert (model.predict_proba_one({"x": 0.0})[True] > 0.5) == label


@pytest.mark.parametrize("name", SAMPLERS)
def test_labels_may_be_numbers(name: str) -> None:
    by_bool, by_int = (SAMPLERS[name](regression(), 0.1, 1_000, 1) for _ in range(2))
    for x, y, w in stream(2_000, 0.1):
        by_bool.learn_one(dict(x), y, w=w)
        by_int.learn_one(dict(x), int(y), w=w)
    assert by_bool.predict_proba_one({"x": 1.0}) == by_int.predict_proba_one({"x": 1.0})


value = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.integers(-5, 5), st.booleans(), st.text()
)
examples = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abcde"), value), st.booleans(), st.floats(0.0, 1e6)),
    max_size=40,
)


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=30, deadline=None)
@given(rows=examples)
def test_no_features_labels_or_weights_crash_a_sampler(
    name: str, rows: list[tuple[dict[str, Any], bool, float]]
) -> None:
    model = SAMPLERS[name](Counting(), 0.3, 10, 1)
    for x, y, w in rows:
        given_x = dict(x)
        model.learn_one(x, y, w=w)
        assert x.keys() == given_x.keys()
        assert 0.0 <= model.predict_proba_one(x)[True] <= 1.0


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_weight_that_is_none_is_refused(name: str, weight: float) -> None:
    model = SAMPLERS[name](regression(), 0.1, 1_000, 1)
    with pytest.raises(ValueError, match="weight"):
        model.learn_one({"x": 1.0}, False, w=weight)


@pytest.mark.parametrize("name", AIMING)
def test_a_target_share_that_is_none_is_refused(name: str) -> None:
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="target_share"):
            SAMPLERS[name](regression(), share, 1_000, 1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_half_life_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="half_life"):
        SAMPLERS[name](regression(), 0.1, 0.0, 1)


@pytest.mark.parametrize("name", ["weights", "hard"])
def test_a_classifier_that_takes_no_weight_is_refused_by_samplers_that_give_one(name: str) -> None:
    with pytest.raises(TypeError, match="GaussianNB"):
        SAMPLERS[name](naive_bayes.GaussianNB(), 0.1, 1_000, 1)


def test_without_a_sampler_a_whole_stream_is_learned_as_it_is() -> None:
    plain, wrapped = regression(), SAMPLERS["none"](regression(), 0.1, 1_000, 1)
    for x, y, w in stream(2_000, 0.1):
        plain.learn_one(dict(x), y)
        wrapped.learn_one(dict(x), y, w=w)
        assert wrapped.predict_proba_one(x)[True] == pytest.approx(plain.predict_proba_one(x)[True])


def test_without_a_sampler_a_classifier_that_takes_no_weight_learns_copies() -> None:
    class Copies(Counting):
        def learn_one(self, x: dict[str, float], y: bool) -> None:  # type: ignore[override]
            super().learn_one(x, y)

    model = Unsampled(Copies(), seed=1)
    for i in range(4_000):
        model.learn_one({}, i % 2 == 0, w=1.0 if i % 2 == 0 else 2.5)
    assert model.classifier.learned == {True: 2_000.0, False: pytest.approx(5_000.0, rel=0.05)}


def test_hard_examples_are_kept_more_often_and_weigh_less() -> None:
    """By kind: easy legitimate examples, and those that look like fraud."""
    model = HardExamples(regression(), target_share=0.1, half_life=20_000, seed=1)
    learn(model, stream(10_000, 0.02))
    weights: dict[bool, list[float]] = {False: [], True: []}
    for x, y, _ in stream(20_000, 0.02, seed=5):
        amount = model._amount(x, False, 1.0)
        if not y and amount:
            weights[x["x"] > 1.5].append(amount)
    mean = {hard: sum(each) / len(each) for hard, each in weights.items()}
    assert mean[True] < 1.0 < mean[False]
    # Few legitimate examples lie beyond 1.5 (about 7 %), but many of those kept do.
    assert len(weights[True]) / (len(weights[True]) + len(weights[False])) > 0.2
    # The weight of a kind is its share of the stream, all the same.
    total = sum(map(sum, weights.values()))
    assert sum(weights[True]) / total == pytest.approx(0.067, rel=0.35)


@given(st.floats(0.0, 100.0), st.integers(1, 50), st.integers(0, 1000))
def test_a_fraud_is_learned_at_least_once_and_at_most_as_the_cap_says(
    mean: float, most: int, seed: int
) -> None:
    assert 1 <= replicas(mean, most, random.Random(seed)) <= most


def test_oversampling_as_published_follows_sizes_that_forget_within_ten_labels() -> None:
    model = OOB(Counting(), 3, 0.5, 6.58, 1, max_replicas=1_000, corrected=False)
    assert 0.5 ** (1 / model.half_life) == pytest.approx(0.9, abs=1e-3)
    for i in range(2_000):
        model.learn_one({}, i % 4 == 0)
    assert model.predict_proba_one({})[True] == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("kind", [OOB, UOB])
@pytest.mark.parametrize("minority", [False, True])
def test_published_bagging_balances_whichever_class_is_smaller(kind: Any, minority: bool) -> None:
    model = kind(Counting(), 3, 0.5, 500, 1, corrected=False)
    for i in range(3_000):
        model.learn_one({}, minority if i % 10 == 0 else not minority)
    assert model.predict_proba_one({})[True] == pytest.approx(0.5, abs=0.06)


@checked(*(SAMPLERS[name](linear_model.LogisticRegression(), 0.2, 1_000, 1) for name in SAMPLERS))
def test_rivers_own_estimator_checks_pass(model: base.Estimator, check: Any) -> None:
    check(model.clone())
