"""Notes on products, as lua/products.lua takes them: they are written when their request settles, and only then."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from crawlers.changes.pages import never_skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

Note = tuple[str | bytes | int, ...]
"""(what, topic, site, product or page, arguments)."""

LONGEST_KEY = 40
"""Bytes of an identity that is its own key. Redis keeps a hash compact while none of its fields is longer than 64."""
_HEAD = struct.Struct(">HH")
_HOURS = 1 << 16
_PASSES = 1 << 16
"""Passes over a site are counted modulo this."""


class Remembered(NamedTuple):
    """What Redis keeps of one product."""

    seen_in: int
    """The pass over its site that it was last seen in, modulo 65536."""
    hour: int
    """Of its last record, in hours since the epoch, modulo 65536."""
    fingerprints: bytes

    @classmethod
    def read(cls, value: bytes) -> Remembered:
        """What lua/products.lua keeps as `value`."""
        seen_in, hour = _HEAD.unpack_from(value)
        return cls(seen_in, hour, value[_HEAD.size :])

    def hours_since(self, now: float) -> int:
        """Hours since its last record, rounded up; `now` in seconds since the epoch."""
        return (hour_of(now) - self.hour) % _HOURS + 1


def missed(pass_: int, remembered: Remembered) -> int:
    """How many passes up to that one have not seen a product; 0 where a later one has. lua/missing.lua counts so."""
    passes = (pass_ - remembered.seen_in) % _PASSES
    return passes if passes < _PASSES // 2 else 0


def hour_of(now: float) -> int:
    """What is kept of a moment in seconds since the epoch."""
    return int(now / 3600) % _HOURS


def product_key(identity: str) -> bytes:
    """What a product is remembered by: its identity, or byte 0 and a digest of a long one."""
    key = identity.encode()
    return key if len(key) <= LONGEST_KEY and key[:1] > b"\1" else b"\0" + hashlib.sha256(key).digest()[:9]


def seen(topic: str, site: str, identity: str, hour: int, fingerprints: bytes, life: int) -> Note:
    """The product was seen, and its last record is of that hour; it is remembered for `life` seconds, 0: for ever."""
    key = product_key(identity)
    text = identity.encode() if key[:1] == b"\0" else b""
    return ("seen", topic, site, key, struct.pack(">H", hour) + fingerprints, text, life)


def gone(topic: str, site: str, identity: str, remembered: bytes) -> Note:
    """The product is to be forgotten, where it is still remembered as it was."""
    return ("gone", topic, site, product_key(identity), remembered)


def forgotten(topic: str, site: str, identity: str) -> Note:
    """A record of the product was written that was compared with nothing: the next crawl tells it as new."""
    return ("forgotten", topic, site, product_key(identity))


def vouched(topic: str, site: str, key: bytes) -> Note:
    """Nothing new is known of a product: it counts as seen."""
    return ("vouched", topic, site, key)


def without(told: Sequence[Note], item: Any) -> list[Note]:
    """`told`, where the record of `item` is not produced after all: its product counts as seen."""
    about = item.site, product_key(item.identity)
    lost = [note for note in told if note[2:4] == about]
    kept = [note for note in told if note not in lost and note[0] != "page"]
    return kept + [("vouched", *note[1:4]) for note in lost if note[0] == "seen"]


def page(topic: str, site: str, id_: bytes, value: bytes) -> Note:
    """A page was read that shows one product; see crawlers/changes/pages.py for `value`."""
    return ("page", topic, site, id_, value)


def skipped(topic: str, site: str, id_: bytes, due: int, interval: int) -> Note:
    """A page was not sent, as it is what it was, or could not be had: its product counts as seen."""
    return ("skipped", topic, site, id_, due, interval)


def as_told(notes: Sequence[Note], *, leads_on: bool) -> list[Note]:
    """`notes` as they are written: a page that was the first to lead to others (`leads_on`) is read every time."""
    if not leads_on:
        return list(notes)
    return [(*note[:4], never_skipped(note[4])) if note[0] == "page" else note for note in notes]  # type: ignore[arg-type]
