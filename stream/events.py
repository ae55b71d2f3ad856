"""What travels: the events on the topics and the reports in Redis.

Values on the wire are JSON. Times are seconds since the Unix epoch in UTC where they are numbers
(`*_seconds`), ISO 8601 with an offset where they are text. Amounts are in the stream's currency.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_AMOUNT = 1e12
"""Amounts and balances beyond this are taken for errors."""

FIRST, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
MAX_SECONDS = END.timestamp()
"""Event times from here on, and before 1970, are taken for errors."""

MAX_BIN = 460
"""Bins of scores reach as far on either side (`core.windows.score_bin`)."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Amount = Annotated[float, Field(ge=0, le=MAX_AMOUNT, allow_inf_nan=False)]
Balance = Annotated[float, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT, allow_inf_nan=False)]
Feature = Annotated[float, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Moment = Annotated[AwareDatetime, Field(ge=FIRST, lt=END)]
Count = Annotated[int, Field(ge=0)]
Figure = Annotated[float, Field(allow_inf_nan=False)]
Bin = Annotated[int, Field(ge=-MAX_BIN, le=MAX_BIN)]
Source = Literal["chargeback", "analyst", "sample"]


class Event(BaseModel):
    """Base of what travels: immutable, strict about types, lenient about extra fields."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", ser_json_inf_nan="null", populate_by_name=True
    )

    version: Literal[1] = 1


class Transaction(Event):
    """A transaction as it asks for authorisation, under PaySim's names.

    Its event time is `timestamp`, or `step` hours after the step origin of the settings; one of
    them must be there. `newbalanceOrig` and `newbalanceDest` are carried but never scored: they are
    known only after the transaction. A field `isFraud`, if any, is dropped.
    """

    transaction_id: Identifier
    type: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    amount: Amount
    nameOrig: Identifier  # noqa: N815 - PaySim's name on the wire
    nameDest: Identifier  # noqa: N815
    step: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    timestamp: Moment | None = None
    oldbalanceOrg: Balance | None = None  # noqa: N815
    newbalanceOrig: Balance | None = None  # noqa: N815
    oldbalanceDest: Balance | None = None  # noqa: N815
    newbalanceDest: Balance | None = None  # noqa: N815

    @model_validator(mode="after")
    def _has_a_time(self) -> Transaction:
        if self.timestamp is None and self.step is None:
            raise PydanticCustomError("time_missing", "timestamp or step is required")
        return self

    def time_seconds(self, step_origin: datetime) -> float:
        """Event time in seconds since the epoch (UTC)."""
        return event_seconds(self.timestamp, self.step, step_origin)


class Label(Event):
    """What a transaction turned out to be, some time later."""

    transaction_id: Identifier
    is_fraud: bool
    labelled_at: Moment
    source: Source


class Reason(BaseModel):
    """Why a score is high: how far one feature moved it from the legitimate habit."""

    model_config = ConfigDict(frozen=True)

    feature: str
    value: float
    habit: float
    """What is usual for the feature among legitimate examples of the same type."""
    effect: float
    """Log-odds that the score loses when the feature and those that tell the same are set to their
    habit."""


class Activity(BaseModel):
    """One transaction of an account of an alert, before it."""

    model_config = ConfigDict(frozen=True)

    transaction_id: str
    timestamp: AwareDatetime
    """Event time."""
    type: str
    amount: float
    nameOrig: str  # noqa: N815
    nameDest: str  # noqa: N815
    score: float
    alerted: bool
    is_fraud: bool | None = None
    """What its label says; None: there is none yet."""


class Alert(Event):
    """A flagged transaction. `alert_id` is derived from the transaction id."""

    alert_id: str
    transaction_id: Identifier
    timestamp: AwareDatetime
    """Event time of the transaction."""
    decided_at: AwareDatetime
    """Wall time of the decision."""
    type: str
    amount: Amount
    nameOrig: Identifier  # noqa: N815
    nameDest: Identifier  # noqa: N815
    score: Score
    threshold: Score
    model_position: int
    """Position in the training log up to which the model had learned."""
    reasons: tuple[Reason, ...] = ()
    members: dict[str, Score] = {}
    """Probability of fraud by each member of the committee that had a vote."""
    weights: dict[str, float] = {}
    """Each member's share of the vote then."""
    activity: tuple[Activity, ...] = ()
    """What its accounts did lately, newest first, as far as its partition has seen it."""


class Example(Event):
    """A labelled transaction that may be learned: one record of the training log.

    `features` are those of the moment of scoring, `score` and `alerted` the decision then, `weight`
    is one over the probability with which the example was kept in the log.

    A transaction has a second example where a label contradicted the one before. A correction is
    always kept, so its weight is 1, and `corrects_weight` is the weight of what it takes the place
    of: 0 where the wrong verdict was thinned away and never in the log. It is absent elsewhere.
    """

    transaction_id: Identifier
    timestamp: Moment
    labelled_at: Moment
    source: Source
    is_fraud: bool
    score: Score
    alerted: bool
    amount: Amount
    weight: Annotated[float, Field(ge=1, le=1e9, allow_inf_nan=False)]
    corrects_weight: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    features: dict[str, Feature]


class Decided(Event):
    """What one commit of a worker did with a partition: one record of the decisions topic.

    Positions are next offsets, from and to: the records between were handled together. A
    transaction is flagged where its score is at least its threshold. Transactions that had been
    decided before, and what cannot be read, are not among them.
    """

    transactions: tuple[int, int]
    labels: tuple[int, int]
    decided_at: AwareDatetime
    transaction_ids: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    thresholds: tuple[Score, ...] = ()
    state: dict[str, float]
    """Figures of then: model position, fraud prior, sampling rate, learned share."""


class Segment(NamedTuple):
    """Counts of the part of a window whose transactions have one value of one field."""

    transactions: Count
    alerts: Count
    true_positives: Count
    false_positives: Count
    true_negatives: Count
    false_negatives: Count


class WindowReport(BaseModel):
    """Counts of one tumbling window of one partition, as far as its labels have come.

    Everything down to `histogram` is additive: the sum over partitions is the report of the
    whole stream. `core.windows.measure` turns counts into precision, recall and the rest.
    """

    model_config = ConfigDict(frozen=True)

    partition: Count
    start: AwareDatetime
    """Beginning of the window in event time."""
    seconds: Count
    transactions: Count
    alerts: Count
    labelled: Count
    """Transactions of this window whose label has come."""
    true_positives: Count
    false_positives: Count
    true_negatives: Count
    false_negatives: Count
    amount: Figure
    """Amount of all transactions; the three below are of labelled ones."""
    amount_caught: Figure
    amount_missed: Figure
    amount_false: Figure
    """Amount of legitimate transactions that were flagged."""
    score_sum: Figure
    """Sum of scores: the number of frauds that the scores announce."""
    alert_score_sum: Figure
    labelled_score_sum: Figure
    labelled_log_loss_sum: Figure
    """Sum of log losses in nats over labelled transactions."""
    histogram: dict[Bin, tuple[Count, Count, Count]]
    """Score bin to (scored, labelled legitimate, labelled fraud); see `core.windows.score_bin`."""
    fraud_amounts: dict[Bin, Figure] = {}
    """Score bin to the amount of labelled frauds in it."""
    segments: dict[str, dict[str, Segment]] = {}
    """By field (`type`, `amount`, those of the settings) and value."""
    threshold: Figure
    """Threshold in force at the window's last decision. Like the rest below, not additive."""
    fraud_prior: Figure
    sampling_rate: Figure
    learned_share: Figure
    """Share of frauds among what the learners were trained on lately."""
    model_position: Count


class Alarm(BaseModel):
    """Something that people should look at, as one worker sees it."""

    model_config = ConfigDict(frozen=True)

    name: str
    """One of `core.alarms`; with a subject, such as a feature's name, behind a colon."""
    since: AwareDatetime
    """Wall time at which it was raised."""
    figure: float
    limit: float
    """What the figure has passed."""
    cause: str
    """What is seen, with its figures, in a sentence."""
    look: str
    """What to look at, in a sentence."""


class Mark(BaseModel):
    """What an analyst said of an alert on the web page: for the others who look at it.

    What is learned, and counted, is the label that went to the labels topic with it.
    """

    model_config = ConfigDict(frozen=True)

    alert_id: str
    is_fraud: bool
    marked_at: AwareDatetime
    """Wall time."""
    labelled_at: AwareDatetime
    """That of the label, in the time of the stream."""


class LiveReport(BaseModel):
    """What one worker says of itself, now. Counts are since its start."""

    model_config = ConfigDict(frozen=True)

    worker: str
    reported_at: AwareDatetime
    started_at: AwareDatetime
    event_time: AwareDatetime | None
    """Event time of the newest transaction decided."""
    label_time: AwareDatetime | None = None
    """`labelled_at` of the newest label that met its transaction."""
    partitions: tuple[int, ...]
    transactions: int
    decisions: int
    duplicates: int
    alerts: int
    labels: int
    """Labels read from the topic; those below are parts of it."""
    labels_early: int
    """Came before their transaction and wait for it."""
    labels_unknown: int
    """Their transaction was never seen, or expired."""
    labels_repeated: int
    """Said again what is known, or what is known better by now."""
    labels_corrected: int = 0
    """Contradicted an older label of their transaction, and hold from then on."""
    examples: int
    """Examples this worker has published to the training log."""
    learned: int
    """Examples of the training log that this worker's model has learned from."""
    dead_letters: int
    pending: int
    pending_expired: int
    accounts: int
    accounts_evicted: int
    windows_closed: int
    """Windows that no longer take labels."""
    model_position: int
    threshold: float
    threshold_reason: str
    fraud_prior: float
    sampling_rate: float
    learned_share: float
    transactions_per_second: float
    latency_p50_ms: float
    latency_p99_ms: float
    """From publication of a transaction to the commit of its decision, over the last seconds."""
    lag: int
    """Records of the inputs not yet handled."""
    learning_us: float = 0.0
    """Processor time of learning per transaction, in microseconds, of late."""
    weights: dict[str, float] = {}
    """Each member's share of the vote."""
    alarms: tuple[Alarm, ...] = ()
    """Those that are raised now."""


class ChallengerReport(BaseModel):
    """What came of other settings over the same transactions (`weir replay`), as far as it is."""

    model_config = ConfigDict(frozen=True)

    name: str
    settings: dict[str, str]
    """Those that it has in place of the ones in force."""
    reported_at: AwareDatetime
    done: bool
    """Whether it has come to the end, or was told to stop."""
    graded_from: AwareDatetime | None
    """Event time from which transactions count; None: from the first."""
    event_time: AwareDatetime | None
    """Event time of the newest transaction decided once more."""
    in_force: dict[str, int | float | None]
    """Measures of what was decided, over exactly the transactions that the challenger decided."""
    challenger: dict[str, int | float | None]
    """The same of the challenger."""
    apart: dict[str, int | float]
    """What they disagree on, and how likely chance alone would part them so far: see
    `core.comparison.Disagreement`."""


def event_seconds(timestamp: datetime | None, step: int | None, step_origin: datetime) -> float:
    """Return the event time of a transaction, in seconds since the epoch (UTC).

    >>> event_seconds(None, 2, FIRST)
    7200.0
    """
    if timestamp is not None:
        return timestamp.timestamp()
    return step_origin.timestamp() + 3600.0 * (step or 0)


def alert_id(transaction_id: str) -> str:
    """Return the id of the alert of a transaction: the same whenever and by whomever it is made.

    >>> alert_id("T1")
    'alert-T1'
    """
    return f"alert-{transaction_id}"


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as an aware datetime in UTC.

    >>> utc(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC)


def logit(probability: float) -> float:
    """Log-odds of a probability, bounded to about ±23 so that 0 and 1 stay finite.

    >>> logit(0.5)
    0.0
    """
    p = min(max(probability, 1e-10), 1 - 1e-10)
    return math.log(p / (1 - p))
