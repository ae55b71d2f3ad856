"""The terminal view shows the figures it is given, and what it does not know as unknown."""

from __future__ import annotations

import dataclasses
import io
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel
from rich.console import Console

from stream.core.estimate import Estimate, Estimates
from stream.core.features import feature_names
from stream.core.windows import measure
from stream.events import Alarm, Alert, LiveReport, Reason, WindowReport
from stream.io.store import StoreReader
from stream.watch.snapshot import Snapshot, spans
from stream.watch.terminal import plain_line, render, watch
from stream.watch.words import UNKNOWN, reason_in_words

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)


def _zeros(kind: type[BaseModel]) -> dict[str, object]:
    """What has no default, as 0."""
    return {name: 0 for name, of in kind.model_fields.items() if of.is_required()}


def window(hour: int, partition: int = 0, **changes: object) -> WindowReport:
    values: dict[str, object] = _zeros(WindowReport)
    values |= {
        "partition": partition,
        "start": START + timedelta(hours=hour),
        "seconds": 3600,
        "transactions": 1000,
        "alerts": 10,
        "alert_score_sum": 8.1,
        "histogram": {-100: (990, 0, 0), 20: (10, 0, 0)},
    }
    return WindowReport.model_validate(values | changes)


def labelled(hour: int, partition: int = 0, **changes: object) -> WindowReport:
    values: dict[str, object] = {
        "labelled": 900,
        "true_positives": 6,
        "false_positives": 2,
        "false_negatives": 4,
        "true_negatives": 888,
        "amount_caught": 1_250_000.0,
        "amount_missed": 18_200.0,
        "histogram": {-100: (990, 888, 4), 20: (10, 2, 6)},
        "segments": {"type": {"DEBIT": (900, 0, 0, 0, 810, 0), "other": (100, 10, 6, 2, 78, 4)}},
    }
    return window(hour, partition, **(values | changes))


REPORTS = [*(labelled(hour, p) for hour in range(3) for p in (0, 1)), window(3), window(3, 1)]
"""Of two partitions: three windows whose labels have come, and one that waits for its own."""


def live(worker: str = "w1", **changes: object) -> LiveReport:
    values: dict[str, object] = _zeros(LiveReport)
    values |= {
        "worker": worker,
        "reported_at": NOW - timedelta(seconds=1),
        "started_at": NOW - timedelta(minutes=2),
        "event_time": START + timedelta(hours=30),
        "partitions": (0, 1),
        "decisions": 31_204,
        "threshold": 0.3123,
        "threshold_reason": "first labels",
        "fraud_prior": 0.00129,
        "sampling_rate": 0.041,
        "learned_share": 0.03,
        "transactions_per_second": 1532.4,
        "latency_p50_ms": 12.2,
        "latency_p99_ms": 48.4,
        "lag": 1204,
        "dead_letters": 3,
        "weights": {"boosted": 0.75, "linear": 0.25},
    }
    return LiveReport.model_validate(values | changes)


def alert(number: int = 0, **changes: object) -> Alert:
    values: dict[str, object] = {
        "alert_id": f"alert-{number}",
        "transaction_id": str(number),
        "timestamp": START + timedelta(minutes=number),
        "decided_at": NOW,
        "type": "TRANSFER",
        "amount": 181.0,
        "nameOrig": "C1305486145",
        "nameDest": "C553264065",
        "score": 0.97,
        "threshold": 0.3,
        "model_position": 3,
        "reasons": (Reason(feature="drains", value=1.0, habit=0.0, effect=2.5),),
    }
    return Alert.model_validate(values | changes)


FULL = Snapshot(
    taken_at=NOW,
    live=(live(), live("w2")),
    spans=spans([*(labelled(h, p) for h in range(26) for p in (0, 1)), window(26), window(27)]),
    alerts=tuple(alert(number) for number in range(50)),
    estimates=Estimates(*[Estimate(0.81, 0.7, 0.885, True)] * 3, 2, 2000, 20),
    total=100_000,
)


