"""What the web page draws: every figure is computed here, as plain values for JSON.

Times are seconds since the epoch (UTC). None is what is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from stream.core.estimate import Estimate, Estimates
from stream.core.intervals import (
    CONFIDENCE,
    Interval,
    average_precision_interval,
    share_interval,
)
from stream.core.merging import merge_segments
from stream.core.segments import BANDS
from stream.core.severity import tier
from stream.core.windows import Measures, measure, ranked_labels
from stream.events import Alert, ChallengerReport, Mark, Segment, WindowReport
from stream.watch import words
from stream.watch.snapshot import Snapshot, Span
from stream.watch.timeline import RANGES
from stream.watch.tradeoff import tradeoff
from stream.watch.verdict import behind_seconds, verdict

Values = dict[str, Any]

MAX_VALUES = 24
"""Of a field by which segments are told apart: those with most transactions."""
_REASONS = 2
_WAITING = 100


def now(snapshot: Snapshot, changes: Sequence[Values]) -> Values:
    """Return how it stands: health, the workers' counters, the model in force.

    `changes` are the thresholds and their reasons seen lately.
    """
    found, latency, event_time = verdict(snapshot), snapshot.latency_ms(), snapshot.event_time()
    count, model = snapshot.count, snapshot.model
    window_seconds = snapshot.spans[-1].seconds if snapshot.spans else None
    return {
        "taken_at": snapshot.taken_at.timestamp(),
        "trouble": snapshot.trouble,
        "verdict": found._asdict(),
        "window_seconds": window_seconds,
        "ranges": [
            {
                "name": each.name,
                "words": each.words,
                "enough": each.seconds is None or each.seconds >= (window_seconds or 0),
            }
            for each in RANGES
        ],
        "confidence": CONFIDENCE,
        "workers": [
            {
                "worker": report.worker,
                "partitions": len(report.partitions),
                "reported_at": report.reported_at.timestamp(),
                "silent_seconds": (snapshot.taken_at - report.reported_at).total_seconds(),
            }
            for report in snapshot.live
        ],
        "event_time": event_time and event_time.timestamp(),
        "total": snapshot.total,
        "transactions_per_second": (
            sum(report.transactions_per_second for report in snapshot.live)
            if snapshot.live
            else None
        ),
        "latency_p50_ms": latency and latency[0],
        "latency_p99_ms": latency and latency[1],
        "lag": count("lag") if snapshot.live else None,
        "behind_seconds": behind_seconds(snapshot),
        "counts": {
            name: count(name)
            for name in (
                *("decisions", "alerts", "labels", "labels_early", "labels_unknown"),
                *("labels_repeated", "labels_corrected", "examples", "dead_letters", "duplicates"),
                *("pending", "pending_expired", "accounts", "accounts_evicted"),
            )
        },
        "model": model
        and {
            "position": model.model_position,
            "learned": model.learned,
            "threshold": model.threshold,
            "reason": model.threshold_reason,
            "fraud_prior": model.fraud_prior,
            "severity": tier(model.fraud_prior),
            "one_in": words.one_in(model.fraud_prior),
            "sampling_rate": model.sampling_rate,
            "learned_share": model.learned_share,
            "learning_us": model.learning_us,
            "weights": model.weights,
        },
        "threshold_changes": list(changes),
        "alarms": [
            {**alarm.model_dump(mode="json"), "words": words.alarm_in_words(alarm.name)}
            for alarm in snapshot.alarms
        ],
    }


def challengers(reports: Sequence[ChallengerReport]) -> Values:
    """Return how each challenger does beside the one in force, over the same transactions."""
    return {
        "challengers": [
            {
                "name": report.name,
                "settings": report.settings,
                "reported_at": report.reported_at.timestamp(),
                "done": report.done,
                "from": report.graded_from and report.graded_from.timestamp(),
                "until": report.event_time and report.event_time.timestamp(),
                "in_force": report.in_force,
                "challenger": report.challenger,
                "said": words.disagreement(report.apart),
            }
            for report in reports
        ]
    }


def newest(snapshot: Snapshot) -> list[Span]:
    """Return the windows of the terminal view: the rolling ones, and those after them.

    Of those that still wait for labels the newest, where a chart has no room for all.
    """
    since = snapshot.rolling[0].start if snapshot.rolling else None
    spans = [span for span in snapshot.spans if since is None or span.start >= since]
    waiting = [span for span in spans if not span.matured][-_WAITING:]
    return sorted([*snapshot.rolling, *waiting], key=lambda span: span.start)


def windows(snapshot: Snapshot, points: Sequence[Span], recent: Measures | None = None) -> Values:
    """Return the quality over windows: together, one by one, by threshold and by segment.

    Parameters
    ----------
    points
        Those of the range that was asked for, oldest first.
    recent
        The measures of those that count as recent, labelled or not; None: of all points.
    """
    matured = [span for span in points if span.matured]
    reports = [report for span in matured for report in span.reports]
    quality = measure(reports)
    if recent is None:
        recent = measure([report for span in points for report in span.reports])
    curve = tradeoff(reports, _seconds(points))
    model = snapshot.model
    return {
        "from": points[0].start.timestamp() if points else None,
        "until": points[-1].start.timestamp() + points[-1].seconds if points else None,
        "matured": len(matured),
        "matured_until": matured[-1].start.timestamp() + matured[-1].seconds if matured else None,
        "quality": quality.asdict(),
        "intervals": _intervals(quality, reports),
        "estimates": _estimates(snapshot.estimates),
        "recent": recent.asdict(),
        "points": [_point(span) for span in points],
        "curve": curve.asdict(),
        "in_force": curve.at(model.threshold) if model else None,
        "segments": _segments(reports),
    }


def _seconds(points: Sequence[Span]) -> float:
    """Event time that the matured windows cover, hours without traffic included."""
    matured = [span for span in points if span.matured]
    if not matured:
        return 0.0
    first, last = matured[0].start, matured[-1].start
    waiting = sum(p.seconds for p in points if not p.matured and first <= p.start <= last)
    return (last - first).total_seconds() + matured[-1].seconds - waiting


def alerts(shown: Sequence[Alert], marks: Mapping[str, Mark]) -> Values:
    """Return the newest alerts as a list shows them."""
    return {
        "alerts": [
            {
                **_brief(alert),
                "reasons": words.told_apart(alert.reasons, _REASONS),
                "mark": _mark(marks.get(alert.alert_id)),
            }
            for alert in shown
        ]
    }


def alert(shown: Alert, mark: Mark | None) -> Values:
    """Return all that is known of an alert."""
    return {
        **_brief(shown),
        "reasons": [
            {**reason.model_dump(), "words": words.reason_in_words(reason)}
            for reason in shown.reasons
        ],
        "members": [
            {"name": name, "score": score, "weight": shown.weights.get(name)}
            for name, score in sorted(
                shown.members.items(), key=lambda each: -shown.weights.get(each[0], 0.0)
            )
        ],
        "activity": [
            {**each.model_dump(), "timestamp": each.timestamp.timestamp()}
            for each in shown.activity
        ],
        "mark": _mark(mark),
    }


def _brief(shown: Alert) -> Values:
    return {
        "alert_id": shown.alert_id,
        "transaction_id": shown.transaction_id,
        "timestamp": shown.timestamp.timestamp(),
        "decided_at": shown.decided_at.timestamp(),
        "type": shown.type,
        "amount": shown.amount,
        "nameOrig": shown.nameOrig,
        "nameDest": shown.nameDest,
        "score": shown.score,
        "threshold": shown.threshold,
        "model_position": shown.model_position,
    }


def _mark(mark: Mark | None) -> Values | None:
    if mark is None:
        return None
    return {"is_fraud": mark.is_fraud, "marked_at": mark.marked_at.timestamp()}


def _intervals(measures: Measures, reports: Sequence[WindowReport]) -> Values:
    """Of figures that rest on labels."""
    missed = measures.frauds - measures.true_positives
    return {
        "precision": _span(share_interval(measures.true_positives, measures.false_positives)),
        "recall": _span(share_interval(measures.true_positives, missed)),
        "average_precision": _span(_ranked_interval(reports)),
    }


def _ranked_interval(reports: Sequence[WindowReport]) -> Interval | None:
    ranked = ranked_labels(reports)
    table = np.array(ranked, dtype=np.float64).reshape(len(ranked), 2)
    return _average_precision_interval(table.tobytes())


@lru_cache(maxsize=2048)
def _average_precision_interval(table: bytes) -> Interval | None:
    """Drawn once for the same counts: most windows have changed no more since the last look."""
    counts = np.frombuffer(table).reshape(-1, 2)
    return average_precision_interval(counts[:, 0], counts[:, 1])


def _estimates(found: Estimates) -> Values:
    """What the windows that wait for labels will come to, as far as that can be said."""
    values: Values = {"windows": found.windows, "transactions": found.transactions}
    for name in ("precision", "recall", "average_precision"):
        each: Estimate = getattr(found, name)
        values[name] = {
            "value": each.value,
            "low": each.low,
            "high": each.high,
            "trusted": each.trusted,
            "why": each.why,
        }
    return values


def _point(span: Span) -> Values:
    """A window as charts and table show it. Rates that rest on labels are None until it matured."""
    m = span.measures
    last = max(span.reports, key=lambda report: report.model_position)
    values: Values = {
        "start": span.start.timestamp(),
        "seconds": span.seconds,
        "matured": span.matured,
        "transactions": m.transactions,
        "alerts": m.alerts,
        "label_coverage": m.label_coverage,
        "predicted_positive_rate": m.predicted_positive_rate,
        "estimated_precision": m.estimated_precision,
        "threshold": last.threshold,
        "fraud_prior": last.fraud_prior,
        "sampling_rate": last.sampling_rate,
        "learned_share": last.learned_share,
    }
    known = span.matured
    intervals = _intervals(m, span.reports) if known else {}
    for name in ("precision", "recall", "average_precision"):
        values[name] = getattr(m, name) if known else None
        values[f"{name}_interval"] = intervals.get(name)
    for name in ("f1", "fraud_rate", "amount_caught", "amount_missed", "amount_false"):
        values[name] = getattr(m, name) if known else None
    return values


def _segments(reports: Sequence[WindowReport]) -> list[Values]:
    """Rates by each field and value: bands by amount, else what is most frequent first."""
    shown = []
    for field, values in merge_segments(report.segments for report in reports).items():
        ordered = sorted(values.items(), key=lambda each: -each[1].transactions)[:MAX_VALUES]
        if field == "amount":
            ordered.sort(key=lambda each: BANDS.index(each[0]) if each[0] in BANDS else len(BANDS))
        rows = [_segment(value, counts) for value, counts in ordered]
        shown.append({"field": field, "left_out": len(values) - len(rows), "values": rows})
    return shown


def _segment(value: str, counts: Segment) -> Values:
    hits, misses = counts.true_positives, counts.false_negatives
    alarms, quiet = counts.false_positives, counts.true_negatives
    return {
        "value": value,
        "transactions": counts.transactions,
        "alerts": counts.alerts,
        "frauds": hits + misses,
        "alert_rate": _rate(counts.alerts, counts.transactions - counts.alerts),
        "precision": _rate(hits, alarms),
        "recall": _rate(hits, misses),
        "false_negative_rate": _rate(misses, hits),
        "false_positive_rate": _rate(alarms, quiet),
    }


def _rate(hits: int, misses: int) -> Values | None:
    interval = share_interval(hits, misses)
    if interval is None:
        return None
    return {"value": hits / (hits + misses), "low": interval.low, "high": interval.high}


def _span(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
