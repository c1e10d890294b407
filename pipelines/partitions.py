"""Which partition a key lies in, as Java's clients and our producers choose it."""

from __future__ import annotations

_SEED = 0x9747B28C
_M = 0x5BD1E995
_32_BITS = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition, of so many, that a record with that key is in."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """Kafka's murmur2, as an unsigned 32-bit number."""
    digest = (_SEED ^ len(data)) & _32_BITS
    whole = len(data) & ~3
    for place in range(0, whole, 4):
        part = int.from_bytes(data[place : place + 4], "little") * _M & _32_BITS
        digest = (digest * _M & _32_BITS) ^ ((part ^ part >> 24) * _M & _32_BITS)
    if rest := data[whole:]:
        digest = (digest ^ int.from_bytes(rest, "little")) * _M & _32_BITS
    digest = (digest ^ digest >> 13) * _M & _32_BITS
    return digest ^ digest >> 15
