"""What an audit counts: corrections, weights, segments, and charts of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from stream.audit.charts import Line, chart
from stream.audit.facts import STRATEGIES
from stream.audit.quality import Quality
from stream.audit.trail import Trail
from stream.core.wire import Example, written
from stream.events import FIRST, Segment, WindowReport
from stream.io.bus import Record
from stream.settings import Settings

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def record(offset: int, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "version": 1, "transaction_id": str(offset), "timestamp": DAY, "source": "chargeback",
        "labelled_at": DAY + timedelta(days=1), "is_fraud": False, "score": 0.1, "alerted": False,
        "amount": 1.0, "weight": 1.0, "features": {"amount": 1.0}, **changes,
    }  # fmt: skip
    return Record("training", 0, offset, 0, None, written(Example(**values)))


def test_weights_say_what_the_log_stands_for_and_a_correction_takes_back_what_it_corrects() -> None:
    trail = Trail()
    trail.add(record(0, weight=99.0))
    trail.add(record(1, is_fraud=True, alerted=True))
    before = trail.asdict()["whole"]
    assert before["stands_for"] == 100.0
    assert before["fraud_rate"] == 0.01
    assert before["tier"] == "moderate"
    assert before["rate_kept"] == pytest.approx(1 / 99)
    assert before["recall"] == before["precision"] == 1.0
    trail.add(record(2, is_fraud=False, alerted=True, corrects_weight=1.0))
    after = trail.asdict()["whole"]
    assert after["corrections"] == {"legitimate": 1}
    assert after["stands_for"] == 100.0
    assert after["fraud_rate"] == 0.0
    assert after["recall"] is None
    assert after["precision"] == 0.0


def test_only_transactions_of_the_span_count_and_gaps_and_rubbish_are_told() -> None:
    start = DAY.timestamp()
    trail = Trail(start, start + 3600)
    trail.add(record(3))
    trail.add(record(4, timestamp=DAY - timedelta(seconds=1)))
    trail.add(record(7, timestamp=DAY + timedelta(hours=1)))
    trail.add(Record("training", 0, 8, 0, None, b"rubbish"))
    trail.add(record(9, labelled_at=DAY))
    found = trail.asdict()
    assert (found["examples"], found["first_position"], found["last_position"]) == (2, 3, 9)
    assert found["positions_without_a_record"] == 2
    assert found["unreadable"] == 1
    assert found["late"] == 1


def window(day: int, **changes: Any) -> WindowReport:
    needed = [name for name, field in WindowReport.model_fields.items() if field.is_required()]
    values = dict.fromkeys(needed, 0)
    start = FIRST + timedelta(days=day)
    return WindowReport.model_validate(
        {**values, "start": start, "histogram": {}, "threshold": 0.5, **changes}
    )


def test_every_strategy_is_explained() -> None:
    assert set(STRATEGIES) == set(get_args(Settings.model_fields["rebalance"].annotation))


def test_segments_of_windows_add_up_and_those_that_lie_apart_are_marked() -> None:
    usual = Segment(1000, 20, 10, 10, 970, 10)
    harsh = Segment(1000, 120, 10, 110, 870, 10)
    quality = Quality()
    for day in (0, 1):
        quality.add(
            [
                window(
                    day,
                    transactions=2000,
                    true_positives=20,
                    false_positives=120,
                    true_negatives=1840,
                    false_negatives=20,
                    segments={"type": {"TRANSFER": usual, "CASH_OUT": harsh}},
                    model_position=day,
                )
            ]
        )
    segments = {each["value"]: each for each in quality.asdict()["whole"]["segments"]["type"]}
    assert segments["TRANSFER"]["transactions"] == 2000
    assert segments["CASH_OUT"]["false_positive_rate"] == pytest.approx(110 / 980)
    assert segments["CASH_OUT"]["apart"] == segments["TRANSFER"]["apart"] == ["false_positive"]
    assert segments["CASH_OUT"]["false_negative_rate"] == 0.5
    assert [mark.position for mark in quality.marks] == [0, 1]
    assert len(quality.asdict()["days"]) == 2


def test_a_chart_leaves_gaps_where_nothing_is_known_and_marks_a_lonely_value() -> None:
    values = [0.1, None, 0.2, 0.4, None]
    bands = [None, None, (0.1, 0.3), (0.3, 0.5), None]
    svg = chart("x", list("abcde"), [Line("<one>", values, bands)], str)
    assert svg.count("<circle") == svg.count("<polyline") == svg.count("<polygon") == 1
    assert "&lt;one&gt;" in svg
    assert "nan" not in svg


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e-9], [0.001, 0.002], [5.0, 123_456.0]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_every_value_lies_within_the_chart(values: list[float], logarithmic: bool) -> None:
    svg = chart("x", ["a"] * len(values), [Line("one", values)], str, logarithmic=logarithmic)
    drawn = [v for v in values if v > 0 or not logarithmic]
    assert bool(svg) == bool(drawn)
    for points in svg.split('points="')[1:]:
        ys = [float(pair.split(",")[1]) for pair in points.split('"')[0].split()]
        assert all(0 <= y <= 260 for y in ys)
