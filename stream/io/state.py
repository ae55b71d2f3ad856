"""Account state on the bus: snapshots of each partition, in chunks, in a compacted topic.

A snapshot is plain arrays (numpy's `.npz`, never pickled), copied between two batches together with
the positions it stands at, and packed in the background. It goes out in chunks, a few with each
commit of the batches that follow, so that nothing waits for it; its *manifest*, which comes last,
makes it count. Two sets of keys take turns: the snapshot before stays whole until the next one is.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike

from stream.core.detector import Shard
from stream.core.plain import Snapshot
from stream.io.background import Background
from stream.io.bus import Message, Reader, TopicPartition, read_whole
from stream.io.packing import pack, unpack
from stream.settings import Settings

log = logging.getLogger(__name__)

Positions = Mapping[TopicPartition, int]
Held = dict[bytes, tuple[str, bytes]]
"""By key: the id of the snapshot that a chunk or a manifest is of, and its bytes."""

CHUNK_BYTES = 524_288
_WRITTEN_BYTES = 1_048_576
"""Bytes that are packed in one go: other threads wait for as long."""
_AT_ONCE = 2
"""Chunks that go out with one commit."""
_BYTES_PER_SECOND = 2_000_000
"""A large state is saved less often: no more than so much is written, taken over time."""
_PARTS = ("features", "pending", "windows", "budget")
_TEXTS = ".texts"
"""Ends the name of an array that holds texts."""
_SHAPING_SETTINGS = (
    *("step_origin", "transaction_types", "half_lives_hours", "features", "window_seconds"),
    *("transactions_topic", "labels_topic", "decisions_topic"),
)
_LAYOUT = 3
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
        except (ValueError, KeyError, IndexError, zipfile.BadZipFile) as problem:
            raise Damaged(f"its arrays cannot be read ({problem})") from problem


class StateWriter:
    """Cuts snapshots into messages: `begin` copies the state, `messages` hands out what goes next.

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
        if self._under_way is None:
            return False
        return bool(wait([self._under_way.cut], wait_seconds).done)

    def opened(self, partition: int, number: int) -> None:
        """Take note of a partition given, and of the number that its next snapshot has."""
        self._numbers[partition] = number
        self._due_at[partition] = self._clock() + self._settings.checkpoint_seconds

    def closed(self, partition: int) -> None:
        """Forget a partition, and what is not yet written of it."""
        self._numbers.pop(partition, None)
        self._due_at.pop(partition, None)
        self._saved.pop(partition, None)
        if self._under_way is not None and self._under_way.partition == partition:
            self._under_way.cut.cancel()
            self._under_way = None

    def due(self) -> list[int]:
        """Return the partitions to take a snapshot of: none while one is still on its way."""
        if self._under_way is not None:
            return []
        return [p for p, at in self._due_at.items() if self._clock() >= at][:1]

    def begin(self, partition: int, shard: Shard, positions: Positions) -> None:
        """Copy a partition as it stands at these positions, if it has moved since the last."""
        self._due_at[partition] = self._clock() + self._settings.checkpoint_seconds
        if positions == self._saved.get(partition):
            return
        self._saved[partition] = dict(positions)
        number = self._numbers.get(partition, 0)
        self._numbers[partition] = number + 1
        taken = _Taken(
            copied(shard),
            identity(self._settings, shard),
            number,
            dict(positions),
            len(shard.features.accounts),
            len(shard.pending),
            datetime.now(UTC),
        )
        cut = self._packing.submit(_cut, self._settings, partition, taken)
        self._under_way = _UnderWay(partition, cut, self._clock())

    def messages(self) -> list[Message]:
        """Return what goes out with the next commit, and count it as gone."""
        if self._under_way is None or not self.ready():
            return []
        partition, cut = self._under_way.partition, self._under_way.cut.result()
        rest = self._under_way.begun_at + cut.size_bytes / _BYTES_PER_SECOND
        self._due_at[partition] = max(self._due_at[partition], rest)
        messages = cut.next(_AT_ONCE)
        if cut.done:
            self._under_way = None
        return messages

    def close(self) -> None:
        """Let go of a snapshot that is not written yet."""
        self._packing.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A copy of a partition, and what its manifest says of it."""

    parts: Snapshot
    identity: Mapping[str, str]
    number: int
    positions: Positions
    accounts: int
    pending: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class _UnderWay:
    partition: int
    cut: Future[_Cut]
    begun_at: float


def _cut(settings: Settings, partition: int, taken: _Taken) -> _Cut:
    """Pack a copy: what takes long."""
    content = packed(taken.parts)
    digest = hashlib.sha256(content).hexdigest()
    manifest = Manifest(
        number=taken.number,
        id=f"{taken.number}-{digest[:16]}",
        identity=taken.identity,
        positions=taken.positions,
        chunks=-(-len(content) // CHUNK_BYTES),
        size_bytes=len(content),
        sha256=digest,
        made_at=taken.made_at,
        accounts=taken.accounts,
        pending=taken.pending,
    )
    return _Cut(settings, partition, manifest, content)


class _Cut:
    """A snapshot on its way: cut as it goes out, so that it is in memory once."""

    def __init__(
        self, settings: Settings, partition: int, manifest: Manifest, content: memoryview
    ) -> None:
        self.partition = partition
        self._settings = settings
        self._manifest = manifest
        self._content = content
        self._gone = 0

    @property
    def size_bytes(self) -> int:
        return len(self._content)

    @property
    def done(self) -> bool:
        """Whether the manifest has gone out."""
        return self._gone > self._manifest.chunks

    def next(self, count: int) -> list[Message]:
        """Return the next messages: chunks, and the manifest at the end."""
        last = min(self._gone + count, self._manifest.chunks + 1)
        messages = [self._message(index) for index in range(self._gone, last)]
        self._gone = last
        return messages

    def _message(self, index: int) -> Message:
        group, which = self._settings.group, self._manifest.number % 2
        if index < self._manifest.chunks:
            key = chunk_key(group, which, index)
            value = bytes(self._content[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES])
        else:
            key, value = manifest_key(group, which), self._manifest.dump()
        headers = (("snapshot", self._manifest.id.encode()),)
        return Message(self._settings.state_topic, key, value, headers, self.partition)


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
    return bytes(packed(copied(shard)))


def copied(shard: Shard) -> Snapshot:
    """Return a copy of the account state of a partition."""
    return {
        "duplicates": np.array(shard.duplicates),
        **{
            f"{part}/{name}": value
            for part in _PARTS
            for name, value in getattr(shard, part).snapshot().items()
        },
    }


def packed(copy: Snapshot) -> memoryview:
    """Return a copy as the bytes of plain arrays, in numpy's format.

    Written a little at a time, and not as `numpy.savez` does: who holds the interpreter for as
    long as 16 megabytes take has the loop wait.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in copy.items():
            if isinstance(value, list):
                pieces = pack(value)
                _write(archive, name + _TEXTS, np.uint8, (sum(map(len, pieces)),), pieces)
            else:
                flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                ends = range(0, len(flat), _WRITTEN_BYTES)
                parts = (flat[at : at + _WRITTEN_BYTES].data for at in ends)
                _write(archive, name, value.dtype, value.shape, parts)
    return file.getbuffer()


def _write(
    archive: zipfile.ZipFile,
    name: str,
    dtype: DTypeLike,
    shape: tuple[int, ...],
    pieces: Iterable[bytes | memoryview],
) -> None:
    """Write an array of numpy's format, whose bytes come in pieces."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array_header_1_0(member, header)
        for piece in pieces:
            member.write(piece)


def unpack_shard(content: bytes, shard: Shard) -> None:
    """Have an empty shard take over what `pack_shard` returned."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        state: dict[str, Any] = {
            name.removesuffix(_TEXTS): (
                unpack(arrays[name]) if name.endswith(_TEXTS) else arrays[name]
            )
            for name in arrays.files
        }
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
