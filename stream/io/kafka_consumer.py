"""A worker's membership in a Kafka consumer group, whose commits are Kafka transactions.

Two kafka-python consumers work together. The *group* consumer subscribes to the first input, so the
group shares out that topic's partitions. The *follower* never joins: it reads the same partition
numbers of the other inputs, which therefore stay with their transactions. The positions of all
inputs are committed under the group.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaProducer, OffsetAndMetadata
from kafka import TopicPartition as KafkaPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    FencedInstanceIdError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFencedError,
)

from stream.io.bus import BusError, CommitLost, Message, Record, TopicPartition
from stream.io.cluster import (
    REQUEST_SECONDS,
    Client,
    Cluster,
    Ends,
    Topic,
    abandon,
    library,
    pause,
    records,
    send_together,
)
from stream.io.offsets import Offsets

log = logging.getLogger(__name__)

COMMIT_SECONDS = 30.0
"""How long each step of a commit may take. Less than the transaction's own time-out, a minute."""
SESSION_SECONDS = 10.0
"""A member that has not been heard of for this long is replaced by the others."""
_CLOSE_SECONDS = 5.0
"""How long a member that ends waits for offsets on their way: without, a batch comes again."""
_WAIT_MS = 50
_FOLLOW_SECONDS = 0.02
"""Between two polls of the follower, once it has all there is. Each poll costs a millisecond."""
_FRESH_MS = 5
"""How long a poll that has something waits for what came after that."""
_STAND_ASIDE_SECONDS = 50e-6
"""After outputs are handed to kafka-python's thread: it gets the interpreter now, and they are out,
where otherwise it waits for five milliseconds, or for this thread to wait for something."""
_PLENTY = 500
"""Where the group has so many records at once, it is behind, and what it has is enough."""
_FOLLOWED_AT_ONCE = 200
"""Records of the other inputs that a poll returns at least, where they are there. While the group
gives some, it returns a quarter more than those at most: what comes meanwhile waits for all that
has piled up in a pause."""
_IDLE_SECONDS = 0.1
"""A group that has given nothing for so long gives none for now."""


