"""What a replay leaves in Redis: a report of its own, and its windows under a prefix of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from redis import Redis, RedisError

from stream.events import ChallengerReport, WindowReport
from stream.io.outbox import Outbox
from stream.io.redis_link import address, connect, explain
from stream.io.security import Security
from stream.io.store import Keys, StoreWriter

logger = logging.getLogger(__name__)

_AT_ONCE = 200


class ChallengerWriter:
    """Writes reports of one challenger; what an earlier one of its name has left is removed.

    Like `StoreWriter` it never blocks and never raises because of Redis, but for a moment at the
    beginning. All keys expire.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        name: str,
        *,
        expiry_seconds: int,
        security: Security | None = None,
    ) -> None:
        self._keys = Keys(prefix)
        self._where = address(url)
        self._expiry_seconds = expiry_seconds
        self._client = connect(url, security)
        self._name: str | None = name
        """Until what an earlier one of the name has left is gone."""
        try:
            self._forget()
        except (RedisError, OSError) as error:
            logger.warning("%s The replay goes on without it.", explain(error, self._where))
        self._windows = StoreWriter(
            url,
            self._keys.challenger(name),
            worker=f"challenger {name}",
            window_expiry_seconds=expiry_seconds,
            security=security,
        )
        self._outbox: Outbox[ChallengerReport] = Outbox(self._write, {"reports": 1}, self._describe)

    def put_windows(self, reports: Iterable[WindowReport]) -> None:
        """Have these reports written soon, under the challenger's own prefix."""
        self._windows.put_windows(reports)

    def put(self, report: ChallengerReport) -> None:
        """Have this written soon as how the challenger does."""
        self._outbox.put("reports", [(report.name, report)])

    def close(self, timeout_seconds: float) -> None:
        """Write what can be written within the timeout, and let go of Redis."""
        self._windows.close(timeout_seconds)
        self._outbox.close(timeout_seconds)
        self._client.close()

    def _write(self, reports: Sequence[ChallengerReport]) -> None:
        keys = self._keys
        self._forget()
        for report in reports:
            with self._client.pipeline(transaction=True) as pipe:
                key = keys.challenger(report.name)
                pipe.hset(key, mapping={"report": report.model_dump_json()})
                pipe.expire(key, self._expiry_seconds)
                pipe.zadd(keys.challengers, {report.name: report.reported_at.timestamp()})
                pipe.zremrangebyscore(keys.challengers, "-inf", time.time() - self._expiry_seconds)
                pipe.expire(keys.challengers, self._expiry_seconds)
                pipe.execute()

    def _forget(self) -> None:
        if self._name is not None:
            _forget(self._client, self._keys, self._name)
            self._name = None

    def _describe(self, error: Exception | None) -> str:
        if error is None:
            return f"Redis at {self._where} is back; the challenger reports again."
        return f"{explain(error, self._where)} The replay goes on; its report waits."


def _forget(client: Redis, keys: Keys, name: str) -> None:
    """Remove the report and the windows of a challenger."""
    own = Keys(keys.challenger(name))
    members = [str(member) for member in client.zrange(own.windows, 0, -1)]
    for at in range(0, len(members), _AT_ONCE):
        client.delete(*(own.window(member) for member in members[at : at + _AT_ONCE]))
    client.delete(own.windows, own.windows_expiry, keys.challenger(name))
    client.zrem(keys.challengers, name)
