"""Dead letters: what cannot be delivered keeps its bytes and its reason in a topic of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import msgspec
from itemadapter import ItemAdapter

from pipelines.producer import Producer, Record

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class DeadLetters:
    """Writes items to KAFKA_TOPIC_DEAD_LETTERS: the item as JSON, the reason in Connect's headers and ours."""

    def __init__(self, producer: Producer, topic: str, subject: str):
        self._producer = producer
        self._topic = topic
        self._subject = subject

    @classmethod
    def of(cls, crawler: Crawler) -> Self | None:
        """The dead letters of `crawler`; None where no Kafka is configured."""
        settings = crawler.settings
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            return None
        return cls(Producer.of(crawler), settings["KAFKA_TOPIC_DEAD_LETTERS"], settings["KAFKA_TOPIC_PRODUCTS"])

    async def send(self, item: Any, error: Exception, stage: str) -> None:
        """Return when Kafka has acknowledged the letter."""
        fields = ItemAdapter(item).asdict() if ItemAdapter.is_item(item) else {"item": item}
        await self._producer.send(
            Record(self._topic, _key(fields), _encode(fields), self._headers(fields, error, stage), item)
        )

    def _headers(self, fields: dict[str, Any], error: Exception, stage: str) -> list[tuple[str, bytes]]:
        headers = {
            "__connect.errors.topic": self._subject,
            "__connect.errors.stage": stage.upper(),
            "__connect.errors.exception.class.name": type(error).__name__,
            "__connect.errors.exception.message": str(error),
            "stage": stage,
            "attempt": 1,
            "schema_subject": f"{self._subject}-value",
        }
        headers |= {name: fields.get(name) for name in ("url", "crawl_id", "record_id", "spider")}
        return [(name, str(value).encode()) for name, value in headers.items() if value not in (None, "")]


def _key(fields: dict[str, Any]) -> bytes:
    return "/".join(str(fields.get(name) or "") for name in ("site", "identity")).encode()