def text(snapshot: Snapshot, width: int = 80, height: int = 24) -> str:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(render(snapshot, width, height))
    return capture.get()


def test_the_figures_it_is_given_are_shown() -> None:
    shown = text(FULL)
    rolling = measure([report for span in FULL.rolling for report in span.reports])
    assert rolling.average_precision is not None
    for figure in (
        "62,408 of 100,000 decided, 12 s left",
        "3,065/s",
        "p50 12 ms, p99 48 ms",
        "lag 2,408",
        "dead letters 6",
        "2 workers, 4 partitions",
        "event time 2026-01-02 06:00 UTC",
        "24 matured windows to 01-02 01:00, 90 % labelled",
        "0.75",
        "0.60",
        "0.67",
        f"{rolling.average_precision:.2f}",
        "288/384 alerts",
        "288/480 frauds",
        "0.81",
        "0.70 to 0.89",
        "threshold 0.312   first labels",
        "fraud prior 0.13 % (1 in 775)",
        "sampling rate 4.1 %",
        "3.0 % fraud",
        "2.50M",
        "36.4k",
        "C1305486145 → C553264065 drains the account",
    ):
        assert figure in shown, f"{figure!r} is not in:\n{shown}"


def test_rendering_the_same_snapshot_twice_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = text(FULL)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert text(FULL) == first


def test_a_window_without_labels_shows_its_coverage_and_no_figure() -> None:
    rows = [line for line in text(FULL).splitlines() if line.startswith(" 01-02 03:00")]
    assert [row.split()[2:] for row in rows] == [["1,000", "0", "%", "10", *[UNKNOWN] * 5]]


def test_without_any_label_only_what_needs_none_is_known() -> None:
    unlabelled = spans([window(0), window(1)])
    estimates = FULL.estimates
    shown = text(Snapshot(taken_at=NOW, live=(live(),), spans=unlabelled, estimates=estimates))
    assert "Quality: no labels yet, 0 % labelled" in shown
    assert shown.count("no labels") == 5
    values = shown.splitlines()[5].split()
    assert values == [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "0.81"]


def test_figures_that_rest_on_the_smaller_part_of_the_labels_are_marked() -> None:
    sample = labelled(0, labelled=20, true_negatives=8)
    assert "~0.75" in text(Snapshot(taken_at=NOW, live=(live(),), spans=spans([sample])))


def test_before_any_worker_it_says_that_it_waits() -> None:
    shown = text(Snapshot(taken_at=NOW))
    assert "waiting for a worker" in shown
    assert "none yet" in shown
    assert "0.00" not in shown


def test_a_worker_that_has_fallen_silent_is_told() -> None:
    silent = live("w2", reported_at=NOW - timedelta(seconds=40))
    assert "silent for 40 s" in text(Snapshot(taken_at=NOW, live=(live(), silent)))


def test_redis_being_away_is_told_beside_what_was_read_last() -> None:
    away = dataclasses.replace(
        FULL, trouble="Redis at redis://h:1/0 is not available: " + "x " * 50
    )
    shown = text(away)
    assert "Redis is away" in shown
    assert "redis://h:1/0" in shown
    assert "288/384 alerts" in shown


def test_a_long_label_delay_does_not_leave_a_table_of_unknowns() -> None:
    late = spans([*(labelled(h) for h in range(30)), *(window(h) for h in range(30, 200))])
    shown = text(Snapshot(taken_at=NOW, live=(live(),), spans=late))
    rows = re.findall(r"^ 01-\d\d \d\d:00.*$", shown, flags=re.MULTILINE)
    assert len(rows) == 5
    assert sum(UNKNOWN in row for row in rows) == 2


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 10, 12, 15, 18, 20, 24, 32, 40, 100])
@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 110, 120, 200])
@pytest.mark.parametrize("trouble", [None, "Redis is not there. " * 8])
def test_it_fits_any_terminal(width: int, height: int, trouble: str | None) -> None:
    for snapshot in (FULL, Snapshot(taken_at=NOW)):
        lines = text(dataclasses.replace(snapshot, trouble=trouble), width, height).splitlines()
        assert len(lines) <= height
        assert max(map(len, lines), default=0) <= width
        assert height < 3 or "Weir" in lines[0]


