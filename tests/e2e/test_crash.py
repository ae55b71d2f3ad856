"""Killed at any moment, on either bus: one decision each, one alert each, one example each."""

from __future__ import annotations

import pickle
import random
import shutil
import time
from pathlib import Path

import pytest

from stream.__main__ import topic_specs
from stream.core.model import Model
from stream.io.bus import connect
from tests.outcome import OUTPUTS, QUICK, ended, kill, outcome, reported, windows_are_those_of
from tests.servers.worker import probed, start
from tests.streams import settings, topics

RUNS, KILLS = 3, 10
"""On each bus: a worker is killed and started again 30 times."""


@pytest.mark.parametrize("run", range(RUNS))
def test_a_worker_killed_at_any_moment_decides_each_once_and_learns_each_once(
    given: dict[str, object], unique: str, tmp_path: Path, run: int
) -> None:
    chance = random.Random(run)
    disk = tmp_path / "state"
    chosen = settings(
        **given,
        **topics(unique, OUTPUTS),
        group=unique,
        # One run with all that learns; the others with what is quick.
        learner="linear" if run else "auto",
        rebalance="under" if run else "auto",
        state_dir=disk if run % 2 == 0 else None,
        # What is drawn then follows the clock, and still every restart draws the same again.
        learning_budget_us=1.0 if run == 1 else None,
        checkpoint_seconds=0.2,
        **QUICK,
    )
    connect(chosen.bus).create_topics(topic_specs(chosen))
    for _ in range(KILLS):
        worker = start(chosen, "one")
        time.sleep(chance.uniform(0.0, 2.5))
        kill(worker)
        if chance.random() < 0.3:
            shutil.rmtree(disk, ignore_errors=True)  # lost with its worker
    summary = tmp_path / "summary.json"
    ended(start(chosen, "one", summary=summary))
    found = outcome(chosen)
    windows_are_those_of(found, reported(summary))
    never_killed = Model(chosen)
    for example in found.log:
        never_killed.learn(example)
    model: Model = pickle.loads(summary.with_suffix(".model").read_bytes())  # noqa: S301 - ours
    assert model.learned == never_killed.learned == len(found.log)
    assert probed(model, found.log) == probed(never_killed, found.log)
    assert model.threshold.value == never_killed.threshold.value
