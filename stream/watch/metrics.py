"""Metrics for Prometheus: each is defined here, once, and read from Redis when it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from stream.core.alarms import KINDS, kind_of
from stream.core.estimate import Estimate
from stream.core.windows import Measures
from stream.events import LiveReport, Segment
from stream.watch.snapshot import ROLLING_WINDOWS, Snapshot, Watcher

Kind = type[CounterMetricFamily] | type[GaugeMetricFamily]
COUNTER, GAUGE = CounterMetricFamily, GaugeMetricFamily


class OfWorker(NamedTuple):
    """A figure of each worker's live report. Names and units are those of Prometheus: base units,
    and `_total` behind what only counts up while the worker runs. What is counted of its partitions
    moves with them, and so goes up and down."""

    name: str
    kind: Kind
    help: str
    of: Callable[[LiveReport], float]


class OfStream(NamedTuple):
    """A figure of the newest matured windows of the whole stream; absent where not defined."""

    name: str
    help: str
    of: Callable[[Measures], float | None]


class OfParts(NamedTuple):
    """A figure that has several values: what `of` gives are values of the labels, and the value."""

    name: str
    labels: tuple[str, ...]
    help: str
    of: Callable[[Snapshot], Iterable[tuple[tuple[str, ...], float]]]


OF_WORKER = (
    OfWorker("weir_transactions_total", COUNTER, "Transactions read.", lambda r: r.transactions),
    OfWorker("weir_decisions_total", COUNTER, "Transactions decided.", lambda r: r.decisions),
    OfWorker(
        "weir_duplicates",
        GAUGE,
        "Transactions whose id had been decided before.",
        lambda r: r.duplicates,
    ),
    OfWorker("weir_alerts_total", COUNTER, "Transactions flagged.", lambda r: r.alerts),
    OfWorker("weir_labels_total", COUNTER, "Labels read.", lambda r: r.labels),
    OfWorker(
        "weir_labels_early",
        GAUGE,
        "Labels that wait for their transaction.",
        lambda r: r.labels_early,
    ),
    OfWorker(
        "weir_labels_unknown",
        GAUGE,
        "Labels of transactions never seen, or expired.",
        lambda r: r.labels_unknown,
    ),
    OfWorker(
        "weir_labels_repeated",
        GAUGE,
        "Labels that said again what was known.",
        lambda r: r.labels_repeated,
    ),
    OfWorker(
        "weir_labels_corrected",
        GAUGE,
        "Labels that contradicted an older one.",
        lambda r: r.labels_corrected,
    ),
    OfWorker(
        "weir_examples_total",
        COUNTER,
        "Examples published to the training log.",
        lambda r: r.examples,
    ),
    OfWorker(
        "weir_learned_examples",
        GAUGE,
        "Examples that the worker's model has learned from.",
        lambda r: r.learned,
    ),
    OfWorker(
        "weir_dead_letters_total",
        COUNTER,
        "Messages that could not be read.",
        lambda r: r.dead_letters,
    ),
    OfWorker(
        "weir_pending_transactions",
        GAUGE,
        "Transactions held until their label comes.",
        lambda r: r.pending,
    ),
    OfWorker(
        "weir_pending_expired",
        GAUGE,
        "Transactions that went before their label came.",
        lambda r: r.pending_expired,
    ),
    OfWorker("weir_accounts", GAUGE, "Accounts with history.", lambda r: r.accounts),
    OfWorker(
        "weir_accounts_evicted",
        GAUGE,
        "Accounts whose history went for want of room.",
        lambda r: r.accounts_evicted,
    ),
    OfWorker(
        "weir_windows_closed",
        GAUGE,
        "Windows that take labels no longer.",
        lambda r: r.windows_closed,
    ),
    OfWorker("weir_partitions", GAUGE, "Partitions owned.", lambda r: len(r.partitions)),
    OfWorker(
        "weir_model_position",
        GAUGE,
        "Position in the training log that the model has learned up to.",
        lambda r: r.model_position,
    ),
    OfWorker("weir_threshold", GAUGE, "Threshold in force, a score.", lambda r: r.threshold),
    OfWorker(
        "weir_fraud_prior_ratio",
        GAUGE,
        "Share of frauds as the model believes it to be now.",
        lambda r: r.fraud_prior,
    ),
    OfWorker(
        "weir_sampling_rate_ratio",
        GAUGE,
        "Mean share of legitimate transactions that become examples.",
        lambda r: r.sampling_rate,
    ),
    OfWorker(
        "weir_learned_fraud_ratio",
        GAUGE,
        "Share of frauds among the examples learned lately.",
        lambda r: r.learned_share,
    ),
    OfWorker("weir_lag_records", GAUGE, "Records of the inputs not yet handled.", lambda r: r.lag),
    OfWorker(
        "weir_learning_seconds_per_transaction",
        GAUGE,
        "Processor time of learning per transaction, of late.",
        lambda r: r.learning_us * 1e-6,
    ),
    OfWorker(
        "weir_start_time_seconds",
        GAUGE,
        "When the worker started, seconds since the epoch.",
        lambda r: r.started_at.timestamp(),
    ),
    OfWorker(
        "weir_report_time_seconds",
        GAUGE,
        "When the worker reported last, seconds since the epoch.",
        lambda r: r.reported_at.timestamp(),
    ),
)

OF_STREAM = (
    OfStream("weir_window_precision_ratio", "Precision of the alerts.", lambda m: m.precision),
    OfStream("weir_window_recall_ratio", "Recall of the alerts.", lambda m: m.recall),
    OfStream("weir_window_f1_ratio", "F1 of the alerts.", lambda m: m.f1),
    OfStream("weir_window_mcc", "Matthews correlation coefficient of the alerts.", lambda m: m.mcc),
    OfStream(
        "weir_window_average_precision_ratio",
        "Average precision of the scores.",
        lambda m: m.average_precision,
    ),
    OfStream("weir_window_log_loss", "Mean log loss of the scores, in nats.", lambda m: m.log_loss),
    OfStream(
        "weir_window_calibration_ratio",
        "Mean score over fraud rate: 1 is calibrated, above is alarmist.",
        lambda m: m.calibration,
    ),
    OfStream(
        "weir_window_label_coverage_ratio",
        "Share of transactions whose label has come.",
        lambda m: m.label_coverage,
    ),
    OfStream(
        "weir_window_fraud_ratio", "Share of frauds among labelled ones.", lambda m: m.fraud_rate
    ),
    OfStream("weir_window_amount_caught", "Amount of frauds flagged.", lambda m: m.amount_caught),
    OfStream("weir_window_amount_missed", "Amount of frauds missed.", lambda m: m.amount_missed),
)

OF_RECENT = (
    OfStream(
        "weir_recent_predicted_positive_ratio",
        "Share of transactions flagged.",
        lambda m: m.predicted_positive_rate,
    ),
)

REDIS_UP, REDIS_UP_HELP = "weir_redis_up", "1 where Redis answers, else 0."
MATURED = f" Over the newest {ROLLING_WINDOWS} windows whose labels have come."
RECENT = f" Over the newest {ROLLING_WINDOWS} windows, labelled or not."
WAITING = f" Of the newest {ROLLING_WINDOWS} windows that wait for labels."


def _latencies(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], float]]:
    for report in snapshot.live:
        yield (report.worker, "0.5"), report.latency_p50_ms / 1000.0
        yield (report.worker, "0.99"), report.latency_p99_ms / 1000.0


def _weights(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], float]]:
    for report in snapshot.live:
        for member, weight in report.weights.items():
            yield (report.worker, member), weight


def _alarms(snapshot: Snapshot) -> Iterator[tuple[tuple[str], float]]:
    """All that there are, raised or not; without a worker nobody knows."""
    raised = {kind_of(alarm.name) for alarm in snapshot.alarms}
    for name in KINDS if snapshot.live else ():
        yield (name,), float(name in raised)


def _share(
    part: Callable[[Segment], int], of: Callable[[Segment], int]
) -> Callable[[Snapshot], Iterator[tuple[tuple[str, str], float]]]:
    """A share by field and value of the segments of the matured windows, where it is defined."""

    def shares(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], float]]:
        for field, values in snapshot.segments.items():
            for value, counts in values.items():
                if of(counts):
                    yield (field, value), part(counts) / of(counts)

    return shares


def _estimate(
    of: Callable[[Estimate], float | None],
) -> Callable[[Snapshot], Iterator[tuple[tuple[str], float]]]:
    """A part of each estimate, where it is known."""

    def parts(snapshot: Snapshot) -> Iterator[tuple[tuple[str], float]]:
        for name, found in snapshot.estimates.figures().items():
            value = of(found)
            if value is not None and snapshot.estimates.windows:
                yield (name,), value

    return parts


OF_PARTS = (
    OfParts(
        "weir_decision_latency_seconds",
        ("worker", "quantile"),
        "From publication of a transaction to the commit of its decision, over the last seconds.",
        _latencies,
    ),
    OfParts(
        "weir_member_weight_ratio",
        ("worker", "member"),
        "Share of the vote that a member of the committee has.",
        _weights,
    ),
    OfParts(
        "weir_alarm",
        ("name",),
        "Whether an alarm of this name is raised by any worker: 1, else 0.",
        _alarms,
    ),
    OfParts(
        "weir_segment_predicted_positive_ratio",
        ("field", "value"),
        f"Share of a segment's transactions that were flagged.{MATURED}",
        _share(lambda s: s.alerts, lambda s: s.transactions),
    ),
    OfParts(
        "weir_segment_precision_ratio",
        ("field", "value"),
        f"Precision of a segment's alerts.{MATURED}",
        _share(lambda s: s.true_positives, lambda s: s.true_positives + s.false_positives),
    ),
    OfParts(
        "weir_segment_false_negative_ratio",
        ("field", "value"),
        f"Share of a segment's labelled frauds that were not flagged.{MATURED}",
        _share(lambda s: s.false_negatives, lambda s: s.true_positives + s.false_negatives),
    ),
    OfParts(
        "weir_segment_false_positive_ratio",
        ("field", "value"),
        f"Share of a segment's labelled legitimate transactions that were flagged.{MATURED}",
        _share(lambda s: s.false_positives, lambda s: s.false_positives + s.true_negatives),
    ),
    OfParts(
        "weir_estimated_ratio",
        ("figure",),
        f"What it will be, estimated.{WAITING}",
        _estimate(lambda e: e.value),
    ),
    OfParts(
        "weir_estimated_low_ratio",
        ("figure",),
        f"Lower end of its 90 % interval.{WAITING}",
        _estimate(lambda e: e.low),
    ),
    OfParts(
        "weir_estimated_high_ratio",
        ("figure",),
        f"Upper end of its 90 % interval.{WAITING}",
        _estimate(lambda e: e.high),
    ),
    OfParts(
        "weir_estimated_trusted",
        ("figure",),
        f"Whether it is to be trusted, 1 or 0: `weir watch` says why.{WAITING}",
        _estimate(lambda e: float(e.trusted)),
    ),
)


class Metrics:
    """What Prometheus is given when it scrapes, from one look at Redis.

    While Redis is away `weir_redis_up` is 0 and there is nothing else: old figures would pass for
    those of now. Give it to a `prometheus_client.CollectorRegistry`.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._one_at_a_time = threading.Lock()

    def collect(self) -> Iterator[Family]:
        """Yield the families of metrics. Several may scrape at once."""
        with self._one_at_a_time:
            snapshot = self._watcher.take()
        up = snapshot.trouble is None
        yield GAUGE(REDIS_UP, REDIS_UP_HELP, value=float(up))
        if up:
            yield from families(snapshot)

    def describe(self) -> Iterable[Family]:
        """Nothing: a registry asks when this is registered, and Redis is not needed for that."""
        return ()


def families(snapshot: Snapshot) -> Iterator[Family]:
    """Yield what a snapshot holds, as families of metrics."""
    for metric in OF_WORKER:
        name = metric.name.removesuffix("_total")  # the client library adds it to a counter
        family = metric.kind(name, metric.help, labels=["worker"])
        for report in snapshot.live:
            family.add_metric([report.worker], float(metric.of(report)))
        yield family
    for parts in OF_PARTS:
        family = GAUGE(parts.name, parts.help, labels=parts.labels)
        for labels, value in parts.of(snapshot):
            family.add_metric(labels, value)
        yield family
    for figures, metrics, span in (
        (snapshot.quality, OF_STREAM, MATURED),
        (snapshot.recent, OF_RECENT, RECENT),
    ):
        for figure in metrics:
            found = figure.of(figures) if figures.transactions else None
            if found is not None:
                yield GAUGE(figure.name, figure.help + span, value=found)


def serve(watcher: Watcher, host: str, port: int, stop: threading.Event) -> None:
    """Answer scrapes at ``http://host:port/metrics`` until `stop` is set.

    Raises `OSError` where the port cannot be had.
    """
    registry = CollectorRegistry()
    registry.register(Metrics(watcher))
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        stop.wait()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
