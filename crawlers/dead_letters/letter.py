"""A dead letter as it is read from its topic, and the receipt that says what became of its replay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from crawlers.frontier.request_json import SCREENSHOT
from pipelines.letter import ITEM, MESSAGE, REQUEST

RECEIPT = "replayed"
"""The stage of a receipt. Its value is empty; its key is its letter's, after which it lies in the same partition."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter, without its bytes. What a header does not tell is ''; times are in milliseconds."""

    id: str
    partition: int
    offset: int
    timestamp: int
    key: str
    size: int
    """Bytes of its value."""
    kind: str
    stage: str
    error: str
    message: str
    url: str
    domain: str
    budget: str
    site: str
    spider: str
    crawl: str
    request_id: str
    record_id: str
    content_type: str
    is_masked: bool
    """Whether its value is not what it was."""
    claim: str
    """The URI of its value, where that is in the claim store."""
    screenshot: str
    """The URI of the picture of what a request died of."""
    result: str
    """Of a receipt: what its replay came to."""
    attempt: int
    death: int
    replays: int
    """How often it was sent back before."""

    @classmethod
    def read(cls, message: Any) -> Self:
        """That of a Kafka message."""
        headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or []}

        def text(name: str) -> str:
            return headers.get(name, "")

        return cls(
            id=text("letter_id") or f"{message.partition()}-{message.offset()}",
            partition=message.partition(),
            offset=message.offset(),
            timestamp=message.timestamp()[1],
            key=(message.key() or b"").decode("utf-8", "replace"),
            size=len(message.value() or b""),
            kind=REQUEST if text("kind") == REQUEST else ITEM,
            stage=text("stage"),
            error=text("error") or text("__connect.errors.exception.class.name"),
            message=text(MESSAGE),
            url=text("url"),
            domain=text("domain"),
            budget=text("budget"),
            site=text("site"),
            spider=text("spider"),
            crawl=text("crawl_id"),
            request_id=text("request_id"),
            record_id=text("record_id"),
            content_type=text("content-type"),
            is_masked=bool(text("masked")),
            claim=text("ce_dataref"),
            screenshot=text(SCREENSHOT),
            result=text("result"),
            attempt=_number(text("attempt"), 1),
            death=_number(text("death"), 1),
            replays=_number(text("replays"), 0),
        )

    @property
    def is_receipt(self) -> bool:
        """Whether it tells of the replay of the letter with its id."""
        return self.stage == RECEIPT

    @property
    def time(self) -> str:
        """When it was written, ISO 8601."""
        return datetime.fromtimestamp(self.timestamp / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def receipt(self, result: str) -> list[tuple[str, bytes]]:
        """The headers of its receipt."""
        fields = {
            "letter_id": self.id,
            "kind": self.kind,
            "stage": RECEIPT,
            "result": result,
            "url": self.url,
            "domain": self.domain,
            "budget": self.budget,
            "spider": self.spider,
            "crawl_id": self.crawl,
            "request_id": self.request_id,
            "record_id": self.record_id,
            "death": str(self.death),
        }
        return [(name, value.encode("utf-8", "replace")) for name, value in fields.items() if value]


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default
