"""What an analyst says of an alert: a label on the labels topic, beside its transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime

from stream.events import Alert, Label, Mark
from stream.io.bus import Broker, Message
from stream.io.store import StoreReader, StoreUnavailable
from stream.settings import Settings
from stream.watch.snapshot import REAL_TIME

logger = logging.getLogger(__name__)


def label_time(now: datetime, times: Sequence[datetime]) -> datetime:
    """Return `labelled_at` of a label that is given now, in the time of the stream.

    `times` are those of its newest transactions and labels, as far as they are known.

    That is the clock, as for every other source of labels, where any of them is near it: others may
    come from clocks that are wrong. But where a stream is replayed or
    simulated, its time runs elsewhere: there it is that of the newest transaction or label. By the
    clock the label would hold against every correction for months, and hold up the labels behind
    it in its partition, which are handled in event-time order.

    >>> clock = datetime(2026, 11, 22, tzinfo=UTC)
    >>> label_time(clock, [datetime(2026, 1, 5, tzinfo=UTC)]).month
    1
    >>> ahead = datetime(2027, 11, 21, tzinfo=UTC)
    >>> label_time(clock, [datetime(2026, 11, 21, tzinfo=UTC), ahead]) == clock
    True
    """
    return now if any(abs(now - each) <= REAL_TIME for each in times) else max(times)


class Marking:
    """Publishes labels of analysts. The bus is not needed before the first.

    Each label has a publisher of its own, as a connection of the bus belongs to a thread; people
    mark few.
    """

    def __init__(
        self,
        settings: Settings,
        reader: StoreReader,
        broker: Callable[[], Broker],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._broker = broker
        self._clock = clock

    def mark(self, alert: Alert, *, is_fraud: bool) -> Mark:
        """Publish a label for the transaction of an alert, and remember that it was given.

        Raises `BusError` where it may not have arrived: then it may be given again.
        """
        settings, now = self._settings, self._clock()
        times = [alert.timestamp, *(newest.timestamp for newest in self._reader.alerts(1))]
        for report in self._reader.live():
            times += [each for each in (report.event_time, report.label_time) if each]
        label = Label(
            transaction_id=alert.transaction_id,
            is_fraud=is_fraud,
            labelled_at=label_time(now, times),
            source="analyst",
        )
        key = getattr(alert, settings.key_field).encode()
        with closing(self._broker().publisher()) as publisher:
            publisher.publish(
                [Message(settings.labels_topic, key, label.model_dump_json().encode())]
            )
            publisher.flush()
        logger.info(
            "Alert %r was marked %s.", alert.alert_id, "fraud" if is_fraud else "legitimate"
        )
        mark = Mark(
            alert_id=alert.alert_id,
            is_fraud=is_fraud,
            marked_at=now,
            labelled_at=label.labelled_at,
        )
        try:
            self._reader.put_mark(mark, settings.window_expiry_seconds)
        except StoreUnavailable as error:  # the label is what counts, and it is out
            logger.warning("That alert %r was marked is not shown: %s", alert.alert_id, error)
        return mark
