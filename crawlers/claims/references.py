"""Which claims the records of topics refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crawlers.records import RecordReader
from pipelines.claims.layout import claims_in, is_sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Reference(NamedTuple):
    """A record's reference to a blob."""

    sha256: str
    size: int | None
    """As the record has it; None where it does not say."""
    where: str
    """The record: topic[partition]@offset and its key."""


def referred(settings: Any, topics: list[str]) -> Iterator[set[str]]:
    """The claims of each retained record, whatever its format. Those of open and aborted transactions count, too."""
    for topic in topics:
        with RecordReader(settings, topic, isolation="read_uncommitted") as reader:
            for message in reader.retained():
                yield claims_of(message)


def references(settings: Any, topics: list[str]) -> Iterator[list[Reference]]:
    """The references of each retained record, once it is committed; decoded for their sizes."""
    for topic in topics:
        with RecordReader(settings, topic) as reader:
            for message in reader.retained():
                found = claims_of(message)
                sizes = _sizes(reader.decoded(message)["value"]) if found else {}
                where = f"{topic}[{message.partition()}]@{message.offset()} {_text(message.key())}"
                yield [Reference(sha256, sizes.get(sha256), where) for sha256 in sorted(found)]


class _Place(NamedTuple):
    """Where a claim is referred to."""

    sha256: str
    topic: str
    partition: int
    key: bytes | None


def still_referred(settings: Any, topics: list[str], claims: Collection[str], but: Collection[str] = ()) -> set[str]:
    """Those of `claims` that a record refers to which no tombstone follows, and whose key is none of `but`. Blocks.

    Records of transactions that are open or aborted count, and their tombstones do not.
    """
    places: dict[_Place, int] = {}
    for topic in topics if claims else ():
        places |= _places(settings, topic, set(claims), {key.encode() for key in but})
    keys = {place.key for place in places}
    buried: dict[tuple[str, int, bytes | None], int] = {}
    for topic in {place.topic for place in places}:
        buried |= _tombstones(settings, topic, keys)
    return {place.sha256 for place, offset in places.items() if buried.get(place[1:], -1) < offset}


def _places(settings: Any, topic: str, claims: set[str], but: set[bytes]) -> dict[_Place, int]:
    """The last offset at which each of `claims` is referred to by each key."""
    places = {}
    with RecordReader(settings, topic, isolation="read_uncommitted") as reader:
        for message in reader.retained():
            if message.key() not in but:
                for sha256 in claims_of(message) & claims:
                    places[_Place(sha256, topic, message.partition(), message.key())] = message.offset()
    return places


def _tombstones(settings: Any, topic: str, keys: set[bytes | None]) -> dict[tuple[str, int, bytes | None], int]:
    """The offsets of the last committed tombstones of `keys`, by topic, partition and key."""
    found = {}
    with RecordReader(settings, topic) as reader:
        for message in reader.retained():
            if message.value() is None and message.key() in keys:
                found[topic, message.partition(), message.key()] = message.offset()
    return found


def claims_of(message: Any) -> set[str]:
    """The hashes of what a message's value and headers refer to."""
    headers = message.headers() or []
    return claims_in(message.value() or b"").union(*(claims_in(value or b"") for _, value in headers))


def _sizes(value: Any) -> dict[str, int]:
    """The sizes in all claims of a decoded value, by hash."""
    if isinstance(value, list):
        return {sha256: size for one in value for sha256, size in _sizes(one).items()}
    if not isinstance(value, dict):
        return {}
    sha256, size = value.get("sha256"), value.get("size")
    if "uri" in value and isinstance(sha256, str) and is_sha256(sha256) and isinstance(size, int):
        return {sha256: size}
    return {sha256: size for one in value.values() for sha256, size in _sizes(one).items()}


def _text(key: bytes | None) -> str:
    return "".join(char if char.isprintable() else " " for char in (key or b"").decode("utf-8", "replace"))
