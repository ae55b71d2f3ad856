"""Where a key lies: the same on every bus, and for every client of Kafka."""

from __future__ import annotations

import struct


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: by MurmurHash2, as Kafka's own clients choose it.

    >>> [partition_of(key, 4) for key in (b"C1", b"C2", b"M1979787155")]
    [1, 1, 3]
    """
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(key)
    hashed = 0x9747B28C ^ length
    words = length // 4
    for word in struct.unpack_from(f"<{words}I", key):
        k = word * m & mask
        hashed = (hashed * m & mask) ^ ((k ^ (k >> 24)) * m & mask)
    if length % 4:
        hashed = (hashed ^ int.from_bytes(key[words * 4 :], "little")) * m & mask
    hashed = (hashed ^ (hashed >> 13)) * m & mask
    return ((hashed ^ (hashed >> 15)) & 0x7FFFFFFF) % partitions
