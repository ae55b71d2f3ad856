"""Snapshots as the bytes of plain arrays, a piece at a time: numpy's `.npz`, never pickled."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stream.core.plain import Frozen, Snapshot

TEXTS = ".texts"
"""Ends the name of an array that holds texts."""
_PIECE_BYTES = 524_288
"""Bytes that are copied, and packed, in one go: other threads wait for as long."""
_TEXTS_AT_ONCE = 1_000


class Piece(NamedTuple):
    """A part of an array: its name, the shape of the whole, and some rows; or all of its texts."""

    name: str
    shape: tuple[int, ...]
    content: NDArray[Any] | list[str]

    @property
    def size_bytes(self) -> int:
        """About what it takes when packed."""
        if isinstance(self.content, list):
            return sum(map(len, self.content[:100])) * len(self.content) // 100
        return self.content.nbytes


def pieces(of: Snapshot) -> Iterator[Piece]:
    """Yield a snapshot in parts, each of which is copied when it is asked for."""
    for name, value in of.items():
        if isinstance(value, Frozen):
            count = max(_PIECE_BYTES // value.row_bytes, 1)
            while True:  # an array without rows has a header, too
                yield Piece(name, value.shape, value.take(count))
                if value.done:
                    break
        else:
            yield Piece(name, np.shape(value), value)


class Packer:
    """Writes pieces as `numpy.savez` does, and hands out the bytes in chunks.

    Parameters
    ----------
    chunk_bytes
        Of each chunk but the last.

    >>> packer = Packer(chunk_bytes=1_000_000)
    >>> packer.add(Piece("a", (2,), np.array([1]))), packer.add(Piece("a", (2,), np.array([2])))
    ([], [])
    >>> np.load(io.BytesIO(packer.close()[0]))["a"].tolist()
    [1, 2]
    """

    def __init__(self, chunk_bytes: int) -> None:
        self.chunk_bytes = chunk_bytes
        self._out = _Out()
        self._archive = zipfile.ZipFile(self._out, "w")
        self._member: IO[bytes] = io.BytesIO()
        self._name = ""

    @property
    def size_bytes(self) -> int:
        """Of all that was written so far."""
        return self._out.size_bytes

    @property
    def sha256(self) -> str:
        """Of all that was written so far, in hex."""
        return self._out.sha256.hexdigest()

    def add(self, piece: Piece) -> list[bytes]:
        """Write a piece, those of one array one after another; return the chunks that are full."""
        if isinstance(piece.content, list):
            lines = pack(piece.content)
            self._open(piece.name + TEXTS, np.dtype(np.uint8), (sum(map(len, lines)),))
            for line in lines:
                self._member.write(line)
        else:
            if piece.name != self._name:
                self._open(piece.name, piece.content.dtype, piece.shape)
            flat = np.ascontiguousarray(piece.content).reshape(-1)
            self._member.write(flat.view(np.uint8).data)
        return self._chunks(self.chunk_bytes)

    def close(self) -> list[bytes]:
        """Return the chunks that are left."""
        self._member.close()
        self._archive.close()
        return self._chunks(1)

    def _open(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._member.close()
        self._name = name
        self._member = self._archive.open(f"{name}.npy", "w", force_zip64=True)
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._member, header)

    def _chunks(self, least: int) -> list[bytes]:
        waiting, chunks = self._out.waiting, []
        while len(waiting) >= least:
            chunks.append(bytes(waiting[: self.chunk_bytes]))
            del waiting[: self.chunk_bytes]
        return chunks


class _Out(io.RawIOBase):
    """Where the archive goes: bytes that wait until they are a chunk."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        self.waiting += content
        self.sha256.update(content)
        self.size_bytes += len(content)
        return len(content)


def pack(texts: Sequence[str]) -> list[bytes]:
    """Return the bytes of texts, in pieces: JSON lists, one a line: as long as they are, whatever
    is in them.

    An array of numpy's own text type is as wide as its longest text, and drops a NUL at the end.

    >>> unpack(np.frombuffer(b"".join(pack(["a", "a\\0", "\\n"])), dtype=np.uint8))
    ['a', 'a\\x00', '\\n']
    """
    starts = range(0, len(texts), _TEXTS_AT_ONCE)
    return [json.dumps(texts[at : at + _TEXTS_AT_ONCE]).encode() + b"\n" for at in starts]


def unpack(packed: NDArray[np.generic]) -> list[str]:
    """Return the texts that `pack` was given, from its pieces one after the other."""
    return [text for line in packed.tobytes().splitlines() for text in json.loads(line)]
