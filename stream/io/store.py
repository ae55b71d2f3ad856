"""Redis: window reports, live reports and the newest alerts, for people to watch.

Writing never blocks and never raises because of Redis; what is written is overwritten as a whole,
never incremented, so a replay cannot count twice. Everything read back is validated.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from redis import RedisError

from stream.core.windows import measure
from stream.events import Alert, ChallengerReport, LiveReport, Mark, WindowReport, utc
from stream.io.outbox import Outbox
from stream.io.redis_link import (
    StoreError,
    StoreRefused,
    StoreUnavailable,
    address,
    connect,
    explain,
    trouble,
)
from stream.io.security import Security

__all__ = [
    "Keys",
    "StoreError",
    "StoreReader",
    "StoreRefused",
    "StoreUnavailable",
    "StoreWriter",
    "address",
]

logger = logging.getLogger(__name__)

LIVE_EXPIRY_SECONDS = 60
"""How long a live report outlives its worker."""
NEWEST_ALERTS = 500
"""How many alerts Redis holds; all of them are on the alerts topic."""

_TRIM_SECONDS = 60.0
_AT_ONCE = 200
_JSON_FIELDS = {"histogram", "fraud_amounts", "segments", "partitions", "weights", "alarms"}

Report = TypeVar("Report", bound=BaseModel)


class Keys(NamedTuple):
    """Every key of Weir in Redis. Times in scores are seconds since the epoch (UTC).

    Built of commands that Redis 6.2 has. Every key expires, so that nothing stays of a stream that
    is gone: windows and alerts `window_expiry_seconds` after they were last written.
    """

    prefix: str

    @property
    def windows(self) -> str:
        """ZSET `weir:windows`: "PARTITION:START" by the window's start in event time."""
        return f"{self.prefix}:windows"

    @property
    def windows_expiry(self) -> str:
        """ZSET `weir:windows:expiry`: the same members by when their hash expires (wall time)."""
        return f"{self.prefix}:windows:expiry"

    def window(self, member: str) -> str:
        """HASH `weir:window:PARTITION:START`: the `WindowReport` by field, and its measures.

        A measure that is not defined (precision without a labelled alert) has no field.
        """
        return f"{self.prefix}:window:{member}"

    @property
    def workers(self) -> str:
        """ZSET `weir:workers`: worker ids by when they last reported (wall time)."""
        return f"{self.prefix}:workers"

    def live(self, worker: str) -> str:
        """HASH `weir:live:WORKER`: the `LiveReport` by field; gone a minute after the worker."""
        return f"{self.prefix}:live:{worker}"

    @property
    def alerts(self) -> str:
        """HASH `weir:alerts`: alert id to the alert as on the alerts topic (JSON)."""
        return f"{self.prefix}:alerts"

    @property
    def alerts_newest(self) -> str:
        """ZSET `weir:alerts:newest`: alert ids by when they were decided (wall time)."""
        return f"{self.prefix}:alerts:newest"

    def mark(self, alert_id: str) -> str:
        """STRING `weir:mark:ALERT`: what an analyst said of it on the web page (JSON)."""
        return f"{self.prefix}:mark:{alert_id}"

    @property
    def challengers(self) -> str:
        """ZSET `weir:challengers`: names of replays by when they last reported (wall time)."""
        return f"{self.prefix}:challengers"

    def challenger(self, name: str) -> str:
        """HASH `weir:challenger:NAME`: in its one field `report` the `ChallengerReport` (JSON).

        It is also the prefix of the keys that hold the challenger's windows.
        """
        return f"{self.prefix}:challenger:{name}"

    @property
    def probe(self) -> str:
        """STRING `weir:probe`: written by `weir check`, gone after ten seconds."""
        return f"{self.prefix}:probe"


def window_member(report: WindowReport) -> str:
    """Return the name of a window in keys: partition and start in seconds."""
    return f"{report.partition}:{int(report.start.timestamp())}"


