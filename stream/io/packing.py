"""Snapshots as the bytes of plain arrays and texts, a piece at a time, never pickled.

An archive as numpy's `.npz`, with a member of JSON lines for each list of texts.
"""

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

from stream.core.plain import TEXT_BYTES, Frozen, FrozenTexts, Restored, Snapshot, parts

_ARRAY, _TEXTS = ".npy", ".texts"
"""End the names of members."""
_PIECE_BYTES = 524_288
"""Bytes that are copied, and packed, in one go: other threads wait for as long."""
_TEXTS_AT_ONCE = 1_000


class Piece(NamedTuple):
    """A part of an array or of a list of texts: its name, the shape of the whole, and some rows."""

    name: str
    shape: tuple[int, ...]
    content: NDArray[Any] | list[str]

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        if isinstance(self.content, list):
            return TEXT_BYTES * len(self.content)
        return self.content.nbytes


def pieces(of: Snapshot) -> Iterator[Piece]:
    """Yield a snapshot in parts, each of which is copied when it is asked for."""
    for name, value in of.items():
        if isinstance(value, Frozen | FrozenTexts):
            for some in parts(value, max(_PIECE_BYTES // max(value.row_bytes, 1), 1)):
                yield Piece(name, value.shape, some)
        else:
            yield Piece(name, (len(value),) if isinstance(value, list) else value.shape, value)


class Packer:
    """Writes arrays as `numpy.savez` does, texts as JSON, and hands out the bytes in chunks.

    Parameters
    ----------
    chunk_bytes
        Of each chunk but the last.

    >>> packer = Packer(chunk_bytes=1_000_000)
    >>> packer.add(Piece("a", (2,), np.array([1]))), packer.add(Piece("a", (2,), np.array([2])))
    ([], [])
    >>> unpack(packer.close()[0])["a"].tolist()
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
            self._open(piece.name + _TEXTS)
            for line in packed_texts(piece.content):
                self._member.write(line)
        else:
            if self._open(piece.name + _ARRAY):
                dtype, shape = piece.content.dtype.str, piece.shape
                header = {"descr": dtype, "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(self._member, header)
            flat = np.ascontiguousarray(piece.content).reshape(-1)
            self._member.write(flat.view(np.uint8).data)
        return self._chunks(self.chunk_bytes)

    def close(self) -> list[bytes]:
        """Return the chunks that are left."""
        self._member.close()
        self._archive.close()
        return self._chunks(1)

    def _open(self, name: str) -> bool:
        """Have a member of this name, and return whether it is new."""
        if name == self._name:
            return False
        self._member.close()
        self._name = name
        self._member = self._archive.open(name, "w", force_zip64=True)
        return True

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


def packed_texts(texts: Sequence[str]) -> Iterator[bytes]:
    r"""Yield the bytes of texts, in pieces: JSON lists, one a line: as long as they are, whatever
    is in them.

    An array of numpy's own text type is as wide as its longest text, and drops a NUL at the end.

    >>> list(packed_texts(["a", "a\0", "\n"]))
    [b'["a", "a\\u0000", "\\n"]\n']
    """
    for at in range(0, len(texts), _TEXTS_AT_ONCE):
        yield json.dumps(texts[at : at + _TEXTS_AT_ONCE]).encode() + b"\n"


def unpack(packed: bytes) -> Restored:
    """Return what a `Packer` was given, whole. What it raises for anything else, nobody knows."""
    found: dict[str, Any] = {}
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                if name.endswith(_TEXTS):
                    found[name.removesuffix(_TEXTS)] = [
                        text for line in member for text in json.loads(line)
                    ]
                else:
                    array = npy.read_array(member, allow_pickle=False)
                    found[name.removesuffix(_ARRAY)] = array
    return found
