"""The named learners: each with each sampler, those of the user, and the rates of the log."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from river import base, compose, linear_model, optim, preprocessing

from stream.core.detector import Detector
from stream.core.learners import KINDS, LEARNERS, Novel, committee, log_rate, log_rates
from stream.core.linear import Linear
from stream.core.model import Model
from stream.core.rebalance import kept
from stream.core.samplers import SAMPLERS
from stream.core.weighting import Unsampled
from stream.core.windows import ranked_average_precision
from stream.settings import Settings
from tests.checks import checked
from tests.streams import labels, rows, settings

REBALANCE: tuple[str, ...] = get_args(Settings.model_fields["rebalance"].annotation)
"""Every value of the setting."""

Row = tuple[dict[Any, float], bool]
Writes = Callable[[str], str]


def stream(n: int, fraud_rate: float = 0.06, seed: int = 0) -> list[Row]:
    """A stream in which x and the card say something about y; novelty says nothing."""
    chance = random.Random(seed)
    found = []
    for _ in range(n):
        fraud = chance.random() < fraud_rate
        x = {
            "x": chance.gauss(2.0 if fraud else 0.0, 1.0),
            "z": chance.random(),
            "card": float(chance.random() < (0.8 if fraud else 0.3)),
            "novelty": chance.random(),
        }
        found.append((x, fraud))
    return found


def table(of: list[Row]) -> tuple[tuple[str, ...], Any]:
    names = tuple(of[0][0])
    return names, np.array([[x[name] for name in names] for x, _ in of], dtype=np.float32)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique: str) -> Writes:
    """Write a module that can be imported, and return its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    count = itertools.count()

    def write(source: str) -> str:
        name = f"{unique}_{next(count)}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


WAYS = [
    (learner, rebalance)
    for learner in LEARNERS
    for rebalance in REBALANCE
    if (learner, rebalance) not in {("forest", "weights"), ("forest", "hard")}
    if learner != "auto" or rebalance == "auto"  # its members are those learners
]


@checked(Novel(), Linear("under", 0.1, 1_000, 1), KINDS["forest"]("under", 0.1, 1_000, 1))
def test_rivers_own_estimator_checks_pass(model: base.Estimator, check: Any) -> None:
    check(model.clone())


@pytest.mark.parametrize("rebalance", ["weights", "hard"])
def test_a_forest_says_what_to_do_where_it_is_to_take_weights(rebalance: str) -> None:
    with pytest.raises(ValueError, match=f"rebalance {rebalance}: .* Give rebalance none, under"):
        committee(settings(learner="forest", rebalance=rebalance))


@pytest.mark.parametrize(("learner", "rebalance"), WAYS)
def test_every_learner_learns_with_every_way_to_rebalance(learner: str, rebalance: str) -> None:
    """Nothing but the learner can rank here: the one-class member is told nothing."""
    model = committee(settings(learner=learner, rebalance=rebalance, prior_half_life=5_000))
    for x, y in stream(600, 0.08):
        model.learn_one(x, y, 1.0)
    later = stream(500, 0.2, seed=1)
    scores = model.probabilities(model.votes(*table(later)))
    frauds = np.array([y for _, y in later])
    assert np.isfinite(scores).all()
    above = scores[frauds][:, None] > scores[~frauds]
    assert above.mean() > 0.8
    # What ranks is what was asked for.
    assert model.weights()["one-class"] < 0.5
    if learner != "auto":
        assert any(name.startswith(learner) for name in model.names)


@pytest.mark.parametrize(
    ("learner", "rebalance", "members"),
    [
        (
            "auto",
            "auto",
            ["one-class", "linear 0.1", "forest 0.1", "boosted natural", "boosted 0.03"],
        ),
        ("auto", "under", ["one-class", "linear 0.2", "boosted 0.2"]),
        ("linear", "auto", ["one-class", "linear 0.2"]),
        ("linear", "smote", ["one-class", "linear 0.2"]),
        ("forest", "none", ["one-class", "forest 0.2"]),
        ("boosted", "auto", ["one-class", "boosted 0.2"]),
    ],
)
def test_the_members_are_those_that_the_settings_ask_for(
    learner: str, rebalance: str, members: list[str]
) -> None:
    made = committee(settings(learner=learner, rebalance=rebalance, target_share=0.2))
    assert list(made.names) == members
    # Only a forest costs so much that it has to earn it; one that was asked for by name is heard.
    dear = [name for name, member in made.members.items() if member.costly]
    assert dear == (["forest 0.1"] if learner == "auto" and rebalance == "auto" else [])


