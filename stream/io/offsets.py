"""Offsets of a Kafka group at least once: on their way, and seen to."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping
from threading import Event
from typing import Any

from stream.io.cluster import Client

OFFSETS_SECONDS = 0.1
"""Between two times that offsets are sent: whatever stands in them, each takes 0.8 ms of processor
time."""
_ON_THEIR_WAY = 3
"""Times that offsets were sent which the next one does not wait for: kafka-python's connection
takes five requests, and heartbeats go there, too."""


class Offsets:
    """Those that a group consumer has handed over, until the group has them.

    They never go back, and none is sent while the group shares out partitions, as it would be
    refused: who is told that some go has to `send` before they are gone.

    Parameters
    ----------
    group
        kafka-python's consumer, which has subscribed.
    """

    def __init__(self, group: Client) -> None:
        self._group = group
        self._unsent: dict[Any, Any] = {}
        self._sent: deque[_Sent] = deque()
        self._sent_at = float("-inf")

    def put(self, offsets: Mapping[Any, Any]) -> None:
        """Take offsets, to be sent when it is time."""
        self._unsent |= offsets
        self.send_in_time()

    def send_in_time(self) -> None:
        """Send what is due: ten times a second, and before a poll that may let partitions go."""
        due = time.monotonic() >= self._sent_at + OFFSETS_SECONDS
        if due or self._group._coordinator.need_rejoin():
            self.send()

    def send(self) -> Any:
        """Send offsets, if there are any and the group takes them; a future of it, or None."""
        coordinator = self._group._coordinator
        if not self._unsent or not coordinator.stable() or coordinator.coordinator_unknown():
            return None
        future = self._group.commit_async(self._unsent)
        self._sent.append(_Sent(self._unsent, future))
        self._unsent = {}
        self._sent_at = time.monotonic()
        return future

    def leave(self, partitions: Collection[int]) -> None:
        """Let go of partitions that went: others may be further there."""
        for offsets in (self._unsent, *(sent.offsets for sent in self._sent)):
            for at in [at for at in offsets if at.partition in partitions]:
                del offsets[at]

    def arrive(self, seconds: float) -> None:
        """Return when what is handed over is there, or did not come through."""
        self.send()
        for sent in self._sent:
            sent.arrived(seconds)

    def settle(self, seconds: float) -> None:
        """Return when all that is handed over is there. Raises `KafkaError`.

        While the group shares out partitions, what is not sent yet stays.
        """
        self.send()
        self.see_to(seconds, but=0)
        if self._unsent and self._group._coordinator.stable():  # the coordinator is looked for
            self._group.commit(self._unsent, timeout_ms=seconds * 1000)
            self._unsent = {}

    def see_to(self, seconds: float, *, but: int = _ON_THEIR_WAY) -> None:
        """Wait for offsets that were sent, all but the last so many times; commit those that
        failed. Raises `KafkaError`."""
        while self._sent and (len(self._sent) > but or self._sent[0].over):
            sent = self._sent.popleft()
            if sent.arrived(seconds):
                continue
            for later in (*(each.offsets for each in self._sent), self._unsent):
                sent.leave_to(later)  # or they would go back
            if sent.offsets:
                self._group.commit(sent.offsets, timeout_ms=seconds * 1000)

    def clear(self) -> None:
        """Forget all of them."""
        self._unsent = {}
        self._sent.clear()


class _Sent:
    """Offsets that are on their way to the group."""

    def __init__(self, offsets: dict[Any, Any], future: Any) -> None:
        self.offsets = dict(offsets)
        """Those to commit again should they not arrive."""
        self._future = future
        self._over = Event()
        future.add_both(lambda _: self._over.set())

    @property
    def over(self) -> bool:
        """Whether it is known what became of them."""
        return self._over.is_set()

    def leave_to(self, later: Mapping[Any, Any]) -> None:
        """Let go of those that were handed over once more since."""
        for at in self.offsets.keys() & later.keys():
            del self.offsets[at]

    def arrived(self, timeout_seconds: float) -> bool:
        """Whether they are committed, as soon as that is known."""
        return self._over.wait(timeout_seconds) and self._future.exception is None
