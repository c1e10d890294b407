"""Dead letters: what cannot be delivered keeps its bytes and its reason in a topic of its own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

import msgspec
from itemadapter import ItemAdapter

from crawlers.masking.masking import Masking
from pipelines.delivery import Delivery
from pipelines.producer import Record

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_LARGEST = 900_000
"""Bytes of an item; Kafka's clients send a million, headers included. A larger item leaves its hash and its size."""
_LONGEST_TEXT = 8192

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class DeadLetters:
    """Writes items to KAFKA_TOPIC_DEAD_LETTERS: the item as JSON, the reason in Connect's headers and ours."""

    def __init__(self, delivery: Delivery, topic: str, subject: str, masking: Masking):
        self._delivery = delivery
        self._masking = masking
        self._topic = topic
        self._subject = subject

    @classmethod
    def of(cls, crawler: Crawler) -> Self | None:
        """The dead letters of `crawler`; None where no Kafka is configured."""
        settings = crawler.settings
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            return None
        topic, subject = settings["KAFKA_TOPIC_DEAD_LETTERS"], settings["KAFKA_TOPIC_PRODUCTS"]
        return cls(Delivery.of(crawler), topic, subject, Masking.of(crawler))

    async def send(self, item: Any, error: Exception, stage: str) -> None:
        """Return when the letter is delivered, as Delivery.send says."""
        fields = ItemAdapter(item).asdict() if ItemAdapter.is_item(item) else {"item": item}
        message = str(error)
        if (masker := self._masking.of_site(str(fields.get("site") or ""))) is not None:
            fields, message = masker.mapping(fields), masker.text(message)
        value = _encode(fields)
        if len(value) > _LARGEST:
            value = _encode({"sha256": hashlib.sha256(value).hexdigest(), "size": len(value), "url": _cut(fields)})
        headers = self._headers(fields, type(error).__name__, message, stage)
        await self._delivery.send(Record(self._topic, _key(fields), value, headers, item))

    def _headers(self, fields: dict[str, Any], kind: str, message: str, stage: str) -> list[tuple[str, bytes]]:
        headers = {
            "__connect.errors.topic": self._subject,
            "__connect.errors.stage": stage.upper(),
            "__connect.errors.exception.class.name": kind,
            "__connect.errors.exception.message": message[:_LONGEST_TEXT],
            "stage": stage,
            "attempt": 1,
            "schema_subject": f"{self._subject}-value",
        }
        headers |= {name: fields.get(name) for name in ("url", "crawl_id", "record_id", "spider")}
        return [
            (name, str(value)[:_LONGEST_TEXT].encode("utf-8", "replace"))
            for name, value in headers.items()
            if value not in (None, "")
        ]


def _key(fields: dict[str, Any]) -> bytes:
    key = "/".join(str(fields.get(name) or "") for name in ("site", "identity"))
    return key[:_LONGEST_TEXT].encode("utf-8", "replace")


def _cut(fields: dict[str, Any]) -> str:
    return str(fields.get("url") or "")[:_LONGEST_TEXT]