def test_equal_settings_make_equal_committees_and_other_seeds_do_not() -> None:
    def scores(seed: int) -> list[float]:
        chosen = settings(learner="linear", rebalance="under", seed=seed, target_share=0.5)
        model = committee(chosen)
        for x, y in stream(400):
            model.learn_one(x, y, 1.0)
        found: list[float] = model.probabilities(model.votes(*table(stream(20, seed=5)))).tolist()
        return found

    assert scores(1) == scores(1)
    assert scores(1) != scores(2)


def linear(sampler: str, learned: int) -> Linear:
    model = Linear(sampler, target_share=0.2, half_life=2_000, seed=1)
    for x, y in stream(learned):
        model.learn_one(dict(x), y)
    return model


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_linear_learner_learns_blocks_of_rows_as_one_example_after_the_other(
    sampler: str,
) -> None:
    examples, blocks = stream(600), Linear(sampler, target_share=0.2, half_life=2_000, seed=1)
    names, found = table(examples)
    found[::9, 1] = np.nan  # some have no such feature
    frauds, weights = np.array([y for _, y in examples]), np.linspace(1.0, 3.0, len(examples))
    one = Linear(sampler, target_share=0.2, half_life=2_000, seed=1)
    for row, y, w in zip(found.tolist(), frauds.tolist(), weights.tolist(), strict=True):
        given_ = dict(zip(names, row, strict=True))
        one.learn_one({k: v for k, v in given_.items() if not np.isnan(v)}, y, w=w)
    at = 0
    while at < len(examples):
        block = slice(at, min(at + 50, len(examples)))
        at += blocks.learn_rows(names, found[block], frauds[block], weights[block])
    _, probe = table(stream(50, seed=3))
    expected = one.probabilities(names, probe).tolist()
    assert blocks.probabilities(names, probe).tolist() == pytest.approx(expected, rel=1e-6)


def rounded(examples: list[Row]) -> list[Row]:
    """As rows have them, in 32 bits."""
    return [({k: float(np.float32(v)) for k, v in x.items()}, y) for x, y in examples]


def test_a_linear_learner_learns_what_rivers_own_regression_does() -> None:
    scaler = preprocessing.StandardScaler()
    regression = linear_model.LogisticRegression(optimizer=optim.SGD(0.01), l2=1e-5)
    rivers = scaler | Unsampled(regression, half_life=2_000, seed=1)
    ours = linear("none", 0)
    for x, y in rounded(stream(800)):
        rivers.learn_one(x, y, w=1.0)
        ours.learn_one(x, y)
    for x, _ in rounded(stream(50, seed=3)):
        if all(abs(value) < 5.0 for value in scaler.transform_one(x).values()):
            expected = rivers.predict_proba_one(x)[True]
            assert ours.predict_proba_one(x)[True] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("learned", [0, 1, 500])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_linear_learner_says_of_many_rows_what_it_says_of_each(
    sampler: str, learned: int
) -> None:
    model, probe = linear(sampler, learned), stream(50, seed=3)
    probe += [({"x": 1e6, "z": -1e6, "card": 0.0, "novelty": 9.0}, True)]
    names, found = table(probe)
    rows_ = [dict(zip(names, row, strict=True)) for row in found.tolist()]
    each = [model.predict_proba_one(x)[True] for x in rows_]
    assert model.probabilities(names, found).tolist() == pytest.approx(each, rel=1e-6)


@pytest.mark.parametrize("sampler", ["under", "weights", "oob"])
@example_settings(max_examples=30)
@given(
    names=st.lists(st.sampled_from(["x", "z", "card", "unknown"]), unique=True),
    seed=st.integers(0, 9),
)
def test_columns_may_be_others_and_in_any_order(sampler: str, names: list[str], seed: int) -> None:
    model = LINEARS[sampler]
    found = np.random.default_rng(seed).normal(size=(3, len(names))).astype(np.float32)
    each = [
        model.predict_proba_one(dict(zip(names, row, strict=True)))[True] for row in found.tolist()
    ]
    assert model.probabilities(tuple(names), found).tolist() == pytest.approx(each, rel=1e-6)


