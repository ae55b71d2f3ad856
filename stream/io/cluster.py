"""A Kafka cluster as an address: how its clients are set up, and its errors in words."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import kafka.admin
import kafka.record.default_records
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
    RetriableError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from stream.io.batches import Batches
from stream.io.bus import (
    BusAddressError,
    BusError,
    BusRefused,
    BusUnavailable,
    Message,
    Record,
    TopicPartition,
)
from stream.io.greeting import greet
from stream.io.placing import partition_of
from stream.io.security import Security, SecurityError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
"""How long a client may take to find the cluster before it counts as unavailable."""
REQUEST_SECONDS = 15.0
"""How long one request may take."""
# kafka-python has no annotations. Its objects are Any here, so that mypy is strict about ours.
Client = Any
library: Any = kafka.admin
_batches: Any = kafka.record.default_records.DefaultRecordBatchBuilder
# One request holds batches of several partitions, so it may be larger than any topic's message.
_REQUEST_BYTES = 64 * 1024 * 1024
PROMPT_MS, PATIENT_MS = 20, 500
"""How long a broker may wait for records before it answers that there are none. It answers nothing
else on the connection meanwhile, and one fetch is under way per broker, so a long wait for idle
partitions would stall busy ones. But who waits, and is asked for nothing else, should not ask fifty
times a second: that takes a twelfth of a core."""
_IDLE_MS = 5
"""Between two looks of a poll that has nothing to wait for."""


_RIGHTS: dict[type[KafkaError], str] = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "consumer group",
    TransactionalIdAuthorizationFailedError: "transactional id",
    ClusterAuthorizationFailedError: "the cluster",
}


class Topic(NamedTuple):
    partitions: int
    max_message_bytes: int


class Cluster:
    """The brokers at `servers` (`host:port,host:port`). Connects when something is asked."""

    def __init__(
        self, servers: str, security: Security | None = None, *, tls: bool = False
    ) -> None:
        if "@" in servers:
            raise BusAddressError(
                "A Kafka address takes no user and password: give kafka://HOST:PORT[,HOST:PORT], "
                "WEIR_KAFKA_USER and WEIR_KAFKA_PASSWORD_FILE."
            )
        self.servers = [server.strip() for server in servers.split(",") if server.strip()]
        self.url = ("kafkas://" if tls else "kafka://") + ",".join(self.servers)
        self._security = security or Security()
        self._tls = self._security.context() if tls else None
        if not tls:
            self._mind_plaintext()

    def _mind_plaintext(self) -> None:
        self._security.without_tls("Write kafkas:// where the brokers speak TLS.")
        if self._security.user is None:
            return
        if self._security.mechanism == "PLAIN":
            raise SecurityError(
                f"{self._security.named('sasl_mechanism')}: PLAIN would send the password readable "
                "over kafka://. Use kafkas://, or SCRAM-SHA-512."
            )
        log.warning(
            "%s is not TLS: whoever is on its network can read and change what is sent, and try "
            "passwords on what was seen. Use kafkas:// where the brokers offer it.",
            self.url,
        )

    def admin(self) -> Client:
        return self._client(KafkaAdminClient)

    def consumer(self, **options: Any) -> Client:
        """A consumer of committed records as bytes."""
        # Never a value_deserializer: one that raises makes kafka-python fetch the record for ever.
        consumer = self._client(
            KafkaConsumer,
            metrics_enabled=False,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            max_poll_records=2000,
            **{"fetch_max_wait_ms": PROMPT_MS, **options},
        )
        consumer._fetcher.PartitionRecords = Batches
        consumer._fetcher._net = _Forgetful(consumer._fetcher._net)
        # Where the answer to a fetch comes between two looks of a poll, kafka-python (3.0.12) takes
        # it that nothing is under way, and sleeps for so long with the records at hand. Only the
        # consumer's own copy: how often it tries again what has failed stays as it is.
        consumer.config["retry_backoff_ms"] = _IDLE_MS
        _ask_where_needed(consumer)
        return consumer

    def producer(self, kind: type[KafkaProducer] = KafkaProducer, **options: Any) -> Client:
        """An idempotent producer that waits for all replicas."""
        return self._client(
            kind,
            metrics_enabled=False,
            allow_auto_create_topics=False,
            enable_idempotence=True,
            compression_type="lz4",
            batch_size=65_536,
            max_request_size=_REQUEST_BYTES,
            max_block_ms=int(REQUEST_SECONDS * 1000),
            **options,
        )

    def _client(self, kind: Any, **options: Any) -> Any:
        self._reach()
        with self.explained():
            return kind(
                bootstrap_servers=self.servers,
                bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000),
                request_timeout_ms=int(REQUEST_SECONDS * 1000),
                reconnect_backoff_max_ms=1000,
                **self._credentials(),
                **options,
            )

    def _credentials(self) -> dict[str, Any]:
        """Security as kafka-python takes it."""
        known, secured = self._security.user is not None, self._tls is not None
        protocol = ("SASL_" if known else "") + ("SSL" if secured else "PLAINTEXT")
        credentials: dict[str, Any] = {"security_protocol": protocol}
        if secured:
            credentials["ssl_context"] = self._tls
        if known:
            credentials |= {
                "sasl_mechanism": self._security.mechanism,
                "sasl_plain_username": self._security.user,
                "sasl_plain_password": self._security.password,
            }
        return credentials

    def _reach(self) -> None:
        """Shake hands and hang up: a client is slower to fail, and does not say why."""
        refused: BusRefused | None = None
        problem: OSError | None = None
        for server in self.servers:
            host, _, port = server.rpartition(":")
            try:
                address = (host.strip("[]"), int(port))
            except ValueError:
                raise BusError(f"{server} is no address of a broker. Give HOST:PORT.") from None
            seconds = CONNECT_SECONDS / len(self.servers)
            try:
                greet(address, self._security, self._tls, seconds)
            except BusRefused as error:
                refused = refused or BusRefused(f"No way into Kafka at {server}: {error}")
            except OSError as error:
                problem = error
            else:
                return
        if refused is not None:
            raise refused
        raise BusUnavailable(
            f"No Kafka broker answers at {self.url} ({problem}). Start it, or correct the address."
        ) from problem

    @contextmanager
    def explained(self, using: str = "") -> Iterator[None]:
        """Turn what kafka-python raises into errors of the bus.

        `using` is what a refusal names where the brokers do not say it.
        """
        try:
            yield
        except KafkaError as error:
            if (refused := self.refused(error, using)) is not None:
                raise refused from error
            if isinstance(error, RetriableError):
                raise BusUnavailable(
                    f"Kafka at {self.url} does not answer ({error}). Do the brokers run?"
                ) from error
            raise BusError(f"Kafka at {self.url} refuses: {error}.") from error

    def refused(self, error: BaseException | None, using: str = "") -> BusRefused | None:
        """What the brokers do not let us do, in words; None where it is another error."""
        who = f"user {self._security.user!r}" if self._security.user else "this client"
        if isinstance(error, SaslAuthenticationFailedError):
            return BusRefused(f"Kafka at {self.url} does not accept {who} any more.")
        # Of some errors kafka-python leaves nothing but the name, in the text of another.
        kinds = (
            text
            for kind, text in _RIGHTS.items()
            if isinstance(error, kind) or kind.__name__ in str(error)
        )
        if error is None or (what := next(kinds, None)) is None:
            return None
        named = error.args[0] if error.args else None
        if isinstance(named, (set, frozenset)):
            using = ", ".join(sorted(map(str, named)))
        elif not using and isinstance(named, str) and " " not in named:
            using = named
        return BusRefused(
            f"Kafka at {self.url} does not let {who} use {what}{f' {using}' if using else ''} as "
            "asked. Give it the rights (ACLs) of its role: docs/security.md."
        )

    def topics(self, expected: Collection[str] = ()) -> dict[str, int]:
        """Partition counts by topic; raises `BusRefused` where an `expected` one is hidden."""
        with self.explained(), self.admin() as admin:
            found = admin.describe_topics()
            # A list leaves out what we may not see; asked by name, the brokers say so.
            unseen = set(expected) - {topic["name"] for topic in found}
            if unseen:
                _raise_if_hidden(admin.describe_topics(sorted(unseen)))
        return {
            topic["name"]: len(topic["partitions"]) for topic in found if not topic["is_internal"]
        }

    def describe(self, names: Iterable[str]) -> dict[str, Topic]:
        """Describe topics; raises `BusError` where one is missing."""
        names = list(dict.fromkeys(names))
        with self.explained(), self.admin() as admin:
            found = admin.describe_topics(names)
            _raise_if_hidden(found)
            counts = {
                topic["name"]: len(topic["partitions"])
                for topic in found
                if not topic["error_code"]
            }
            missing = [name for name in names if name not in counts]
            if missing:
                raise BusError(
                    f"There is no topic {', '.join(missing)} at {self.url}. "
                    "Make it with `weir topics create`."
                )
            resources = [
                library.ConfigResource(library.ConfigResourceType.TOPIC, name) for name in names
            ]
            configs = admin.describe_configs(resources, config_filter="all")["topic"]
        return {
            name: Topic(counts[name], int(configs[name]["max.message.bytes"]["value"]))
            for name in names
        }

    def check(self, messages: Sequence[Message], known: dict[str, Topic]) -> None:
        """Raise `BusError` for a message the brokers would refuse; fills in `known` topics.

        Asked beforehand, because a refused message is the end of an idempotent producer.
        """
        unknown = {message.topic for message in messages} - known.keys()
        if unknown:
            known.update(self.describe(unknown))
        for topic, key, value, headers, partition in messages:
            size = _batches.estimate_size_in_bytes(key, value, headers)
            # What does not compress grows a little by the frames of the compressed format.
            if size + size // 128 > known[topic].max_message_bytes:
                raise BusError(
                    f"A message of {len(value or b'')} bytes is too large for topic {topic}, which "
                    f"takes {known[topic].max_message_bytes}. Send smaller ones, or raise its "
                    "max.message.bytes."
                )
            if partition is not None and not 0 <= partition < known[topic].partitions:
                raise BusError(
                    f"Topic {topic} at {self.url} has {known[topic].partitions} partitions, "
                    f"so no partition {partition}."
                )


class _Forgetful:
    """kafka-python's event loop, for what fetches: its time-outs hold on to no frame.

    A poll that finds nothing ends in one. Left as it is, it refers to itself by way of its
    traceback, and so keeps the frames of all callers, with the records that they had at hand,
    until the garbage collector comes by.
    """

    def __init__(self, net: Any) -> None:
        self._net = net

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    def run(self, coroutine: Any, *args: Any) -> Any:
        try:
            return self._net.run(coroutine, *args)
        except KafkaTimeoutError as error:
            error.__traceback__ = None
            said = str(error)
        raise KafkaTimeoutError(said)


def _ask_where_needed(consumer: Client) -> None:
    """Have a poll hand no work to kafka-python's thread where there is none.

    Each poll (of 3.0.12) has that thread see to it that the coordinator is known, and send what is
    to be fetched, and waits for it. Mostly the coordinator is known and the fetch under way: three
    times in a round a worker waited for nothing, and on a core that is busy that takes its time.
    """
    fetcher, coordinator = consumer._fetcher, consumer._coordinator
    ensure, send_fetches = coordinator.ensure_coordinator_ready, fetcher.send_fetches

    def ensure_where_unknown(timeout_ms: float | None = None) -> bool:
        return not coordinator.coordinator_unknown() or ensure(timeout_ms)

    def send_where_none_is_pending() -> Any:
        pending = fetcher._nodes_with_pending_fetch_requests
        over = any(future.is_done for future in list(fetcher._fetch_futures))
        if over or not pending:  # what is over is cleared away there
            return send_fetches()
        wanted = {fetcher._select_read_replica(at) for at in fetcher._fetchable_partitions()}
        return [] if wanted <= pending else send_fetches()

    coordinator.ensure_coordinator_ready = ensure_where_unknown
    fetcher.send_fetches = send_where_none_is_pending


class Ends:
    """Where a consumer stands in its partitions, and where their committed records end."""

    def __init__(self, cluster: Cluster, consumer: Client) -> None:
        self._cluster = cluster
        self._consumer = consumer
        self._known: dict[TopicPartition, int] = {}

    def position(self, source: TopicPartition) -> int:
        at = KafkaPartition(*source)
        if at not in self._consumer.assignment():
            raise BusError(f"{source.topic}[{source.partition}] is not read here. Assign it first.")
        with self._cluster.explained():
            position = self._consumer.position(at, timeout_ms=REQUEST_SECONDS * 1000)
        if position is None:
            raise BusUnavailable(
                f"Kafka at {self._cluster.url} does not say where {source} begins."
            )
        return int(position)

    def at_end(self, source: TopicPartition) -> bool:
        position = self.position(source)
        highwater = self._consumer.highwater(KafkaPartition(*source))
        if highwater is not None and position >= highwater:
            return True
        # Below the high water mark there may be records, or only a transaction that is still open:
        # the broker alone knows. What it said once stays a lower bound.
        return position >= self._known.get(source, 0) and position >= self.end(source)

    def beginning(self, source: TopicPartition) -> int:
        at = KafkaPartition(*source)
        # One by one: of several, kafka-python leaves out those of a topic it has not met so far.
        with self._cluster.explained():
            return int(self._consumer.beginning_offsets([at], REQUEST_SECONDS * 1000)[at])

    def end(self, source: TopicPartition) -> int:
        """The last stable offset: a reader of committed records is not given more."""
        at = KafkaPartition(*source)
        with self._cluster.explained():
            end = int(self._consumer.end_offsets([at], REQUEST_SECONDS * 1000)[at])
        self._known[source] = end
        return end

    def told(self, source: TopicPartition) -> int:
        """The end as the broker told it with what was fetched last, an open transaction included.

        It is asked only where nothing is being fetched: it may be busy, and this is for the lag.
        """
        at = KafkaPartition(*source)
        highwater = None
        with suppress(IllegalStateError):  # not assigned, or not any more
            if at not in self._consumer.paused():
                highwater = self._consumer.highwater(at)
        return self.end(source) if highwater is None else int(highwater)


def _raise_if_hidden(found: Iterable[dict[str, Any]]) -> None:
    refusal = TopicAuthorizationFailedError.errno
    hidden = {topic["name"] for topic in found if topic["error_code"] == refusal}
    if hidden:
        raise TopicAuthorizationFailedError(hidden)


def send(producer: Client, message: Message, topic: Topic) -> Any:
    """Hand a message to a producer; the future of its place."""
    topic_name, key, value, headers, partition = message
    if partition is None and key is not None:
        # kafka-python would choose the same one, at a quarter of the price of the whole.
        partition = partition_of(key, topic.partitions)
    return producer.send(
        topic_name, key=key, value=value, headers=list(headers), partition=partition
    )


def send_together(
    producer: Client, messages: Sequence[Message], topics: Mapping[str, Topic]
) -> list[Any]:
    """Hand messages to a producer at once; the futures of their places."""
    if not messages:
        return []
    for name in {message.topic for message in messages}:
        producer.partitions_for(name)  # what is not known is waited for, with the thread awake
    # kafka-python (3.0.12) wakes its thread with each batch that is begun: with each topic here,
    # and on a core that is busy each then makes a request of its own, which takes 0.8 ms.
    sender = producer._sender
    sender.wakeup = _asleep
    try:
        return [send(producer, message, topics[message.topic]) for message in messages]
    finally:
        del sender.wakeup
        sender.wakeup()


def _asleep() -> None:
    """Wake nobody."""


def pause(consumer: Client, skip: Collection[TopicPartition]) -> None:
    """Have a consumer read nothing of these partitions, and of all others again."""
    wanted = {KafkaPartition(*source) for source in skip} & consumer.assignment()
    paused = consumer.paused()
    if wanted != paused:
        consumer.resume(*(paused - wanted))
        consumer.pause(*(wanted - paused))
    # kafka-python (3.0.12) puts aside what it has fetched of a paused partition, and takes it up
    # again only where nothing else is at hand: for which it takes what is used up, too. So with
    # all other partitions at their ends, one that was paused in the middle would never come back.
    fetcher = consumer._fetcher
    if not fetcher._next_partition_records:
        fetcher._next_partition_records = None


def records(batches: dict[Any, list[Record]]) -> list[Record]:
    """What a kafka-python consumer polled, as records of the bus."""
    return [record for found in batches.values() for record in found]


def abandon(producer: Client) -> None:
    """Let go of a producer that cannot finish what it holds, without waiting for it."""
    # Closing it in the ordinary way flushes first, which raises and leaves its thread running.
    producer._sender.force_close()
    producer._sender.join(REQUEST_SECONDS)
    with suppress(KafkaError):
        producer.close(timeout=0)
