"""Account state on the bus: snapshots of each partition, in chunks, in a compacted topic.

A snapshot is plain arrays and texts (`packing`, never pickled), as they were at one moment between
two batches, with the positions of then. It is copied a little at a time (`core.plain.FrozenTable`),
packed in the background, and goes out in chunks, a few with each commit of the batches that follow,
so that nothing waits for it; its *manifest*, which comes last, makes it count. Two sets of keys
take turns: the snapshot before stays whole until the next one is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from stream.core.detector import Shard
from stream.core.plain import Snapshot
from stream.io.background import Background
from stream.io.bus import Message, Reader, TopicPartition, read_whole
from stream.io.packing import Packer, Piece, pieces, unpack
from stream.settings import Settings

log = logging.getLogger(__name__)

Positions = Mapping[TopicPartition, int]
Held = dict[bytes, tuple[str, bytes]]
"""By key: the id of the snapshot that a chunk or a manifest is of, and its bytes."""

CHUNK_BYTES = 524_288
_AT_ONCE = 2
"""Chunks that go out with one round, and for which something is copied ahead of it."""
_BYTES_PER_SECOND, _SLOWLY = 2_000_000, 4_000_000
"""A large state is saved less often: no more than so much is written, taken over time; and no more
than so much while a snapshot is under way that takes its time."""
_MANY = 1_000
"""Records handled again for a partition, after which it is not left without a snapshot."""
_PARTS = ("features", "pending", "windows", "budget")
_SHAPING_SETTINGS = (
    *("step_origin", "transaction_types", "half_lives_hours", "features", "window_seconds"),
    *("transactions_topic", "labels_topic", "decisions_topic"),
)
_LAYOUT = 4
"""Of the arrays: the next number where what they mean changes."""


class Damaged(Exception):  # noqa: N818 - reads as the state it reports
    """A snapshot is not what was written."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is: the last thing written of it.

    `number` counts a partition's snapshots, and `number` modulo 2 is the set of keys it lies under.
    """

    number: int
    id: str
    identity: Mapping[str, str]
    positions: Positions
    """Of the two inputs and the decisions topic: the records before these are in it."""
    chunks: int
    size_bytes: int
    sha256: str
    made_at: datetime
    accounts: int
    pending: int

    def differing(self, settings: Settings, shard: Shard) -> list[str]:
        """Return what it was made with that is not as it is here: if anything, it is not used."""
        return differing(self.identity, identity(settings, shard))

    def dump(self) -> bytes:
        """Return it as JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["positions"] = [[*source, position] for source, position in self.positions.items()]
        plain["made_at"] = self.made_at.isoformat()
        return json.dumps(plain).encode()

    @classmethod
    def load(cls, value: bytes) -> Manifest:
        """Return what `dump` wrote. Raises `Damaged` for anything else."""
        try:
            plain = json.loads(value)
            plain["positions"] = {TopicPartition(t, p): at for t, p, at in plain["positions"]}
            plain["made_at"] = datetime.fromisoformat(plain["made_at"])
            return cls(**plain)
        except (ValueError, TypeError, KeyError) as problem:
            raise Damaged(f"its manifest cannot be read ({type(problem).__name__})") from None


@dataclass(frozen=True, slots=True)
class Saved:
    """A snapshot as it was found."""

    manifest: Manifest
    content: bytes

    def restore(self, shard: Shard) -> None:
        """Have an empty shard take it over. Raises `Damaged` where it is not whole."""
        if hashlib.sha256(self.content).hexdigest() != self.manifest.sha256:
            raise Damaged("its chunks are not those that were written")
        try:
            unpack_shard(self.content, shard)
        except Exception as problem:
            raise Damaged(f"its arrays cannot be read ({problem!r})") from problem