LINEARS = {sampler: linear(sampler, 300) for sampler in ("under", "weights", "oob")}


def test_a_first_other_value_of_a_constant_feature_is_not_beyond_measure() -> None:
    model = Linear("none", target_share=0.1, half_life=2_000, seed=1)
    for i, (x, y) in enumerate(stream(2_000)):
        model.learn_one(x | {"rare": 1e-3 * (i == 0)}, y)
    model.learn_one({"x": 2.0, "z": 0.5, "card": 1.0, "rare": 50.0}, True)
    usual, rare = (
        model.predict_proba_one({"x": 0.0, "z": 0.5, "card": 0.0, "rare": value})[True]
        for value in (0.0, 50.0)
    )
    assert rare < 5.0 * usual


OWN = """
from river import linear_model, preprocessing

def pipeline():
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()

def nothing():
    return object()

def regressor():
    return linear_model.LinearRegression()

def half():
    class Half:
        def learn_one(self, x, y): ...
    return Half()

made = pipeline()
"""


def test_a_users_own_pipeline_works_from_the_transaction_to_the_score(module: Writes) -> None:
    name = f"{module(OWN)}:pipeline"
    chosen = settings(learner=name)
    made = Detector(chosen, Model(chosen))
    made.open(0)
    some = rows(1_800, fraud_rate=0.05)
    scores = []
    for at in range(0, len(some), 100):
        batch = some[at : at + 100]
        scores.append(made.on_transactions(0, [row.transaction for row in batch]).scores)
        _, examples = made.on_labels(0, labels(batch))
        made.on_examples(examples, made.model.position + len(examples))
    weights = made.model.weights()
    assert list(weights) == ["one-class", name]
    assert weights[name] > 0.5
    own: Any = made.model.committee.learners[name]
    assert isinstance(own.learner, compose.Pipeline)
    frauds = np.array([bool(row.is_fraud) for row in some[800:]])
    found = ranked_average_precision(np.concatenate(scores)[800:], frauds)
    assert found is not None
    assert found > 4.0 * frauds.mean()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("{}:pipelines", r"cannot be found: .*pipelines.* Give package\.module:name"),
        ("{}_not:pipeline", r"cannot be found: .*No module named .* Give package\.module:name"),
        ("{}:", r"cannot be found: .* Give package\.module:name"),
        (":pipeline", r"cannot be found: .* Give package\.module:name"),
        (".{}:pipeline", r"cannot be found: .* Give package\.module:name"),
        ("{}:nothing", r"returned object, which has no learn_one: return a River classifier"),
        ("{}:half", r"returned Half, which has no predict_proba_one: return a River classifier"),
        (
            "{}:regressor",
            r"returned LinearRegression, which has no predict_proba_one: return a Riv",
        ),
        ("{}:made", r"cannot be .* Give a function"),
    ],
)
def test_a_learner_that_is_none_is_named_with_what_to_do(
    module: Writes, wrong: str, told: str
) -> None:
    name = wrong.format(module(OWN))
    with pytest.raises(ValueError, match=f"learner '{name}' {told}"):
        Model(settings(learner=name))


def test_a_name_that_is_not_known_is_told_those_that_are() -> None:
    with pytest.raises(ValueError, match="'magic' is not known: give one of auto, linear, forest"):
        committee(settings(learner="magic"))


CHOSEN = {
    (rebalance, share): settings(rebalance=rebalance, target_share=share)
    for rebalance in REBALANCE
    for share in (0.01, 0.1, 0.7)
}


@given(chosen=st.sampled_from(list(CHOSEN.values())), prior=st.floats(1e-9, 0.999))
def test_the_mean_rate_is_one_and_no_lower_where_there_is_more_fraud(
    chosen: Settings, prior: float
) -> None:
    rate = log_rate(chosen, prior)
    assert 0.0 < rate <= 1.0
    assert log_rate(chosen, min(2.0 * prior, 0.9995)) >= rate


