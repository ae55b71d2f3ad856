"""The benchmark of feedback against delayed labels: who is told what, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks.feedback import Apart, played
from stream.core.detector import Detector
from stream.core.evaluate import Row, Scorecard
from stream.core.model import Model
from stream.events import Example
from tests.streams import rows, settings

HOUR = timedelta(hours=1)
ROWS: list[Row] = [(row.transaction, bool(row.is_fraud)) for row in rows(1_500, fraud_rate=0.1)]


class Told(Model):
    """Remembers what it was given to learn."""

    def learn(self, example: Example) -> None:
        self.__dict__.setdefault("told", []).append(example)
        super().learn(example)


def run(model: Model, feedback: timedelta, delay: timedelta) -> Scorecard:
    card = Scorecard()
    played(Detector(model.settings, model), ROWS, feedback, delay, card)
    return card


def test_alerts_are_told_soon_and_the_others_late() -> None:
    model = Told(settings(threshold="alert_budget:20/1h"))
    card = run(model, HOUR / 2, 3 * HOUR)
    told: list[Example] = model.__dict__["told"]
    assert card.quality().labelled == len(ROWS)
    waits = {
        source: {e.labelled_at - e.timestamp for e in told if e.source == source}
        for source in ("analyst", "chargeback")
    }
    assert max(waits["analyst"]).total_seconds() == pytest.approx(1800)
    assert min(waits["chargeback"]).total_seconds() == pytest.approx(3 * 3600)
    assert all(example.alerted == (example.source == "analyst") for example in told)


def test_kept_apart_the_late_one_learns_the_feedback_when_it_is_as_old_as_the_rest() -> None:
    chosen = settings(threshold="alert_budget:20/1h", rebalance="none")  # draws all
    apart, pool = Apart(chosen, 3 * HOUR), Model(chosen)
    for model in (apart, pool):
        run(model, HOUR / 2, 3 * HOUR)
    assert 0 < apart.feedback.learned < apart.learned < pool.learned
    alone = Apart(chosen, 3 * HOUR)
    run(alone, 3 * HOUR, 3 * HOUR)
    assert alone.feedback.learned == 0
