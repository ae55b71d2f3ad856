"""Boosted trees that are refitted as the log grows, and River's own checks on them."""

from __future__ import annotations

import itertools
import pickle
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from river import base

from stream.core.boosted import BoostedTrees
from stream.core.committee import as_rows
from stream.core.resample import STRATEGIES
from tests.checks import checked

Row = tuple[dict[Any, Any], bool, float]


def stream(n: int, fraud_rate: float = 0.1, seed: int = 0, thinned_to: float = 1.0) -> list[Row]:
    """A stream in which x says something about y, but not all; each with its weight."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for _ in range(n):
        fraud = chance.random() < fraud_rate
        x = {"x": chance.gauss(2.0 if fraud else 0.0, 1.0), "z": chance.random()}
        if fraud or chance.random() < thinned_to:
            rows.append((x, fraud, 1.0 if fraud else 1.0 / thinned_to))
    return rows


def trees(**given: Any) -> BoostedTrees:
    return BoostedTrees(**{"min_frauds": 5, "min_examples": 50, **given})


def learn(model: BoostedTrees, rows: list[Row]) -> list[float]:
    """Learn each; return what every tenth was scored before it was learned."""
    scores = []
    for i, (x, y, w) in enumerate(rows):
        if i % 10 == 0:
            scores.append(model.predict_proba_one(dict(x))[True])
        model.learn_one(dict(x), y, w=w)
    return scores


def fit_positions(
    model: BoostedTrees, rows: list[Row], refresh_from: int | None = None
) -> list[int]:
    """Where in the log fits are begun; from some place on, all is news with every example."""
    found = []
    for x, y, w in rows:
        before = model.fits
        model.learn_one(x, y, w=w)
        if model.fits > before:
            found.append(model.learned)
        if refresh_from is not None and model.learned >= refresh_from:
            model.refresh()
    return found


def copy_of(model: BoostedTrees) -> BoostedTrees:
    copied: BoostedTrees = pickle.loads(pickle.dumps(model))  # noqa: S301 - made here
    return copied


def risk(model: BoostedTrees, rows: list[Row]) -> list[float]:
    return [model.predict_proba_one(x)[True] for x, *_ in rows]


@pytest.fixture
def background() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@checked(BoostedTrees(min_frauds=5, min_examples=50))
def test_rivers_own_estimator_checks_pass(model: base.Estimator, check: Any) -> None:
    check(model.clone())


def test_fits_are_begun_when_the_log_has_grown_by_the_share() -> None:
    found = fit_positions(trees(growth=0.5), stream(3_000))
    assert len(found) > 6
    assert found[0] >= 50
    for one, other in itertools.pairwise(found):
        assert other - one == max(50, int(one * 0.5))


def test_trees_come_into_force_some_way_behind_their_fit_and_nothing_changes_in_between() -> None:
    """So that there is time to fit them, and every worker has them from the same place on."""
    model, rows = trees(growth=1.0, min_examples=200), stream(500)
    probe = rows[:3]
    changed: list[int] = []
    fits: list[int] = []
    before = risk(model, probe)
    for x, y, w in rows:
        model.learn_one(x, y, w=w)
        if model.fits > len(fits):
            fits.append(model.learned)
        if model.fitted and risk(model, probe) != before:
            changed.append(model.learned)
            before = risk(model, probe)
    assert fits == [200, 400]
    assert len(changed) == 2
    assert 200 < changed[0] < 300
    assert 400 < changed[1] < 500


def test_what_is_fitted_in_the_background_is_what_is_fitted_at_once(background: Executor) -> None:
    """Bit by bit, at every position: whatever the core does in the meantime."""
    rows = stream(800)
    at_once, later = trees(), trees()
    later.executor = background
    assert learn(at_once, rows) == learn(later, rows)
    assert fit_positions(at_once, rows) == fit_positions(later, rows)
    assert at_once.fits == later.fits > 5


def test_what_is_learned_while_a_fit_waits_its_turn_does_not_change_it(
    background: Executor,
) -> None:
    at_once, later = (trees(min_examples=200, max_examples=200) for _ in range(2))
    rows, busy = stream(300), threading.Event()
    before = background.submit(busy.wait, 30.0)
    later.executor = background
    for model in (at_once, later):
        learn(model, rows[:205])  # the bound is met, so that what is kept has moved
    assert not before.done()
    assert (later.fits, later.fitted) == (1, False)
    busy.set()
    for model in (at_once, later):
        learn(model, rows[205:])
    assert later.fitted
    assert risk(later, rows[:50]) == risk(at_once, rows[:50])


@pytest.mark.parametrize("learned", [0, 199, 205, 330, 600])
def test_going_on_from_a_pickle_equals_going_on(background: Executor, learned: int) -> None:
    """Also while a fit is coming, as it is at 205, in the background or not."""
    rows = stream(900)
    at_once, later = trees(min_examples=200), trees(min_examples=200)
    later.executor = background
    for model in (at_once, later):
        learn(model, rows[:learned])
    assert (at_once.fits > 0) == (learned >= 200)
    assert at_once.fitted == (learned > 300)
    copies = copy_of(at_once), copy_of(later)
    assert all(copied.executor is None for copied in copies)
    expected = learn(at_once, rows[learned:])
    assert [learn(copied, rows[learned:]) for copied in copies] == [expected, expected]
    assert learn(later, rows[learned:]) == expected
    assert len(set(expected[-20:])) > 15


def test_predicting_changes_nothing() -> None:
    model = trees()
    for i, (x, y, w) in enumerate(stream(300)):
        model.learn_one(x, y, w=w)
        if i % 10 == 0:
            before = pickle.dumps(model)
            model.predict_proba_one(x)
            model.predict_proba_one({"new": 1.0})
            model.predict_one(x)
            model.probabilities(("z", "new"), np.zeros((2, 2), dtype=np.float32))
            assert pickle.dumps(model) == before


@pytest.mark.parametrize("thinned_to", [1.0, 0.1])
def test_before_the_first_fit_it_says_the_prior(thinned_to: float) -> None:
    model = trees(min_examples=10_000)
    assert model.predict_proba_one({"x": 1.0})[True] == 0.5
    rows = stream(4_000, 0.05, thinned_to=thinned_to)
    learn(model, rows)
    assert not model.fitted
    frauds = sum(w for _, y, w in rows if y)
    prior = (frauds + 0.5) / (sum(w for *_, w in rows) + 1.0)
    assert model.predict_proba_one({"x": 5.0}) == pytest.approx({True: prior, False: 1.0 - prior})
    assert prior == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("fraud", [True, False])
def test_it_waits_for_enough_of_both_classes(fraud: bool) -> None:
    model = trees(min_frauds=20)
    for x, *_ in stream(200):
        model.learn_one(x, fraud)
    for x, *_ in stream(19):
        model.learn_one(x, not fraud)
    assert model.fits == 0
    model.learn_one({"x": 0.0}, not fraud)
    assert model.fits == 1


@pytest.mark.parametrize("thinned_to", [1.0, 0.2])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_score_is_calibrated_after_resampling(strategy: str, thinned_to: float) -> None:
    model = trees(target_share=0.3, strategy=strategy, growth=2.0)
    learn(model, stream(int(4_000 / thinned_to**0.5), 0.05, seed=2, thinned_to=thinned_to))
    assert model.fitted
    rows = stream(10_000, 0.05, seed=8)
    table = np.array([[x["x"], x["z"]] for x, *_ in rows], dtype=np.float32)
    frauds = np.mean([y for _, y, _ in rows])
    # Uncorrected, it would be four to six times too much.
    assert model.probabilities(("x", "z"), table).mean() == pytest.approx(frauds, rel=0.4)


def test_it_ranks() -> None:
    model = trees()
    learn(model, stream(1_000))
    rows = stream(400, seed=9)
    scored = list(zip(risk(model, rows), rows, strict=True))
    frauds = [p for p, (_, y, _) in scored if y]
    legitimate = [p for p, (_, y, _) in scored if not y]
    above = np.mean([a > b for a in frauds for b in legitimate])
    assert above > 0.85


def test_a_feature_that_appears_midway_is_learned() -> None:
    model = trees(growth=0.2)
    learn(model, stream(1_000))
    chance = random.Random(3)
    for _ in range(1_500):
        fraud = chance.random() < 0.1
        model.learn_one({"z": chance.random(), "device": 7.0 if fraud else 2.0}, fraud)
    told = [model.predict_proba_one({"z": 0.5, "device": d})[True] for d in (7.0, 2.0)]
    assert told[0] > 0.8
    assert told[1] < 0.1
    # What was learned before it came is not forgotten.
    known = [model.predict_proba_one({"x": x, "z": 0.5})[True] for x in (3.0, -1.0)]
    assert known[0] > 2.0 * known[1]


@pytest.mark.parametrize("missing", [float("nan"), None, "unknown", [], {}])
def test_what_is_no_number_is_missing(missing: Any) -> None:
    """As if the feature were not there, when it is learned and when it is scored."""
    absent, said = trees(), trees()
    for i, (x, y, w) in enumerate(stream(800)):
        without = {"x": x["x"]} if i % 3 == 0 else x
        instead = {"x": x["x"], "z": missing} if i % 3 == 0 else x
        if i == 0:  # both have met the feature before
            without = instead = x
        absent.learn_one(without, y, w=w)
        said.learn_one(instead, y, w=w)
    assert said.fitted
    for value in (-1.0, 0.5, 3.0):
        expected = absent.predict_proba_one({"x": value})
        assert said.predict_proba_one({"x": value}) == expected
        assert said.predict_proba_one({"x": value, "z": missing}) == expected
        assert said.predict_proba_one({"x": value, "never seen": 1.0}) == expected


def test_numbers_of_any_kind_are_numbers() -> None:
    model = trees()
    for i, (x, y, w) in enumerate(stream(800)):
        model.learn_one(x | {"flag": i % 2 == 0}, y, w=w)
    kinds = [model.predict_proba_one({"x": x, "flag": True}) for x in (2, "2", 2.0, np.float32(2))]
    assert kinds == [kinds[0]] * 4


def test_rows_with_other_columns_are_put_in_order() -> None:
    model, rows = trees(), stream(800)
    learn(model, rows)
    table = np.array([[x["z"], 9.0, x["x"]] for x, *_ in rows[:50]], dtype=np.float32)
    assert model.probabilities(("z", "other", "x"), table).tolist() == risk(model, rows[:50])
    turned = model.probabilities(("z", "x"), table[:, [0, 2]])
    assert turned.tolist() == risk(model, rows[:50])
    alone = model.probabilities(("x",), table[:, 2:])
    assert alone.tolist() == [model.predict_proba_one({"x": x["x"]})[True] for x, *_ in rows[:50]]
    assert model.probabilities(("x",), np.empty((0, 1), dtype=np.float32)).shape == (0,)


@pytest.mark.parametrize("max_examples", [100, 300, 1_000])
def test_no_more_examples_are_kept_than_the_bound(max_examples: int) -> None:
    model = trees(max_examples=max_examples, growth=2.0)
    for i, (x, y, w) in enumerate(stream(3_000)):
        model.learn_one(x, y, w=w)
        assert model._held <= max_examples
        assert model._held >= min(i + 1, max_examples * 7 // 8)
    assert len(model._features) == len(model._frauds) == len(model._weights)
    assert len(model._features) <= max(max_examples, 256)


def test_what_falls_out_of_the_bound_is_forgotten() -> None:
    """And what has not, is kept: the trees are those of the newest examples, in their order."""
    one, other = (trees(max_examples=300, growth=0.1) for _ in range(2))
    learn(one, stream(500, seed=1))
    learn(other, stream(500, 0.3, seed=2))
    probe = stream(50, seed=4)
    assert risk(one, probe) != risk(other, probe)
    learn(one, stream(700, seed=3))
    learn(other, stream(700, seed=3))
    assert one.fits == other.fits
    assert risk(one, probe) == risk(other, probe)


def test_a_refresh_brings_the_next_fit_nearer() -> None:
    rows = stream(5_000)
    usual = fit_positions(trees(growth=1.0), rows)
    # The fit of about 1,600 is in force by then, and the next one is due about 3,200.
    changed = trees(growth=1.0)
    found = fit_positions(changed, rows[:2_100])
    assert found == [p for p in usual if p <= 2_100]
    due = next(p for p in usual if p > 2_100)
    changed.refresh()
    found = fit_positions(changed, rows[2_100:])
    assert 2_100 + 50 <= found[0] < 2_800 < due
    # And those after it, as in the beginning, for a while.
    assert len(found) > len([p for p in usual if p > 2_100])


@pytest.mark.parametrize("growth", [0.5, 1.0])
def test_refreshing_makes_no_more_than_two_fits_of_one(growth: float) -> None:
    """However often it is said that the stream has changed: fits must not cost more than that."""
    found = fit_positions(trees(growth=growth), stream(3_500), refresh_from=1_500)
    after = [p for p in found if p > 1_500]
    assert len(after) >= 3
    for one, other in itertools.pairwise(after):
        assert other - one >= int(one * growth / 2)


def test_a_refresh_never_puts_a_fit_off() -> None:
    rows = stream(400)
    usual = fit_positions(trees(growth=0.1), rows)
    often = fit_positions(trees(growth=0.1), rows, refresh_from=0)
    assert often == usual


def test_equal_seeds_give_equal_trees_and_others_do_not() -> None:
    rows = stream(600)
    one, same, other = (trees(seed=seed) for seed in (1, 1, 2))
    for model in (one, same, other):
        learn(model, rows)
    assert risk(one, rows[:20]) == risk(same, rows[:20])
    assert risk(one, rows[:20]) != risk(other, rows[:20])


def test_an_unknown_strategy_is_named_with_those_there_are() -> None:
    model = trees(strategy="half")
    with pytest.raises(ValueError, match="strategy 'half' is not known: give one of none, under"):
        learn(model, stream(300))


def kept(model: BoostedTrees) -> list[Row]:
    """What the trees would be fitted to now."""
    n, names = model._held, list(model._columns.names)
    return [
        (dict(zip(names, row, strict=True)), y, w)
        for row, y, w in zip(
            model._features[:n].tolist(),
            model._frauds[:n].tolist(),
            model._weights[:n].tolist(),
            strict=True,
        )
    ]


def test_a_correction_takes_the_place_of_the_newest_wrong_example_with_its_features() -> None:
    model = trees()
    x = {"x": 1.0, "z": None}  # what is missing equals itself
    rows: list[Row] = [(x, False, 3.0), (x, True, 1.0), (x, False, 5.0), ({"x": 2.0}, False, 1.0)]
    for x_, y, w in rows:
        model.learn_one(x_, y, w=w)
    model.correct(x, True)
    assert [(y, w) for _, y, w in kept(model)] == [
        *[(False, 3.0), (True, 1.0), (True, 1.0), (False, 1.0)]
    ]
    model.correct({"x": 2.0, "new": 1.0}, True, w=2.0)  # none such: one more
    model.correct({"x": 3.0}, False)
    assert [(y, w) for _, y, w in kept(model)][4:] == [(True, 2.0), (False, 1.0)]
    assert model.learned == 7


def test_fits_after_a_correction_are_those_of_examples_that_were_right_at_once() -> None:
    rows, corrected, knew = stream(600), trees(), trees()
    wrong = range(0, 300, 7)
    for i, (x, y, w) in enumerate(rows):
        corrected.learn_one(x, y != (i in wrong), w=w)
        knew.learn_one(x, y, w=w)
    for i in wrong:
        corrected.correct(rows[i][0], rows[i][1], w=rows[i][2])
        knew.learn_one({"x": 9.0, "z": 9.0}, True)
    assert corrected.learned == knew.learned
    assert kept(corrected) == kept(knew)[: len(rows)]
    assert fit_positions(corrected, stream(200, seed=1)) == fit_positions(knew, stream(200, seed=1))


@pytest.mark.parametrize("size", [1, 7, 50, 1_000])
@pytest.mark.parametrize("max_examples", [120, 300, 1_000])
def test_blocks_of_rows_are_learned_as_one_example_after_the_other(
    size: int, max_examples: int, background: Executor
) -> None:
    examples = stream(700)
    names, found = as_rows([x for x, *_ in examples])
    frauds = np.array([y for _, y, _ in examples])
    weights = np.array([w for *_, w in examples])
    one, blocks = trees(max_examples=max_examples), trees(max_examples=max_examples)
    blocks.executor = background
    for x, (_, y, w) in zip(found.tolist(), examples, strict=True):
        one.learn_one(dict(zip(names, x, strict=True)), y, w=w)
    for begin in range(0, len(examples), size):
        at, end = begin, min(begin + size, len(examples))
        while at < end:
            due = blocks._coming is not None and blocks.learned + 1 == blocks._coming[0]
            assert due or blocks.awaited is None
            count = blocks.learn_rows(names, found[at:end], frauds[at:end], weights[at:end])
            assert count == 1 if due else count > 0
            at += count
    assert (blocks.learned, blocks.fits, blocks._held) == (one.learned, one.fits, one._held)
    for kept in ("_features", "_frauds", "_weights"):
        pair = [getattr(model, kept)[: model._held] for model in (one, blocks)]
        assert pair[0].tobytes() == pair[1].tobytes()
    probe = stream(50, seed=1)
    assert risk(one, probe) == risk(blocks, probe)


def test_a_block_that_brings_a_feature_is_put_in_order() -> None:
    model = trees()
    model.learn_rows(("x",), np.ones((3, 1), np.float32), np.zeros(3, bool), np.ones(3))
    model.learn_rows(("z", "x"), np.full((2, 2), 5.0, np.float32), np.zeros(2, bool), np.ones(2))
    model.learn_rows(("z",), np.full((1, 1), 7.0, np.float32), np.zeros(1, bool), np.ones(1))
    nan = float("nan")
    expected = np.array([[1, nan]] * 3 + [[5, 5]] * 2 + [[nan, 7]], dtype=np.float32)
    assert np.array_equal(model._features[: model._held], expected, equal_nan=True)