def test_a_terminal_of_80_by_24_is_filled_with_both_tables() -> None:
    lines = text(FULL).splitlines()
    assert len(lines) == 24
    assert sum(line.startswith(" 01-0") for line in lines) == 5
    assert sum("→" in line for line in lines) == 5


def test_it_is_readable_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(width=80, file=io.StringIO(), force_terminal=True, highlight=False)
    with console.capture() as capture:
        console.print(render(FULL))
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38|48)[;m]", capture.get())


def test_a_plain_line_has_the_key_figures_and_a_dash_for_what_is_not_known() -> None:
    line = plain_line(FULL)
    assert "\n" not in line
    values = dict(part.split("=", 1) for part in line.split()[1:])
    assert values["decided"] == "62408"
    assert values["precision"] == "0.75"
    assert values["label_coverage"] == "0.9"
    assert values["threshold"] == "0.3123"
    assert values["redis"] == "there"
    unknown = dict(p.split("=", 1) for p in plain_line(Snapshot(taken_at=NOW)).split()[1:])
    assert unknown.keys() == values.keys()
    assert {unknown[k] for k in ("precision", "recall", "threshold", "latency_p50_ms")} == {"-"}


def test_an_estimate_that_is_not_to_be_trusted_is_marked_and_says_why() -> None:
    doubtful = Estimate(0.81, 0.4, 0.9, False, "12 alerts are too few")
    snapshot = dataclasses.replace(FULL, estimates=Estimates(*[doubtful] * 3, 2, 2000, 12))
    shown = text(snapshot)
    assert "0.81?" in shown
    assert "0.40 to 0.90" in shown
    assert "est. precision not trusted: 12 alerts are too few" in shown
    assert "not trusted" not in text(FULL)
    line = plain_line(snapshot)
    assert "estimated_precision_trusted=no" in line
    assert "estimated_recall_low=0.4" in line
    assert "estimated_average_precision_trusted=yes" in plain_line(FULL)


def test_watching_goes_on_without_redis_and_ends_when_told() -> None:
    stop, out = threading.Event(), io.StringIO()
    stop.set()
    reader = StoreReader("redis://127.0.0.1:1/0", "weir")
    watch(reader, stop=stop, total=10, out=out)
    reader.close()
    assert "redis=away" in out.getvalue()
    assert "total=10" in out.getvalue()


def test_windows_are_merged_over_partitions() -> None:
    merged = spans([labelled(1, 1), labelled(0), labelled(1, 0)])
    assert [span.measures.transactions for span in merged] == [1000, 2000]
    assert all(span.matured for span in merged)


def test_windows_count_as_matured_when_only_a_sample_is_ever_labelled() -> None:
    sampled = [labelled(h, labelled=50) for h in range(10)]
    merged = spans([*sampled, window(10)])
    assert [span.matured for span in merged] == [True] * 10 + [False]