class StateWriter:
    """Cuts snapshots into messages: `begin` freezes the state, `go_on` copies a little of it, and
    `messages` hands out what goes next.

    Parameters
    ----------
    settings
        Those that shape the state are part of a snapshot's identity.
    clock
        Seconds, of any origin.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._packing = Background("weir-pack")
        self._under_way: _UnderWay | None = None
        self._numbers: dict[int, int] = {}
        self._due_at: dict[int, float] = {}
        self._saved: dict[int, Positions] = {}

    @property
    def waiting(self) -> bool:
        """Whether a snapshot is under way."""
        return self._under_way is not None

    def ready(self, wait_seconds: float = 0.0) -> bool:
        """Whether something of it can go out, at the latest when so much time is over."""
        on = self._under_way
        if on is not None and not on.ready() and on.packing:
            wait([on.packing[0]], wait_seconds)
        return on is not None and on.ready()

    def opened(self, partition: int, number: int, handled_again: int) -> None:
        """Take note of a partition given, and of the number that its next snapshot has.

        That is due at once where many records were handled again: a partition that moves on soon
        would come to its next owner without one, and so with ever more to handle.
        """
        self._numbers[partition] = number
        wait_seconds = self._settings.checkpoint_seconds if handled_again < _MANY else 0.0
        self._due_at[partition] = self._clock() + wait_seconds

    def closed(self, partition: int) -> None:
        """Forget a partition, and what is not yet written of it."""
        self._numbers.pop(partition, None)
        self._due_at.pop(partition, None)
        self._saved.pop(partition, None)
        if self._under_way is not None and self._under_way.partition == partition:
            self._under_way = None

    def drop(self) -> None:
        """Give up what is not yet written; the next takes its place."""
        if self._under_way is not None:
            partition, begun = self._under_way.partition, self._under_way.begun
            self._under_way = None
            self._numbers[partition] = begun.number
            self._saved.pop(partition, None)

    def due(self) -> list[int]:
        """Return the partitions to take a snapshot of: none while one is still on its way."""
        if self._under_way is not None:
            return []
        return [p for p, at in self._due_at.items() if self._clock() >= at][:1]

    def begin(self, partition: int, shard: Shard, positions: Positions) -> None:
        """Freeze a partition as it stands at these positions, if it has moved since the last."""
        self._due_at[partition] = self._clock() + self._settings.checkpoint_seconds
        if positions == self._saved.get(partition):
            return
        self._saved[partition] = dict(positions)
        number = self._numbers.get(partition, 0)
        self._numbers[partition] = number + 1
        begun = Manifest(
            number=number,
            id=f"{number}-{secrets.token_hex(8)}",
            identity=identity(self._settings, shard),
            positions=dict(positions),
            chunks=0,
            size_bytes=0,
            sha256="",
            made_at=datetime.now(UTC),
            accounts=len(shard.features.accounts),
            pending=len(shard.pending),
        )
        now = self._clock()
        self._under_way = _UnderWay(partition, begun, pieces(frozen(shard)), now, now)

    def go_on(self, *, slowly: bool = False) -> None:
        """Copy what the next chunks are made of, as far as those before are gone.

        Slowly, where somebody waits for what is done in between: not all of it one after the other.
        """
        on = self._under_way
        if on is None:
            return
        room = (_AT_ONCE - len(on.packing) - len(on.packed)) * CHUNK_BYTES
        if slowly:
            now = self._clock()
            # Whoever was kept from it does not make up for it.
            on.due_bytes = min(on.due_bytes + (now - on.paced_at) * _SLOWLY, CHUNK_BYTES)
            on.paced_at = now
            room = min(room, int(on.due_bytes))
        while room > 0 and not on.copied:
            piece = next(on.pieces, None)
            on.copied = piece is None
            work = on.packer.close if piece is None else partial(on.packer.add, piece)
            on.packing.append(self._packing.submit(work))
            size = 0 if piece is None else piece.size_bytes
            on.due_bytes -= size
            room -= size

    def messages(self) -> list[Message]:
        """Return what goes out with the next commit, and count it as gone."""
        on, messages = self._under_way, list[Message]()
        if on is None or not on.ready():
            return messages
        group, which = self._settings.group, on.begun.number % 2
        while on.packed and len(messages) < _AT_ONCE:
            key = chunk_key(group, which, on.chunks)
            messages.append(self._message(on, key, on.packed.popleft()))
            on.chunks += 1
        if on.copied and not on.packing and not on.packed:
            size = on.packer.size_bytes
            manifest = replace(on.begun, chunks=on.chunks, size_bytes=size, sha256=on.packer.sha256)
            messages.append(self._message(on, manifest_key(group, which), manifest.dump()))
            rest = on.begun_at + size / _BYTES_PER_SECOND
            self._due_at[on.partition] = max(self._due_at[on.partition], rest)
            self._under_way = None
        return messages

    def _message(self, on: _UnderWay, key: bytes, value: bytes) -> Message:
        headers = (("snapshot", on.begun.id.encode()),)
        return Message(self._settings.state_topic, key, value, headers, on.partition)

    def close(self) -> None:
        """Let go of a snapshot that is not written yet."""
        self._packing.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _UnderWay:
    """A snapshot between its beginning and its manifest."""

    partition: int
    begun: Manifest
    """Chunks, size and digest are known at the end."""
    pieces: Iterator[Piece]
    begun_at: float
    paced_at: float
    """When it was told last how much of it may be copied."""
    packer: Packer = field(default_factory=partial(Packer, CHUNK_BYTES))
    packing: deque[Future[list[bytes]]] = field(default_factory=deque)
    packed: deque[bytes] = field(default_factory=deque)
    """Chunks that go out next."""
    copied: bool = False
    """Whether the last piece was copied."""
    due_bytes: float = 0.0
    """That may be copied now, where it takes its time."""
    chunks: int = 0
    """That have gone out."""

    def ready(self) -> bool:
        """Whether a chunk can go out, or, when there are no more, the manifest."""
        while self.packing and self.packing[0].done():
            self.packed += self.packing.popleft().result()
        return bool(self.packed) or (self.copied and not self.packing)


def chunk_key(group: str, which: int, index: int) -> bytes:
    """Return the key of a chunk in one of the two sets."""
    return f"{group}/{which}/{index}".encode()


def manifest_key(group: str, which: int) -> bytes:
    """Return the key of the manifest of one of the two sets."""
    return f"{group}/{which}/manifest".encode()


def newest(held: Held, settings: Settings, partition: int) -> tuple[Saved | None, int]:
    """Return the newest whole snapshot of what `read` found, and the number of the next one."""
    found, number = None, 0
    for which in (0, 1):
        value = held.get(manifest_key(settings.group, which))
        if value is None:
            continue
        try:
            manifest = Manifest.load(value[1])
        except Damaged as damage:
            log.warning("partition %d: a snapshot is left alone: %s", partition, damage)
            continue
        number = max(number, manifest.number + 1)
        keys = [chunk_key(settings.group, which, i) for i in range(manifest.chunks)]
        chunks = [held.get(key) for key in keys]
        whole = all(chunk is not None and chunk[0] == manifest.id for chunk in chunks)
        if whole and (found is None or manifest.number > found.manifest.number):
            found = Saved(manifest, b"".join(chunk[1] for chunk in chunks if chunk))
    return found, number


def read(reader: Reader, settings: Settings, partition: int) -> Held:
    """Return what the state topic holds of this group in a partition."""
    source = TopicPartition(settings.state_topic, partition)
    mine = f"{settings.group}/".encode()
    held: Held = {}
    for record in read_whole(reader, [source], at_once=64):  # of half a megabyte each
        if record.key is None or not record.key.startswith(mine):
            continue
        if record.value is None:
            held.pop(record.key, None)
        else:
            snapshot = dict(record.headers).get("snapshot", b"").decode(errors="replace")
            held[record.key] = (snapshot, record.value)
    return held


def pack_shard(shard: Shard) -> bytes:
    """Return the account state of a partition as the bytes of plain arrays."""
    packer = Packer(CHUNK_BYTES)
    chunks = [chunk for piece in pieces(frozen(shard)) for chunk in packer.add(piece)]
    return b"".join([*chunks, *packer.close()])


def frozen(shard: Shard) -> Snapshot:
    """Return the account state of a partition as it is now."""
    return {
        "duplicates": np.array(shard.duplicates),
        **{
            f"{part}/{name}": value
            for part in _PARTS
            for name, value in getattr(shard, part).snapshot().items()
        },
    }


def unpack_shard(content: bytes, shard: Shard) -> None:
    """Have an empty shard take over what `pack_shard` returned."""
    state = unpack(content)
    for part in _PARTS:
        names = [name for name in state if name.startswith(f"{part}/")]
        getattr(shard, part).restore({name.removeprefix(f"{part}/"): state[name] for name in names})
    shard.duplicates = int(state["duplicates"])


def differing(found: Mapping[str, Any], wanted: Mapping[str, str]) -> list[str]:
    """Return what of an identity is not as it is wanted."""
    return [name for name, value in wanted.items() if found.get(name) != value]


def identity(settings: Settings, shard: Shard) -> dict[str, str]:
    """Return what a snapshot must have been made with to be used again."""
    shaping: Any = [
        settings.model_dump(mode="json", include=set(_SHAPING_SETTINGS)),
        shard.features.names,
    ]
    digest = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()
    return {"weir": version("weir"), "layout": str(_LAYOUT), "settings": digest[:16]}
