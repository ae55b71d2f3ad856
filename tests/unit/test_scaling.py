"""The benchmark of workers in a group: what it compares, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import cloudpickle

from benchmarks.ranking.report import placed
from benchmarks.scaling.__main__ import moves_table, shared_table, stages_table
from benchmarks.scaling.digest import digest
from benchmarks.scaling.moving import Moved, Phase, longest_pause
from benchmarks.scaling.workers import Shared
from stream.core.decode import example
from stream.core.model import Model
from stream.core.wire import Example, written
from tests.streams import examples, rows, settings

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def test_models_that_learned_the_same_have_one_digest_however_they_came_to_it() -> None:
    told = examples(rows(1_500), settings(learner="auto"))
    made, read, other = (Model(settings(learner="auto")) for _ in range(3))
    for each in told:
        made.learn(each)
        again = example(written(each), 1_000_000)
        assert isinstance(again, Example)
        read.learn(again)
    assert digest(made) == digest(read) == digest(cloudpickle.loads(cloudpickle.dumps(made)))
    for each in told[:-1]:
        other.learn(each)
    assert digest(other) != digest(made)
    other.learn(told[-1])
    assert digest(other) == digest(made)
    made.prior.observe(is_fraud=False, weight=1e-12)
    assert digest(other) != digest(made)


def test_a_pause_is_that_of_a_partition_and_counts_where_it_touches_the_change() -> None:
    at = {0: [0.0, 1.0, 9.0, 10.0], 1: [0.5, 4.0, 4.5, 11.0]}
    assert longest_pause(at, 0.0, 0.9) == 3.5
    assert longest_pause(at, 5.0, 6.0) == 8.0
    assert longest_pause(at, 9.5, 9.9) == 6.5
    assert longest_pause({}, 0.0, 1.0) == 0.0


def test_the_page_takes_all_tables(tmp_path: Path) -> None:
    one = Shared(1, 1_000, 100.0, 20.0, 90, 0.8, 1, 500, 9.0, 2.5, {"poll": 20.0, "rest": 3.0})
    four = Shared(4, 1_000, 114.0, 30.0, 90, 0.799, 1, 500, 3.0, 2.0, {"learn": 9.0, "poll": 21.0})
    moves = Moved(5_000, 500.0, 0, 0, [Phase("one to three", 2.5)])
    text = placed(PAGE.read_text(), "workers", shared_table([one, four], one), PAGE.name)
    text = placed(text, "moves", moves_table(moves), PAGE.name)
    text = placed(text, "worker stages", stages_table([one, four]), PAGE.name)
    assert "| poll | 20.0 | 21.0 |\n| rest | 3.0 | 0.0 |\n| learn | 0.0 | 9.0 |" in text
    assert "| 4 | 1,000 | 114.0 | 1.140 | 1.425 | 30.0 | 0.7990 | 1 |" in text
    assert "| one to three | 2.50 s |" in text
    assert "5,000 transactions at 500 a second: 0 decided twice, 0 never." in text