@pytest.mark.parametrize(
    ("feature", "value", "habit", "said"),
    [
        ("amount", 12.0, 5.0, "large amount"),
        ("type_TRANSFER", 1.0, 0.2, "TRANSFER"),
        ("type_other", 1.0, 0.0, "of a rare type"),
        ("orig_balance", 3.0, 9.0, "origin's balance is low"),
        ("orig_since", 7.28, 2.0, "origin not seen before"),
        ("dest_since", 3.0, 1.0, "destination unseen for 19 h 5 min"),
        ("dest_fraud_168h", 0.4, 0.0, "earlier fraud at destination"),
        ("dest_count_1h", 3.0, 0.5, "destination is paid often, about 19 times over 1h"),
        ("orig_count_24h", 1.4, 0.5, "origin pays often, about 3 times over 24h"),
        ("orig_count_1h", 0.5, 0.1, "origin busy over 1h"),
        ("dest_count_1h", 0.5, 3.0, "destination quiet over 1h"),
        ("orig_turned", 0.01, 3.0, "money passes through at origin"),
        ("orig_turned", -4.0, 3.0, "small beside what origin just received"),
        ("dest_turned", -4.0, 3.0, "small beside what destination just paid"),
        ("dest_turned", 9.0, 3.0, "new money at destination"),
        ("amount_to_balance", 0.98, 0.1, "takes 98 % of the balance"),
        ("dest_fraud_run", 3.0, 0.0, "nothing but fraud at destination for 19 h 5 min"),
        ("dest_fraud_age", 3.0, 7.28, "fraud at destination 19 h 5 min ago"),
        ("orig_fraud_age", 7.28, 3.0, "no known fraud at origin"),
        ("orig_amount_unusual_24h", 4.0, 0.1, "large amount for origin"),
        ("something_new", 1.5, 0.0, "something_new 1.5"),
        ("dest_something", 1.5, 0.0, "dest_something 1.5"),
    ],
)
def test_reasons_are_said_in_words(feature: str, value: float, habit: float, said: str) -> None:
    reason = Reason(feature=feature, value=value, habit=habit, effect=1.0)
    assert reason_in_words(reason) == said


def test_every_feature_of_the_core_has_words() -> None:
    for name in feature_names(("TRANSFER",), (1.0, 24.0)):
        for value in (0.0, 1.0):
            said = reason_in_words(Reason(feature=name, value=value, habit=0.5, effect=1.0))
            assert "_" not in said, f"{name}: {said}"


def alarm(name: str, minutes_ago: float, **changes: object) -> Alarm:
    values: dict[str, object] = {
        "name": name,
        "since": NOW - timedelta(minutes=minutes_ago),
        "figure": 0.4,
        "limit": 0.25,
        "cause": "the scores of the last day lie elsewhere than before (PSI 0.40)",
        "look": "what has changed in the traffic",
    }
    return Alarm.model_validate(values | changes)


def test_an_alarm_of_several_workers_is_one_and_as_old_as_the_oldest() -> None:
    young, old = alarm("score_drift", 5), alarm("score_drift", 90, figure=0.6)
    other = alarm("labels_silent", 30)
    snapshot = Snapshot(
        taken_at=NOW, live=(live("w1", alarms=(young, other)), live("w2", alarms=(old,)))
    )
    assert snapshot.alarms == (old, other)


RAISED = dataclasses.replace(
    FULL,
    live=(
        live(
            alarms=tuple(
                alarm(name, minutes)
                for name, minutes in (
                    ("prior_shift", 200),
                    ("feature_missing:dest_balance", 90),
                    ("labels_silent", 60),
                    ("dead_letters", 30),
                    ("score_drift", 5),
                )
            )
        ),
    ),
)


def test_alarms_stand_near_the_top_with_name_cause_and_since() -> None:
    lines = text(RAISED, width=120, height=24).splitlines()
    first = next(i for i, line in enumerate(lines) if "▲" in line)
    assert first <= 2
    assert "fraud rate has shifted for 3 h 20 min: the scores of the last day" in lines[first]
    assert "a field has gone missing (dest_balance)" in lines[first + 1]
    assert "and 2 alarms more: messages cannot be read, scores have drifted" in lines[first + 3]
    tall = text(RAISED, width=120, height=40)
    assert "look at what has changed in the traffic" in tall
    assert "▲" not in text(FULL)


@pytest.mark.parametrize("height", [1, 3, 8, 12, 24, 32, 60])
def test_alarms_leave_room_for_the_rest(height: int) -> None:
    assert len(text(RAISED, 80, height).splitlines()) <= height


def test_a_plain_line_counts_and_names_the_alarms() -> None:
    assert " alarms=0 raised=- " in plain_line(FULL)
    assert " alarms=5 raised=prior_shift,feature_missing:dest_balance," in plain_line(RAISED)
