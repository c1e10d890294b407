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
from pipelines.producer import Record
from pipelines.registry import Registry
from pipelines.schemas import claimable_fields, schema

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_MAGIC_BYTE = 0
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
        registry = Registry(settings["SCHEMA_REGISTRY_URL"])
        return cls(topic, registry.schema_id(f"{topic}-value", "products", register=register))

    def process_item(self, item: Product) -> Record:
        """The record of `item`. Raises UnserializableItem."""
        value = self._encoder.encode(item)
        return Record(self._topic, f"{item.site}/{item.identity}".encode(), value, _headers(item), item)


class ProductEncoder:
    """Products as framed Avro, by the committed schema under the id that its registry has given it."""

    def __init__(self, schema_id: int = 0):
        self._frame = struct.pack(">bI", _MAGIC_BYTE, schema_id)
        self._schema = fastavro.parse_schema(schema("products"))

    def encode(self, item: Product) -> bytes:
        """The value of `item`'s record. Raises UnserializableItem."""
        values = {name: getattr(item, name) for name in _FIELDS}
        for name, claim in _claims(item):
            values[name] = asdict(claim)
        buffer = io.BytesIO(self._frame)
        buffer.seek(len(self._frame))
        try:
            for name in _DECIMALS:  # zeros at the end are no more digits than the schema's scale allows
                values[name] = None if values[name] is None else values[name].normalize()
            fastavro.schemaless_writer(buffer, self._schema, values, strict_allow_default=True)
        except (ValueError, TypeError, AttributeError, OverflowError, ArithmeticError) as error:
            raise UnserializableItem(f"products.avsc: {error}") from error
        return buffer.getvalue()


def _headers(item: Product) -> list[tuple[str, bytes]]:
    """The contract's headers; ce_* are CloudEvents' binary mode."""
    assert item.fetched_at is not None
    record_id = item.record_id.encode()
    references = [("ce_dataref", claim.uri.encode()) for _, claim in _claims(item)]
    return [
        ("record_id", record_id),
        ("crawl_id", item.crawl_id.encode()),
        ("spider", item.spider.encode()),
        ("ce_id", record_id),
        ("ce_source", f"/seine/{item.spider}/{item.site}".encode()),
        ("ce_type", b"seine.product.observed"),
        ("ce_specversion", b"1.0"),
        ("ce_time", item.fetched_at.isoformat(timespec="milliseconds").encode()),
        ("content-type", b"application/avro"),
        *references[:1],
    ]


def _claims(item: Product) -> list[tuple[str, ClaimCheck]]:
    """The claims in `item`, by field."""
    return [(name, value) for name in _CLAIMABLE if isinstance(value := getattr(item, name), ClaimCheck)]


def decode_frame(value: bytes) -> tuple[int, bytes]:
    """(schema id, Avro bytes) of a framed value. Raises ValueError where it is not framed."""
    if len(value) < 5 or value[0] != _MAGIC_BYTE:
        raise ValueError("not in Confluent's framing: it does not open with the magic byte and a schema id")
    return struct.unpack(">I", value[1:5])[0], value[5:]


def decode(value: bytes, schema_of: Any) -> dict[str, Any]:
    """The fields of a framed value; `schema_of` gives the parsed schema of an id."""
    schema_id, body = decode_frame(value)
    return fastavro.schemaless_reader(io.BytesIO(body), schema_of(schema_id))  # type: ignore[return-value,call-arg]
