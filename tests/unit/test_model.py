"""Learning step by step: in the end the same, and nobody waits for it meanwhile."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from benchmarks.scaling.digest import digest
from stream.core.detector import Detector
from stream.core.features import Floats, Rows
from stream.core.model import Model
from stream.core.trees import Fit
from stream.core.wire import Example
from stream.events import utc
from tests.streams import examples, rows, settings

CHOSEN = settings(learner="auto")


@pytest.fixture(scope="module")
def log() -> list[Example]:
    return examples(rows(4_000, fraud_rate=0.05), CHOSEN)


def probe(log: list[Example]) -> tuple[tuple[str, ...], Rows]:
    names = tuple(log[0].features)
    return names, np.array([list(e.features.values()) for e in log[:20]], dtype=np.float32)


def learned(log: list[Example]) -> Model:
    made = Model(CHOSEN)
    for each in log:
        made.learn(each)
    return made


class Held(Executor):
    """Fits, and hands over the trees when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Any]] = []

    def submit(self, fit: Fit) -> Future[Any]:  # type: ignore[override] # as a `Fitter`
        future: Future[Any] = Future()
        self.waiting.append((future, fit()))
        return future

    def hand_over(self) -> None:
        for future, trees in self.waiting:
            future.set_result(trees)
        self.waiting.clear()


def test_what_is_learned_step_by_step_is_what_is_learned_at_once(log: list[Example]) -> None:
    at_once, by_steps, steps = learned(log), Model(CHOSEN), []
    for each in log:
        by_steps.take(each)
        count = 0
        while by_steps.go_on():
            count += 1
            scores = by_steps.scores(*probe(log))
            assert ((scores >= 0.0) & (scores < 1.0)).all()
        assert not by_steps.busy
        steps.append(count)
    assert digest(by_steps) == digest(at_once)
    blocks = [count for count in steps if count]
    assert len(blocks) == len(log) // at_once.committee.block
    assert min(blocks) > 5


def test_the_next_example_finds_the_block_before_it_learned(log: list[Example]) -> None:
    made = Model(CHOSEN)
    log = log[: len(log) // made.committee.block * made.committee.block]
    for each in log:
        made.take(each)
    assert made.busy
    made.finish()
    assert not made.busy
    assert digest(made) == digest(learned(log))


def test_a_snapshot_holds_no_half_of_a_block(log: list[Example]) -> None:
    block = Model(CHOSEN).committee.block
    made = Model(CHOSEN)
    for each in log[: 10 * block]:
        made.take(each)
    assert made.go_on()
    assert made.busy
    assert digest(made) == digest(learned(log[: 10 * block]))
    assert not made.busy


def test_while_trees_are_on_their_way_it_goes_on_deciding_and_learns_no_further(
    log: list[Example],
) -> None:
    held, made, waited = Held(), Model(CHOSEN), 0
    made.fit_in(held)

    def asked() -> Floats:
        return made.scores(*probe(log))

    for each in log:
        made.take(each)
        while made.busy:
            if not made.go_on():
                before, count = asked(), made.committee.learners["boosted 0.03"].learned  # type: ignore[attr-defined]
                assert not made.go_on()
                assert np.array_equal(asked(), before)
                assert made.committee.learners["boosted 0.03"].learned == count  # type: ignore[attr-defined]
                waited += 1
                held.hand_over()
    assert waited > 0
    held.hand_over()
    assert digest(made) == digest(learned(log))


@pytest.mark.parametrize("score", [0.0, 0.001, 0.3])
def test_scores_far_above_the_fraud_prior_do_not_fill_the_log(score: float) -> None:
    """As they are before the first labels: each would look as if there were something to learn."""
    made = Detector(CHOSEN, Model(CHOSEN))
    for number in range(3_000):
        made.model.learn(example(number, is_fraud=number % 100 == 0, score=score))
    state = made.state()
    drawn = made.model.sampling_rates(np.full(1_000, score), state).mean()
    assert 0.5 * state["sampling_rate"] <= drawn <= 1.05 * state["sampling_rate"]


def example(number: int, *, is_fraud: bool, score: float) -> Example:
    at = utc(number)
    a = {"a": 0.0}
    return Example(1, f"T{number}", at, at, "chargeback", is_fraud, score, False, 1.0, 1.0, a)
