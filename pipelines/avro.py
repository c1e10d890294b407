"""Turns items into Kafka records: Confluent's framing, plain-text key, the contract's headers."""

from __future__ import annotations

import io
import struct
from dataclasses import asdict, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, get_args, get_type_hints

import fastavro
from scrapy.exceptions import NotConfigured

from crawlers.exceptions import UnserializableItem
from crawlers.items import ClaimCheck, Product
from pipelines.encoder import MAGIC_BYTE, AvroEncoder
from pipelines.headers import PRODUCT_OBSERVED, contract_headers
from pipelines.producer import Record
from pipelines.registry import Registry
from pipelines.schemas import claimable_fields

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_FIELDS = tuple(field.name for field in fields(Product))
_DECIMALS = tuple(name for name, kind in get_type_hints(Product).items() if Decimal in (kind, *get_args(kind)))
_CLAIMABLE = tuple(claimable_fields("products"))


class AvroPipeline:
    """Encodes products by the committed `products` schema, whose id the registry gave at start-up."""

    def __init__(self, topic: str, schema_id: int):
        self._topic = topic
        self._encoder = ProductEncoder(schema_id)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not (settings.get("KAFKA_BOOTSTRAP_SERVERS") and settings.get("SCHEMA_REGISTRY_URL")):
            raise NotConfigured("KAFKA_BOOTSTRAP_SERVERS and SCHEMA_REGISTRY_URL are not both set")
        topic = settings["KAFKA_TOPIC_PRODUCTS"]
        register = settings.getbool("SCHEMA_REGISTRY_AUTO_REGISTER")
        registry = Registry.from_settings(settings)
        return cls(topic, registry.schema_id(f"{topic}-value", "products", register=register))

    def process_item(self, item: Product) -> Record:
        """The record of `item`. Raises UnserializableItem."""
        value = self._encoder.encode(item)
        return Record(self._topic, f"{item.site}/{item.identity}".encode(), value, _headers(item), item)


class ProductEncoder:
    """Products as framed Avro, by the committed schema under the id that its registry has given it."""

    def __init__(self, schema_id: int = 0):
        self._encoder = AvroEncoder("products", schema_id)

    def encode(self, item: Product) -> bytes:
        """The value of `item`'s record. Raises UnserializableItem."""
        values = {name: getattr(item, name) for name in _FIELDS}
        for name, claim in _claims(item):
            values[name] = asdict(claim)
        try:
            for name in _DECIMALS:  # zeros at the end are no more digits than the schema's scale allows
                values[name] = None if values[name] is None else values[name].normalize()
            return self._encoder.encode(values)
        except (ValueError, TypeError, AttributeError, OverflowError, ArithmeticError) as error:
            raise UnserializableItem(f"products.avsc: {error}") from error


def _headers(item: Product) -> list[tuple[str, bytes]]:
    assert item.fetched_at is not None
    about = item.record_id, item.crawl_id, item.spider, item.site, item.fetched_at
    references = [("ce_dataref", claim.uri.encode()) for _, claim in _claims(item)]
    return contract_headers(PRODUCT_OBSERVED, *about) + references[:1]


def _claims(item: Product) -> list[tuple[str, ClaimCheck]]:
    """The claims in `item`, by field."""
    return [(name, value) for name in _CLAIMABLE if isinstance(value := getattr(item, name), ClaimCheck)]


def decode_frame(value: bytes) -> tuple[int, bytes]:
    """(schema id, Avro bytes) of a framed value. Raises ValueError where it is not framed."""
    if len(value) < 5 or value[0] != MAGIC_BYTE:
        raise ValueError("not in Confluent's framing: it does not open with the magic byte and a schema id")
    return struct.unpack(">I", value[1:5])[0], value[5:]


def decode(value: bytes, schema_of: Any) -> dict[str, Any]:
    """The fields of a framed value; `schema_of` gives the parsed schema of an id."""
    schema_id, body = decode_frame(value)
    return fastavro.schemaless_reader(io.BytesIO(body), schema_of(schema_id))  # type: ignore[return-value,call-arg]
