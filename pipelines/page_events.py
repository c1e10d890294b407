"""Records of the audit trail: pages as Avro, keyed by their fingerprints."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any, Self

from crawlers.page import Page
from pipelines.encoder import AvroEncoder
from pipelines.headers import PAGE_FETCHED, contract_headers
from pipelines.producer import Record
from pipelines.registry import Registry

_FIELDS = tuple(field.name for field in fields(Page))


def is_audited(settings: Any) -> bool:
    """Whether there is an audit trail."""
    return bool(settings.get("KAFKA_BOOTSTRAP_SERVERS") and settings.get("KAFKA_TOPIC_PAGES"))


class PageEvents:
    """Makes the records of KAFKA_TOPIC_PAGES, by the committed `pages` schema."""

    def __init__(self, topic: str, schema_id: int):
        self.topic = topic
        self._encoder = AvroEncoder("pages", schema_id)

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """Asks the registry for the schema's id, and blocks. Raises StartupError."""
        topic = settings["KAFKA_TOPIC_PAGES"]
        register = settings.getbool("SCHEMA_REGISTRY_AUTO_REGISTER")
        registry = Registry.from_settings(settings)
        return cls(topic, registry.schema_id(f"{topic}-value", "pages", register=register))

    def record(self, page: Page, request_id: bytes, kind: str = PAGE_FETCHED) -> Record:
        """The record of `page`, an event of that kind; `request_id` tells apart requests that share a fingerprint."""
        about = page.crawl_id, page.spider, page.site or page.domain, page.ended_at
        headers = contract_headers(kind, _event_id(page, request_id), *about)
        values = {name: getattr(page, name) for name in _FIELDS}
        return Record(self.topic, page.fingerprint.encode(), self._encoder.encode(values), headers, page)


def _event_id(page: Page, request_id: bytes) -> str:
    """A request that is worked on again in the same crawl, to the same end, has the same one."""
    told = f"{page.crawl_id}|{request_id.hex()}|{page.attempt}|{page.outcome}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]
