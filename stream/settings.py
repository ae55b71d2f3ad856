"""One frozen settings object, from the environment and flags."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stream.events import Transaction

Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


SECRETS = ("bus", "redis", "kafka_password", "redis_password", "dashboard_token")
"""Settings that are or may hold a secret."""
PASSWORDS = ("kafka_password", "redis_password", "dashboard_token")
"""Settings that have no flag: a flag is read by everyone on the machine (`ps`)."""
CREDENTIALS = (
    *("kafka_user", "kafka_password", "kafka_password_file", "kafka_sasl_mechanism"),
    *("kafka_ca_file", "kafka_cert_file", "kafka_key_file"),
    *("redis_password", "redis_password_file"),
    *("redis_ca_file", "redis_cert_file", "redis_key_file"),
)
"""Settings of who we are to Kafka and Redis, and whom we trust."""


_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_MAX_SEGMENTS = 8


class OwnError(ValueError):
    """What a user brought along cannot be found, is of the wrong kind, or has failed.

    That is a learner or features that a setting names.
    """


class Settings(BaseSettings):
    """Every setting of Weir. Each comes from a flag, else from `WEIR_<NAME>`, else its default.

    Secrets stay out of `repr` and of pickles: URLs, which may hold a password, and passwords.
    """

    model_config = SettingsConfigDict(
        env_prefix="WEIR_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    bus: str = Field(
        "sqlite:///.weir/bus.db",
        repr=False,
        description="kafka://HOST:PORT, kafkas://HOST:PORT for TLS, or sqlite:///FILE",
    )
    kafka_user: str | None = Field(None, description="user of SASL; none: no authentication")
    kafka_password: SecretStr | None = Field(
        None, description="its password; from the environment only"
    )
    kafka_password_file: Path | None = Field(None, description="file that holds its password")
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="how the password is proven; PLAIN over TLS only"
    )
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authorities trusted for Kafka; none: the system's"
    )
    kafka_cert_file: Path | None = Field(
        None, description="PEM file of the client's certificate, where the brokers want one"
    )
    kafka_key_file: Path | None = Field(
        None, description="PEM file of its key, without passphrase; none: it is in the same file"
    )
    redis: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="redis://[USER@]HOST:PORT/DB, rediss://... for TLS, or unix:///PATH",
    )
    redis_password: SecretStr | None = Field(
        None, description="password of its user; from the environment only"
    )
    redis_password_file: Path | None = Field(None, description="file that holds that password")
    redis_ca_file: Path | None = Field(
        None, description="PEM file of an authority trusted for Redis besides the system's"
    )
    redis_cert_file: Path | None = Field(
        None, description="PEM file of the client's certificate, where Redis wants one"
    )
    redis_key_file: Path | None = Field(
        None, description="PEM file of its key, without passphrase; none: it is in the same file"
    )
    dashboard_token: SecretStr | None = Field(
        None,
        description="what the web page asks of whoever marks alerts; from the environment only; "
        "none: made at its start",
    )
    dashboard_token_file: Path | None = Field(None, description="file that holds that token")
    group: str = Field("weir", description="consumer group of the workers")
    worker_id: str | None = Field(
        None, description="unique to a worker, stable over restarts; default: the host's name"
    )

    transactions_topic: str = Field("transactions", description="topic of transactions")
    labels_topic: str = Field("labels", description="topic of labels")
    alerts_topic: str = Field("alerts", description="topic of alerts")
    training_topic: str = Field("training", description="topic of examples: the training log")
    fits_topic: str = Field("fits", description="topic of trees fitted by one worker for all")
    dead_letters_topic: str = Field("dead-letters", description="topic of what could not be read")
    decisions_topic: str = Field(
        "decisions", description="topic of what each commit decided: scores and thresholds"
    )
    state_topic: str = Field("state", description="compacted topic of account state")
    partitions: Positive = Field(
        4, description="partitions of transactions and labels, when they are created"
    )
    max_message_bytes: Positive = Field(
        8_388_608, description="largest message the input topics take, when they are created"
    )

    key_field: Literal["nameDest", "nameOrig", "transaction_id"] = Field(
        "nameDest", description="field whose value is the key of a transaction and its label"
    )
    step_origin: AwareDatetime = Field(
        datetime(2026, 1, 1, tzinfo=UTC), description="event time of PaySim's step 0"
    )
    transaction_types: Annotated[tuple[str, ...], NoDecode] = Field(
        ("PAYMENT", "TRANSFER", "CASH_OUT", "CASH_IN", "DEBIT"),
        description="types with a feature of their own; others share one",
    )
    half_lives_hours: Annotated[tuple[float, ...], NoDecode] = Field(
        (1.0, 24.0, 168.0, 720.0),
        description="half-lives of account history, in hours of event time",
    )
    features: str | None = Field(
        None,
        description="features of your own: package.module:TABLE, a mapping of names to functions "
        "of a transaction",
    )
    max_accounts: Positive = Field(
        1_000_000,
        description="accounts with history per partition; the longest unseen fall out",
    )
    max_pending: Positive = Field(
        1_000_000,
        description="scored transactions that wait for a label, per partition; the oldest expire",
    )

    seed: Annotated[int, Field(ge=0)] = Field(
        7, description="seed of everything random in the learners"
    )
    learner: str = Field(
        "auto", description="auto, the name of a learner, or package.module:function of your own"
    )
    rebalance: Literal[
        "auto", "none", "under", "over", "hybrid", "weights", "smote", "borderline", "hard"
    ] = Field("auto", description="how the classes are balanced in what is learned")
    target_share: Share = Field(
        0.1, description="fraud share aimed at in what is learned; rebalance auto finds its own"
    )
    learning_budget_us: PositiveFloat | None = Field(
        None,
        description="processor time of learning per transaction, in microseconds, that a worker "
        "which is behind may take: it then draws fewer legitimate examples; none: no bound",
    )
    prior_half_life: PositiveFloat = Field(
        50_000, description="half-life of the class prior, in labels"
    )
    threshold: str = Field(
        "f_beta:1",
        description="threshold policy: f_beta:BETA, precision_at_least:P, recall_at_least:R, "
        "cost:FALSE_ALARM or alert_budget:COUNT[/PERIOD]",
    )
    review_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="share of the unflagged transactions that are ever labelled, where only alerts "
        "and a random sample (source `sample`) are",
    )
    alert_budget: PositiveFloat = Field(
        20, description="alerts per window that the budget allows until labels can decide"
    )

    window_seconds: Positive = Field(
        3600, description="length of a tumbling window of metrics, in event time"
    )
    segments: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="fields of a transaction, besides type and amount, by whose values the metrics "
        "of a window are counted, too, such as channel,country",
    )
    max_windows: Positive = Field(
        1_000, description="windows per partition kept open for late labels"
    )
    window_expiry_seconds: Positive = Field(
        40 * 86_400, description="how long a window report stays in Redis"
    )
    align_seconds: Positive = Field(
        600,
        description="event-time slice that keeps transactions and labels in step when catching up",
    )

    delivery: Literal["exactly-once", "at-least-once"] = Field(
        "exactly-once",
        description="on Kafka, whether what comes of a batch and its positions are committed as "
        "one, or one after the other: then alerts are out sooner, and where a worker dies in "
        "between, some come twice, with the same alert_id, and some labels are learned twice",
    )
    bus_patience_seconds: PositiveFloat = Field(
        300, description="how long a worker waits for a bus that is away before it ends"
    )
    max_ahead_days: PositiveFloat = Field(
        3650,
        description="an event further ahead of its publication is a dead letter: 1 where clocks "
        "are real, more where event time is simulated",
    )
    max_batch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        5_000, description="records handled at once, at most 10,000"
    )
    max_record_bytes: Positive = Field(
        65_536, description="a larger message is a dead letter, unread"
    )
    reject_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="share of unreadable messages beyond which the worker stops; 1: never"
    )
    reject_window: Positive = Field(
        20_000,
        description="messages over which that share is taken; until there are so many, from 1,000 "
        "on, all since the start",
    )
    state_dir: Path | None = Field(
        None,
        description="where a snapshot of the model is kept; none: it is rebuilt from the training "
        "log",
    )
    checkpoint_seconds: PositiveFloat = Field(30, description="time between snapshots")
    redis_prefix: str = Field("weir", description="prefix of every Redis key")
    log_format: Literal["text", "json"] = Field("text", description="format of the log on stderr")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least severe message logged"
    )

    def __getstate__(self) -> dict[Any, Any]:
        """Without addresses and passwords: the model's snapshot holds the settings it was made by.

        What is unpickled has their defaults instead.
        """
        state = super().__getstate__()
        fields = type(self).model_fields
        state["__dict__"] = state["__dict__"] | {name: fields[name].default for name in SECRETS}
        return state

    @field_validator("transaction_types", "half_lives_hours", "segments", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """A list in the environment or a flag is separated by commas."""
        return value.split(",") if isinstance(value, str) else value

    @field_validator("half_lives_hours", mode="after")
    @classmethod
    def _half_lives(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(0 < hours < 1e6 for hours in value):
            raise ValueError("at least one, each above 0")
        return value

    @field_validator("transaction_types", mode="after")
    @classmethod
    def _types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each once")
        return value

    @field_validator("segments", mode="after")
    @classmethod
    def _segments(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_FIELD.fullmatch(name) for name in value):
            raise ValueError("names of fields: letters, digits and underscores")
        if len({*value, "type", "amount"}) < len(value) + 2:
            raise ValueError("each once, without type and amount, which are always there")
        for name in value:
            if name in Transaction.model_fields or hasattr(Transaction, name):
                raise ValueError(f"{name} is a name of Weir's own and tells no groups apart")
            if name.lower().replace("_", "") == "isfraud":
                raise ValueError(f"{name} is the truth, and nothing that scores may see it")
        if len(value) > _MAX_SEGMENTS:
            raise ValueError(f"at most {_MAX_SEGMENTS}")
        return value

    @field_validator("step_origin", mode="after")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.astimezone(UTC)
