"""What comes of a batch, as the messages that are committed with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np

from stream.core.decode import Reject
from stream.core.wire import Decided, Example, written
from stream.events import Alert, alert_id, utc
from stream.io.bus import Message, Record, TopicPartition
from stream.io.dead_letters import REPLAYED_FROM
from stream.io.intake import Outcome
from stream.settings import Settings


class Outputs:
    """Makes messages of outcomes. `clock` gives wall time in seconds."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock

    def alerts(self, outcome: Outcome, model_position: int) -> list[Alert]:
        """Return an alert for each transaction flagged."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        alerts = []
        for decisions in outcome.decisions.values():
            rows = np.flatnonzero(decisions.alerts).tolist()
            for row, why in zip(rows, decisions.why, strict=True):
                tx = decisions.transactions[row]
                alerts.append(
                    Alert(
                        alert_id=alert_id(tx.transaction_id),
                        transaction_id=tx.transaction_id,
                        timestamp=utc(float(decisions.times_seconds[row])),
                        decided_at=now,
                        type=tx.type,
                        amount=tx.amount,
                        nameOrig=tx.nameOrig,
                        nameDest=tx.nameDest,
                        score=float(decisions.scores[row]),
                        threshold=float(decisions.thresholds[row]),
                        model_position=model_position,
                        **why._asdict(),
                    )
                )
        return alerts

    def messages(
        self,
        outcome: Outcome,
        positions: Mapping[TopicPartition, int],
        state: Mapping[str, float],
    ) -> list[Message]:
        """Return what is published of an outcome besides alerts.

        `positions` are those of the inputs before it, `state` the figures of the model then.
        """
        return [
            *(self._dead_letter(record, reject) for record, reject in outcome.rejects),
            *map(self._example, outcome.examples),
            *self._decided(outcome, positions, state),
        ]

    def _decided(
        self,
        outcome: Outcome,
        positions: Mapping[TopicPartition, int],
        state: Mapping[str, float],
    ) -> list[Message]:
        settings, now = self._settings, datetime.fromtimestamp(self._clock(), UTC)
        messages = []
        for partition in {source.partition for source in outcome.positions}:
            spans = []
            for topic in (settings.transactions_topic, settings.labels_topic):
                source = TopicPartition(topic, partition)
                begin = positions[source]
                spans.append((begin, outcome.positions.get(source, begin)))
            found = outcome.decisions.get(partition)
            # Every value is one that was checked when it came, or computed here.
            decided = Decided(
                version=1,
                transactions=spans[0],
                labels=spans[1],
                decided_at=now,
                transaction_ids=[tx.transaction_id for tx in found.transactions] if found else [],
                scores=found.scores.tolist() if found else [],
                thresholds=found.thresholds.tolist() if found else [],
                state=dict(state),
            )
            messages.append(
                Message(settings.decisions_topic, None, written(decided), partition=partition)
            )
        return messages

    def alert(self, alert: Alert) -> Message:
        """Return an alert as it is published."""
        key = getattr(alert, self._settings.key_field).encode()
        return Message(self._settings.alerts_topic, key, alert.model_dump_json().encode())

    def _example(self, example: Example) -> Message:
        key = example.transaction_id.encode()
        return Message(self._settings.training_topic, key, written(example))

    def _dead_letter(self, record: Record, reject: Reject) -> Message:
        headers = {
            "reason": reject.reason,
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
        }
        return Message(
            self._settings.dead_letters_topic,
            record.key,
            record.value or b"",
            (
                *((name, text.encode()) for name, text in headers.items()),
                *(header for header in record.headers if header[0] == REPLAYED_FROM),
            ),
        )