class StoreWriter:
    """Writes reports to Redis from a thread of its own; Redis may be away as long as it likes.

    Reports wait by key, so the latest of a window replaces the one before. Up to `max_waiting`
    windows wait; the one that has waited longest falls out and is counted in `dropped`. When Redis
    has lost its data (a restart without persistence), `losses` grows.

    Parameters
    ----------
    url, prefix
        Where Redis is, and what every key begins with.
    worker
        Who writes; named in the log.
    window_expiry_seconds
        How long a window and the alerts stay after they were last written.
    max_waiting
        How many windows may wait for Redis.
    security
        Password and certificates, where the address needs any besides.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        worker: str,
        window_expiry_seconds: int,
        max_waiting: int = 4_000,
        security: Security | None = None,
    ) -> None:
        self._where = address(url)
        self._keys = Keys(prefix)
        self._worker = worker
        self._expiry_seconds = window_expiry_seconds
        self._client = connect(url, security)
        self._trim_at = 0.0
        self._wrote_windows = False
        self.losses = 0
        """How often Redis was found empty of windows: whoever has them should put all again."""
        self._outbox: Outbox[BaseModel] = Outbox(
            self._write,
            {"windows": max_waiting, "live": 1, "alerts": NEWEST_ALERTS},
            self._describe,
        )

    def put_windows(self, reports: Iterable[WindowReport]) -> None:
        """Have these reports written soon, each in place of what was there of its window."""
        self._outbox.put("windows", ((window_member(report), report) for report in reports))

    def put_live(self, report: LiveReport) -> None:
        """Have this written soon as what its worker says of itself now."""
        self._outbox.put("live", [(report.worker, report)])

    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        """Have these written soon among the newest alerts.

        Not counted when they fall out: there are as many waiting as Redis would hold.
        """
        self._outbox.put("alerts", ((alert.alert_id, alert) for alert in alerts))

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return self._outbox.healthy

    @property
    def waiting(self) -> int:
        """How many windows, alerts and live reports wait to be written."""
        return self._outbox.waiting

    @property
    def dropped(self) -> int:
        """How many window reports fell out of the waiting set, never written."""
        return self._outbox.dropped["windows"]

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything is written; False when it is not within the timeout."""
        return self._outbox.flush(timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Write what can be written within the timeout, and let go of Redis."""
        left = self._outbox.close(timeout_seconds)
        if left:
            logger.warning("%d reports of %s were not written to Redis.", left, self._worker)
        self._client.close()

    def _describe(self, error: Exception | None) -> str:
        if error is None:
            return (
                f"Redis at {self._where} is back; {self._worker} writes its reports again "
                f"({self.dropped} windows were dropped since its start)."
            )
        return (
            f"{explain(error, self._where)} "
            f"Scoring goes on; reports of {self._worker} wait for Redis, within bounds."
        )

    def _write(self, reports: Sequence[BaseModel]) -> None:
        if self._wrote_windows and not self._client.exists(self._keys.windows):
            self._wrote_windows = False
            self.losses += 1
        self._write_windows([report for report in reports if isinstance(report, WindowReport)])
        self._write_live([report for report in reports if isinstance(report, LiveReport)])
        self._write_alerts([report for report in reports if isinstance(report, Alert)])
        self._trim_windows()

    def _write_windows(self, reports: Sequence[WindowReport]) -> None:
        if not reports:
            return
        keys, members = self._keys, [window_member(report) for report in reports]
        expires_at = time.time() + self._expiry_seconds
        with self._client.pipeline(transaction=True) as pipe:
            for member, report in zip(members, reports, strict=True):
                pipe.delete(keys.window(member))
                fields = _fields({**measure([report]).asdict(), **report.model_dump(mode="json")})
                pipe.hset(keys.window(member), mapping=fields)
                pipe.expire(keys.window(member), self._expiry_seconds)
            starts = (report.start.timestamp() for report in reports)
            pipe.zadd(keys.windows, dict(zip(members, starts, strict=True)))
            pipe.zadd(keys.windows_expiry, dict.fromkeys(members, expires_at))
            pipe.expire(keys.windows, self._expiry_seconds)
            pipe.expire(keys.windows_expiry, self._expiry_seconds)
            pipe.execute()
        self._wrote_windows = True

    def _trim_windows(self) -> None:
        """Take the expired out of the index.

        The two sorted sets are intersected in one transaction, so that a window written by another
        worker in between is not lost. By wall time: event time may be years ago.
        """
        if time.monotonic() < self._trim_at:
            return
        keys = self._keys
        with self._client.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(keys.windows_expiry, "-inf", time.time())
            pipe.zinterstore(keys.windows, {keys.windows: 1.0, keys.windows_expiry: 0.0})
            pipe.expire(keys.windows, self._expiry_seconds)
            pipe.execute()
        self._trim_at = time.monotonic() + _TRIM_SECONDS

    def _write_live(self, reports: Sequence[LiveReport]) -> None:
        keys = self._keys
        for report in reports:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.delete(keys.live(report.worker))
                pipe.hset(keys.live(report.worker), mapping=_fields(report.model_dump(mode="json")))
                pipe.expire(keys.live(report.worker), LIVE_EXPIRY_SECONDS)
                pipe.zadd(keys.workers, {report.worker: report.reported_at.timestamp()})
                # Long after the report itself: the clocks of workers need not agree.
                pipe.zremrangebyscore(keys.workers, "-inf", time.time() - 3600)
                pipe.expire(keys.workers, self._expiry_seconds)
                pipe.execute()

    def _write_alerts(self, alerts: Sequence[Alert]) -> None:
        if not alerts:
            return
        keys = self._keys
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.alerts, mapping={a.alert_id: a.model_dump_json() for a in alerts})
            decided = {alert.alert_id: alert.decided_at.timestamp() for alert in alerts}
            pipe.zadd(keys.alerts_newest, decided)
            pipe.expire(keys.alerts, self._expiry_seconds)
            pipe.expire(keys.alerts_newest, self._expiry_seconds)
            pipe.zrange(keys.alerts_newest, 0, -NEWEST_ALERTS - 1)
            oldest = pipe.execute()[-1]
        if oldest:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.hdel(keys.alerts, *oldest)
                pipe.zrem(keys.alerts_newest, *oldest)
                pipe.execute()


class StoreReader:
    """Reads what workers have written.

    Raises `StoreUnavailable` when Redis does not answer, `StoreRefused` when it does not let us.

    What does not fit (written by another version of Weir, or by someone else) is left out, counted
    in `unreadable` and logged once.
    """

    def __init__(self, url: str, prefix: str, security: Security | None = None) -> None:
        self.url = address(url)
        """Where it is, without any secret: safe to print."""
        self.unreadable = 0
        self._keys = Keys(prefix)
        self._client = connect(url, security)

    def windows(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> list[WindowReport]:
        """Return the reports of windows that start in [since, until), oldest first."""
        least = "-inf" if since is None else repr(since.timestamp())
        below = "+inf" if until is None else f"({until.timestamp()!r}"
        names = list(WindowReport.model_fields)
        rows: list[Mapping[str, str]] = []
        with self._available():
            members: Any = self._client.zrangebyscore(self._keys.windows, least, below)
            for at in range(0, len(members), _AT_ONCE):
                with self._client.pipeline(transaction=False) as pipe:
                    for member in members[at : at + _AT_ONCE]:
                        pipe.hmget(self._keys.window(member), names)
                    rows += [
                        {n: v for n, v in zip(names, values, strict=True) if v is not None}
                        for values in pipe.execute()
                    ]
        reports = self._valid(WindowReport, rows)
        return sorted(reports, key=lambda report: (report.start, report.partition))

    def span(self) -> tuple[datetime, datetime] | None:
        """Return when the first and the last window there start; None where there is none."""
        with self._available():
            first: Any = self._client.zrange(self._keys.windows, 0, 0, withscores=True)
            last: Any = self._client.zrange(self._keys.windows, -1, -1, withscores=True)
        return (utc(first[0][1]), utc(last[0][1])) if first and last else None

    def start_of(self, count: int) -> datetime | None:
        """Return the start from which on there are so many window reports; None: there are not."""
        with self._available():
            found: Any = self._client.zrevrange(
                self._keys.windows, count - 1, count - 1, withscores=True
            )
        return utc(found[0][1]) if found else None

    def live(self) -> list[LiveReport]:
        """Return what each worker said of itself within the last minute, by worker."""
        with self._available():
            workers: Any = self._client.zrange(self._keys.workers, 0, -1)
            with self._client.pipeline(transaction=False) as pipe:
                for worker in sorted(workers):
                    pipe.hgetall(self._keys.live(worker))
                rows = pipe.execute()
        return self._valid(LiveReport, rows)

    def alerts(self, limit: int) -> list[Alert]:
        """Return the newest alerts, newest first, at most `limit` of them."""
        if limit <= 0:
            return []
        with self._available():
            ids: Any = self._client.zrevrange(self._keys.alerts_newest, 0, limit - 1)
            texts: Any = self._client.hmget(self._keys.alerts, ids) if ids else []
        alerts = []
        for text in texts:
            if text is not None:
                with self._readable(Alert):
                    alerts.append(Alert.model_validate_json(text))
        return alerts

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert of the newest, None where it is not among them."""
        with self._available():
            texts: Any = self._client.hmget(self._keys.alerts, [alert_id])
        for text in texts:
            if text is not None:
                with self._readable(Alert):
                    return Alert.model_validate_json(text)
        return None

    def marks(self, alert_ids: Sequence[str]) -> dict[str, Mark]:
        """Return what analysts said of these alerts, by alert id."""
        if not alert_ids:
            return {}
        with self._available():
            texts: Any = self._client.mget([self._keys.mark(each) for each in alert_ids])
        marks = {}
        for alert_id, text in zip(alert_ids, texts, strict=True):
            if text is not None:
                with self._readable(Mark):
                    marks[alert_id] = Mark.model_validate_json(text)
        return marks

    def put_mark(self, mark: Mark, expiry_seconds: int) -> None:
        """Have others see what an analyst said, until it expires; in place of what was said."""
        with self._available():
            key = self._keys.mark(mark.alert_id)
            self._client.set(key, mark.model_dump_json(), ex=expiry_seconds)

    def challengers(self) -> list[ChallengerReport]:
        """Return what replays have reported (`weir replay`), by name; their windows are elsewhere.

        Those have `Keys.challenger(name)` for a prefix.
        """
        with self._available():
            names: Any = self._client.zrange(self._keys.challengers, 0, -1)
            with self._client.pipeline(transaction=False) as pipe:
                for name in sorted(names):
                    pipe.hmget(self._keys.challenger(name), ["report"])
                texts = [text for (text,) in pipe.execute()]
        reports = []
        for text in texts:
            if text is not None:
                with self._readable(ChallengerReport):
                    reports.append(ChallengerReport.model_validate_json(text))
        return reports

    def ping(self) -> None:
        """Return when Redis answers; raise `StoreUnavailable` when it does not."""
        with self._available():
            self._client.ping()

    def probe(self) -> None:
        """Return when Redis takes writes; raise `StoreUnavailable` when it does not."""
        with self._available():
            self._client.set(self._keys.probe, "", ex=10)

    def close(self) -> None:
        self._client.close()

    def _valid(self, kind: type[Report], rows: Iterable[Mapping[str, str]]) -> list[Report]:
        reports = []
        for row in rows:
            if row:  # an empty hash has expired
                with self._readable(kind):
                    reports.append(kind.model_validate(_values(kind, row)))
        return reports

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise trouble(error, self.url) from None

    @contextlib.contextmanager
    def _readable(self, kind: type[BaseModel]) -> Iterator[None]:
        try:
            yield
        except (ValueError, RecursionError) as error:
            fields = (
                {str(e["loc"][0]) for e in error.errors() if e["loc"]}
                if isinstance(error, ValidationError)
                else set()
            )
            if not self.unreadable:
                logger.warning(
                    "A %s under %s in Redis at %s does not fit (%s) and is left out: another "
                    "version of Weir wrote it? Use a prefix of its own (WEIR_REDIS_PREFIX).",
                    kind.__name__,
                    self._keys.prefix,
                    self.url,
                    ", ".join(sorted(fields)) or "not JSON",
                )
            self.unreadable += 1


def _fields(values: Mapping[str, Any]) -> dict[Any, Any]:
    """Values as fields of a hash: text and numbers plain, the rest JSON, None left out."""
    return {
        name: json.dumps(value, separators=(",", ":")) if name in _JSON_FIELDS else value
        for name, value in values.items()
        if value is not None
    }


def _values(kind: type[BaseModel], row: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a hash as pydantic takes them: what is missing and has no default is None."""
    missing = {name for name, of in kind.model_fields.items() if of.is_required()} - row.keys()
    values: dict[str, Any] = {**row, **dict.fromkeys(missing)}
    for name in _JSON_FIELDS & row.keys():
        values[name] = json.loads(row[name])
    return values