def test_what_takes_every_example_is_sent_every_example() -> None:
    for rebalance in ("none", "weights", "over"):
        assert log_rate(settings(rebalance=rebalance), 0.001) == 1.0
    assert log_rate(settings(learner="a.module:function"), 0.001) == 1.0
    # No sampler is sent less than plain undersampling, which needs least.
    least = log_rate(settings(rebalance="under"), 0.001)
    assert least == pytest.approx(0.001 / 0.999 * 9.0)
    assert all(log_rate(settings(rebalance=name), 0.001) >= least for name in REBALANCE)


def test_a_users_own_learner_is_sent_every_example_whatever_its_score() -> None:
    """It is given no weights, so that what is thinned by the score would be all it knows."""
    scores = np.array([0.0, 0.001, 0.01, 0.5])
    chosen = settings(learner="a.module:function")
    for rate in (1.0, 0.3):  # a budget may thin them, all alike
        assert log_rates(chosen, rate, 0.001, scores).tolist() == [rate] * 4


scores_ = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(chosen=st.sampled_from(list(CHOSEN.values())), scores=scores_, prior=st.floats(1e-9, 0.999))
def test_a_rate_is_above_0_at_most_1_and_rises_with_the_score(
    chosen: Settings, scores: list[float], prior: float
) -> None:
    mean = log_rate(chosen, prior)
    rates = log_rates(chosen, mean, prior, np.array(sorted(scores)))
    assert rates.shape == (len(scores),)
    assert ((rates > 0.0) & (rates <= 1.0)).all()
    assert (np.diff(rates) >= 0.0).all()
    # Never less than half of the mean rate: what nobody suspects is looked at as well.
    assert (rates >= 0.5 * mean).all()


def test_auto_asks_for_more_of_what_is_taken_for_fraud_and_others_ask_alike() -> None:
    scores = np.array([0.0, 0.001, 0.01, 0.5])
    rising = log_rates(settings(rebalance="auto"), 0.05, 0.001, scores)
    assert (np.diff(rising) > 0.0).all()
    assert rising[-1] == 1.0
    alike = log_rates(settings(rebalance="under"), 0.05, 0.001, scores)
    assert len(set(alike.tolist())) == 1


@pytest.mark.parametrize("prior", [0.001, 0.005, 0.02])
def test_the_mean_rate_of_calibrated_scores_is_what_was_asked_for(prior: float) -> None:
    scores = np.random.default_rng(1).beta(0.5, 0.5 / prior, 200_000)
    assert scores.mean() == pytest.approx(prior, rel=0.05)
    mean = log_rates(settings(rebalance="auto"), 0.05, prior, scores).mean()
    assert mean == pytest.approx(0.05, rel=0.1)


def test_the_more_was_learned_the_fewer_legitimate_examples_are_sent() -> None:
    chosen, learned = settings(rebalance="auto"), (0.0, 5_000.0, 10_000.0, 20_000.0, 1e6)
    rates = [log_rate(chosen, 0.001, count) for count in learned]
    assert rates == pytest.approx([0.2, 0.2, 0.05, 0.025, 0.001 / 0.999 * 9.0])


@pytest.mark.parametrize("rebalance", ["auto", "under", "hard", "hybrid"])
def test_the_weights_of_what_is_kept_stand_for_all_there_was(rebalance: str) -> None:
    """In all, and of those with a high score and those with a low one: nothing is biased."""
    rng = np.random.default_rng(2)
    scores = rng.beta(0.3, 60.0, 60_000)
    chosen = settings(rebalance=rebalance)
    rates = log_rates(chosen, log_rate(chosen, 0.005), 0.005, scores)
    keep = kept([f"T{i}" for i in range(len(rates))], rates, seed=7)
    assert keep.mean() < 0.5
    weights = np.where(keep, 1.0 / rates, 0.0)
    assert weights.sum() == pytest.approx(len(scores), rel=0.05)
    for part in (scores > 0.01, scores < 0.001):
        assert weights[part].sum() == pytest.approx(part.sum(), rel=0.08)
    assert (weights * scores).sum() == pytest.approx(scores.sum(), rel=0.08)