class KafkaGroupConsumer:
    """One member of the group. See `stream.io.bus.Consumer`.

    A poll that changes the assignment returns no records, and partitions it has given begin at
    their committed positions in the next one.
    """

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        member: str,
        inputs: Sequence[str],
        *,
        exactly_once: bool = True,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", member):
            raise BusError(
                f"{member!r} is no name for a worker. Use letters, digits and . _ - only."
            )
        self.mark = 1 if exactly_once else 0
        self._exactly_once = exactly_once
        self._cluster = cluster
        self._group_name = group
        self._member = member
        self._inputs = tuple(inputs)
        self._outputs: dict[str, Topic] = {}
        self._assignment: frozenset[int] = frozenset()
        self._lost: set[int] = set()
        self._follower_first = False
        self._behind = False
        """Whether the group had plenty in the last poll."""
        self._followed_at_once = _FOLLOWED_AT_ONCE
        self._follows_at = self._gave_at = 0.0
        self._ahead: list[Message] = []
        """Outputs handed over ahead of a commit, which go out with it."""
        self._out: list[Any] = []
        """Or the futures of their places, where they are out."""
        self._fenced: str | None = None
        self._closed = False
        self._producer: Client | None = None
        self._check_inputs()
        clients: list[Client] = []
        try:
            # First of all, because this is what fences a former consumer of the same member.
            self._producer = self._opened()
            self._group = cluster.consumer(
                group_id=group,
                # A static member: whoever comes back under the name has its partitions at once.
                group_instance_id=member,
                client_id=member,
                partition_assignment_strategy=[CooperativeStickyAssignor],
                session_timeout_ms=int(SESSION_SECONDS * 1000),
                heartbeat_interval_ms=1000,  # it is how members learn that others came or left
            )
            clients.append(self._group)
            self._offsets = Offsets(self._group)
            self._follower = cluster.consumer(group_id=group, client_id=member)
            clients.append(self._follower)
            self._subscribe()
        except BaseException:
            for client in clients:
                client.close(autocommit=False)
            if self._producer is not None:
                abandon(self._producer)
            raise
        self._group_ends = Ends(cluster, self._group)
        self._follower_ends = Ends(cluster, self._follower)

    def _check_inputs(self) -> None:
        counts = {
            name: topic.partitions for name, topic in self._cluster.describe(self._inputs).items()
        }
        if len(set(counts.values())) != 1:
            found = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise BusError(
                f"All inputs must have the same number of partitions, but have {found}. "
                "Create them anew with one number."
            )

    def _subscribe(self) -> None:
        self._group.subscribe([self._inputs[0]], listener=_Listener(self._lost, self._offsets))
        # kafka-python can lose the request for what it subscribed to behind one that is on its way.
        # As leader of the group it would share out a topic that it believes to have no partitions,
        # and notice after minutes. This asks until the partitions are known.
        deadline = time.monotonic() + REQUEST_SECONDS
        with self._cluster.explained():
            while not self._group.partitions_for_topic(self._inputs[0]):
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"no partitions of {self._inputs[0]} are known")
                time.sleep(0.05)

    def _opened(self) -> Client:
        """A producer of its own: with transactions, unless at least once is enough."""
        if not self._exactly_once:
            return self._cluster.producer(client_id=self._member)
        producer = self._cluster.producer(
            _Transactions,
            transactional_id=f"{self._group_name}/{self._member}",
            client_id=self._member,
            # The broker still writes the markers of one transaction when the next begins and asks
            # to come back; kafka-python then sleeps for this long.
            retry_backoff_ms=5,
        )
        try:
            with self._cluster.explained(f"{self._group_name}/{self._member}"):
                producer.init_transactions()
        except BusError:
            abandon(producer)
            raise
        return producer

    def poll(
        self,
        max_records: int,
        timeout_seconds: float,
        skip: Collection[TopicPartition] = (),
    ) -> list[Record]:
        self._raise_if_fenced()
        for consumer in (self._group, self._follower):
            pause(consumer, skip)
        deadline = time.monotonic() + timeout_seconds
        while True:
            wait_ms = max(0.0, min(_WAIT_MS, (deadline - time.monotonic()) * 1000))
            polled: list[Record] = []
            try:
                with self._cluster.explained():
                    self._offsets.send_in_time()
                    self._fetch(polled, max_records, wait_ms)
                    changed = self._follow()
            except BaseException as error:
                self._give_back(polled)
                if isinstance(error.__cause__, FencedInstanceIdError):
                    self._fence()
                    self._raise_if_fenced()
                raise
            if changed:
                self._give_back(polled)
                return []
            if polled or time.monotonic() >= deadline:
                return polled

    def _fetch(self, polled: list[Record], max_records: int, wait_ms: float) -> None:
        """Take what both consumers have fetched; where that is nothing, wait a moment for more."""
        waiting = bool(self._group.paused())
        # In turn, so that neither starves while the other has plenty.
        turns = [False, True] if self._follower_first else [True, False]
        self._follower_first = not self._follower_first
        of_group = 0
        for is_group in turns:
            room = max_records - len(polled)
            if is_group and room:
                polled += (found := records(self._poll_group(0, room)))
                of_group = len(found)
            elif room and self._follower.assignment() and time.monotonic() >= self._follows_at:
                # Labels of a moment are not to hold up the transactions that come meanwhile.
                room = room if waiting else min(room, self._followed_at_once)
                polled += records(self._poll_follower(0, room))
        was_behind, self._behind = self._behind, of_group >= min(_PLENTY, max_records)
        room = max_records - len(polled)
        fresh: list[Record] = []
        if not polled and wait_ms:
            fresh = records(self._poll_group(wait_ms, max_records))
        elif polled and room and not (waiting or was_behind or self._behind):
            # They were fetched just after the poll before. What has come since is asked for now.
            fresh = records(self._poll_group(_FRESH_MS, room))
        polled += fresh
        now = time.monotonic()
        if gave := of_group + len(fresh):
            self._gave_at = now
            self._followed_at_once = max(_FOLLOWED_AT_ONCE, gave + gave // 4)
        elif now > self._gave_at + _IDLE_SECONDS:  # more at a time: labels may come in bulk
            more = 2 * self._followed_at_once
            self._followed_at_once = min(more, max(max_records, _FOLLOWED_AT_ONCE))

    def _poll_follower(self, wait_ms: float, max_records: int) -> Any:
        found = self._follower.poll(wait_ms, max_records)
        if sum(map(len, found.values())) < _PLENTY and self._all_followed():
            self._follows_at = time.monotonic() + _FOLLOW_SECONDS
        return found

    def _all_followed(self) -> bool:
        """Whether nothing more is known of than the follower has returned."""
        return all(
            self._follower.highwater(at) == self._follower.position(at)
            for at in self._follower.assignment()
        )

    def _poll_group(self, wait_ms: float, max_records: int) -> Any:
        # A poll that ends while the group is still joining leaves the answer for the next one, but
        # kafka-python throws away an answer that came in between and joins anew, which makes all
        # others join anew. Members that are busy between polls would never agree.
        coordinator = self._group._coordinator
        if coordinator._join_task is not None:
            coordinator._join_task = _Unread(coordinator._join_task)
        return self._group.poll(wait_ms, max_records)

    def _give_back(self, polled: list[Record]) -> None:
        """Let the next poll return these again."""
        first: dict[TopicPartition, int] = {}
        for record in polled:
            first.setdefault(TopicPartition(record.topic, record.partition), record.offset)
        for source, offset in first.items():
            consumer = self._consumer_of(source)
            if KafkaPartition(*source) in consumer.assignment():
                consumer.seek(KafkaPartition(*source), offset)

    def _follow(self) -> bool:
        """Take over what the group has given and taken in this poll; whether that is anything."""
        owned = frozenset(at.partition for at in self._group.assignment())
        lost = self._assignment - owned | self._assignment & self._lost
        self._lost.clear()
        # What was lost is let go even where it came back at once: others may have worked on it in
        # between, so the caller has to see it go. The next poll gives it again.
        target = self._assignment - lost if lost else owned
        self._offsets.leave(lost)
        if target == self._assignment:
            return False
        positions = self._beginnings(target - self._assignment)
        self._follower.assign(
            [KafkaPartition(name, at) for name in self._inputs[1:] for at in sorted(target)]
        )
        for source, position in positions.items():
            self._consumer_of(source).seek(KafkaPartition(*source), position)
        self._assignment = target
        log.info("%s of %s owns partitions %s", self._member, self._group_name, sorted(target))
        return True

    def _beginnings(self, partitions: frozenset[int]) -> dict[TopicPartition, int]:
        """Where to begin in these partitions of all inputs."""
        sources = [TopicPartition(name, at) for name in self._inputs for at in sorted(partitions)]
        if not sources:
            return {}
        if self._producer is None:
            # A commit without known outcome: opening the producer settles it, so do that first.
            self._producer = self._opened()
        return {
            source: max(self.committed(source) or 0, self._group_ends.beginning(source))
            for source in sources
        }

    def _consumer_of(self, source: TopicPartition) -> Client:
        return self._group if source.topic == self._inputs[0] else self._follower

    def assignment(self) -> frozenset[int]:
        return self._assignment

    def committed(self, source: TopicPartition) -> int | None:
        # Not by the group's own connection: the broker answers nothing there while it waits for all
        # members of a rebalance.
        with self._cluster.explained():
            self._offsets.arrive(COMMIT_SECONDS)
            position = self._follower.committed(
                KafkaPartition(*source), timeout_ms=REQUEST_SECONDS * 1000
            )
        return None if position is None else int(position)

    def seek(self, source: TopicPartition, position: int) -> None:
        if source.topic not in self._inputs or source.partition not in self._assignment:
            raise BusError(
                f"{source.topic}[{source.partition}] is not owned by {self._member} of "
                f"{self._group_name}."
            )
        self._consumer_of(source).seek(KafkaPartition(*source), position)

    def at_end(self, source: TopicPartition) -> bool:
        return self._ends_of(source).at_end(source)

    def end(self, source: TopicPartition) -> int:
        return self._ends_of(source).told(source)

    def _ends_of(self, source: TopicPartition) -> Ends:
        return self._group_ends if source.topic == self._inputs[0] else self._follower_ends

    def send(self, outputs: Sequence[Message]) -> None:
        if self._exactly_once or self._producer is None or not self._is_member():
            self._ahead += outputs  # `commit` says what is to be said
            return
        self._cluster.check(outputs, self._outputs)
        try:
            self._out += send_together(self._producer, outputs, self._outputs)
            if outputs:
                time.sleep(_STAND_ASIDE_SECONDS)
        except KafkaError as error:
            raise self._commit_lost(error) from error

    def has_sent(self) -> bool:
        sharing_out = self._group._coordinator.need_rejoin()
        return not self._exactly_once and not sharing_out and self._is_member()

    def commit(
        self, outputs: Sequence[Message], positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        if self._fenced:
            raise CommitLost(self._fenced)
        outputs, self._ahead = [*self._ahead, *outputs], []
        self._cluster.check(outputs, self._outputs)
        if not self._is_member({source.partition for source in positions}):
            if self._out and self._producer is not None:  # or it might come after what others write
                abandon(self._producer)
                self._producer = None
            self._let_go()
            raise CommitLost(
                f"{self._member} does not own the partitions of {self._group_name} any more; "
                "the batch is lost."
            )
        if self._producer is None:
            self._producer = self._opened()
        offsets = {
            KafkaPartition(*source): OffsetAndMetadata(position, "", -1)
            for source, position in positions.items()
        }
        try:
            if self._exactly_once:
                places = self._as_one(self._producer, outputs, offsets)
            else:
                places = self._in_turn(self._producer, outputs, offsets)
        except KafkaError as error:
            raise self._commit_lost(error) from error
        ends: dict[TopicPartition, int] = {}
        for place in places:
            source = TopicPartition(place.topic, place.partition)
            ends[source] = max(ends.get(source, 0), place.offset + 1)
        return ends

    def _is_member(self, owning: Collection[int] = ()) -> bool:
        """Whether it is in the group, and owns these partitions."""
        # Kafka lets a consumer that is not in the group commit as long as the group is empty.
        there = self._assignment and self._group.group_metadata().generation_id >= 0
        return not self._fenced and bool(there) and self._assignment.issuperset(owning)

    def _as_one(self, producer: Client, outputs: Sequence[Message], offsets: Any) -> list[Any]:
        """Commit outputs and offsets as a transaction; return the places of the outputs."""
        producer.begin_transaction()
        sent = send_together(producer, outputs, self._outputs)
        if offsets:
            producer.send_offsets_to_transaction(offsets, self._group.group_metadata())
        producer.commit_transaction()
        return [future.get(timeout=0) for future in sent]

    def _in_turn(self, producer: Client, outputs: Sequence[Message], offsets: Any) -> list[Any]:
        """Commit the offsets once all outputs are out; return the places of the outputs.

        The next commits see to it that the offsets came through: nothing waits for it here.
        """
        self._offsets.see_to(COMMIT_SECONDS)
        sent, self._out = self._out, []
        sent += send_together(producer, outputs, self._outputs)
        if not all(future.is_done for future in sent):
            producer.flush(timeout=COMMIT_SECONDS)
        places = [future.get(timeout=0) for future in sent]
        self._offsets.put(offsets)
        return places

    def settle(self) -> None:
        try:
            self._offsets.settle(COMMIT_SECONDS)
        except KafkaError as error:
            raise self._commit_lost(error) from error

    def _commit_lost(self, error: KafkaError) -> BusError:
        """Leave everything as after a commit that did not happen, and say why."""
        self._let_go()
        producer, self._producer = self._producer, None
        causes = [error]
        if producer is not None:
            causes.append(producer._transaction_manager.last_error)
            # Not used again, even where aborting would do: kafka-python keeps the offsets of a
            # failed transaction and would send them along with the next one.
            abandon(producer)
        if any(isinstance(cause, (ProducerFencedError, FencedInstanceIdError)) for cause in causes):
            self._fence()
            return CommitLost(self._fenced)
        for cause in causes:
            if (refused := self._cluster.refused(cause)) is not None:
                return refused
            if isinstance(cause, MessageSizeTooLargeError):
                return BusError(f"Kafka at {self._cluster.url} refuses a commit: {cause}.")
        try:
            # This settles the outcome: what was not committed by now never will be.
            self._producer = self._opened()
        except BusError as unavailable:
            log.warning("The outcome of a commit is open until Kafka answers: %s", unavailable)
        return CommitLost(
            f"The commit of {self._member} of {self._group_name} was lost ({error}); "
            "the committed positions say where to go on."
        )

    def _let_go(self) -> None:
        """Own nothing for now; the next poll gives again what the group has, as it is committed."""
        self._assignment = frozenset()
        self._offsets.clear()
        self._ahead, self._out = [], []
        self._follower.assign([])

    def _fence(self) -> None:
        self._let_go()
        self._fenced = (
            f"Another worker named {self._member} has taken over in {self._group_name}, or this "
            "one was suspended for too long. Give every worker a name of its own, or restart it."
        )

    def _raise_if_fenced(self) -> None:
        if self._fenced:
            raise BusError(self._fenced)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._assignment = frozenset()
        member_id = self._group.group_metadata().member_id
        producer, self._producer = self._producer, None
        try:
            if not self._fenced:
                self._offsets.settle(_CLOSE_SECONDS)
        except KafkaError as error:
            log.warning("the last batches of %s will come once more: %s", self._member, error)
        try:
            if producer is not None:
                abandon(producer)
            self._follower.close(autocommit=False)
            self._group.close(autocommit=False)
            if member_id and not self._fenced:
                self._leave(member_id)
        except (KafkaError, BusError) as error:
            log.warning("%s could not leave %s in order: %s", self._member, self._group_name, error)

    def _leave(self, member_id: str) -> None:
        # A static member does not leave by closing: it is expected back. With the id of this
        # membership, not only the name, so that it cannot throw out a successor.
        leaver = library.MemberToRemove(member_id=member_id, group_instance_id=self._member)
        with self._cluster.explained(), self._cluster.admin() as admin:
            admin.remove_group_members(self._group_name, [leaver])


class _Unread:
    """A future that is not done until someone has asked it."""

    is_done = False

    def __init__(self, future: Any) -> None:
        self._future = getattr(future, "_future", future)

    def add_callback(self, call: Any) -> None:
        self._future.add_callback(call)

    def add_errback(self, call: Any) -> None:
        self._future.add_errback(call)


class _Listener(AsyncConsumerRebalanceListener):
    """Notes which partitions were taken, in the middle of a poll, on kafka-python's thread."""

    def __init__(self, lost: set[int], offsets: Offsets) -> None:
        self._lost = lost
        self._offsets = offsets

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Others have them when this returns."""
        with suppress(KafkaError):  # then what was done comes once more
            if (sent := self._offsets.send()) is not None:
                await sent
        await self.on_partitions_lost(revoked)

    async def on_partitions_lost(self, lost: Any) -> None:
        partitions = {at.partition for at in lost}
        self._lost.update(partitions)
        self._offsets.leave(partitions)

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Nothing: the end of the poll sees what is owned."""


class _Transactions(KafkaProducer):
    """A producer that does not wait for ever where kafka-python's own does."""

    _sender: Any
    _transaction_manager: Any

    def send_offsets_to_transaction(self, offsets: Any, group_metadata: Any) -> None:
        self._settle(self._transaction_manager.send_offsets_to_transaction(offsets, group_metadata))

    def commit_transaction(self) -> None:
        self._settle(self._transaction_manager.begin_commit())

    def _settle(self, result: Any) -> None:
        self._sender.wakeup()
        if not result.wait(timeout_ms=COMMIT_SECONDS * 1000):
            raise KafkaTimeoutError(f"no answer within {COMMIT_SECONDS:.0f} s")
