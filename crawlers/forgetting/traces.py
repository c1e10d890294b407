"""What the topics hold of a product: its records and dead letters, read from end to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crawlers.claims.references import claims_of
from crawlers.records import RecordReader

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(slots=True)
class Traces:
    """Of the products with the wanted keys."""

    records: int = 0
    """Retained ones, tombstones not counted."""
    partitions: dict[str, set[int]] = field(default_factory=dict)
    """Where records of each key are: in several partitions where the topic was given more."""
    letters: int = 0
    last_letter: datetime | None = None
    record_ids: dict[str, set[str]] = field(default_factory=dict)
    """Those of the records of each key."""
    claims: set[str] = field(default_factory=set)
    """The hashes of what records and letters refer to."""


def keys_of_url(settings: Any, spellings: Collection[str]) -> list[str]:
    """The keys of the products that were read from a page, by its address as records may spell it. Blocks."""
    marks = [spelling.encode() for spelling in spellings]
    keys = set()
    with RecordReader(settings, settings["KAFKA_TOPIC_PRODUCTS"]) as reader:
        for message in reader.retained():
            value = message.value() or b""
            if any(mark in value for mark in marks):  # Avro's texts are their bytes: few records need decoding
                fields = reader.decoded(message)["value"]
                if fields["url"] in spellings or fields["canonical_url"] in spellings:
                    keys.add(_text(message.key()))
    return sorted(keys)


def traces(settings: Any, keys: Collection[str]) -> Traces:
    """What the topics of products and dead letters hold of the products with these keys. Blocks."""
    found = Traces()
    wanted = {key.encode() for key in keys}
    with RecordReader(settings, settings["KAFKA_TOPIC_PRODUCTS"]) as reader:
        for message in reader.retained():
            if message.key() in wanted and message.value() is not None:
                found.records += 1
                found.claims |= claims_of(message)
                key = _text(message.key())
                found.partitions.setdefault(key, set()).add(message.partition())
                found.record_ids.setdefault(key, set()).update(_record_ids(message))
    with RecordReader(settings, settings["KAFKA_TOPIC_DEAD_LETTERS"]) as reader:
        for message in reader.retained():
            if message.key() in wanted:
                found.letters += 1
                found.claims |= claims_of(message)
                written = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
                found.last_letter = max(found.last_letter or written, written)
    return found


def _record_ids(message: Any) -> list[str]:
    return [_text(value) for name, value in message.headers() or [] if name == "record_id"]


def _text(key: bytes | None) -> str:
    return (key or b"").decode("utf-8", "replace")
