"""The ways of bringing products to Kafka. Each is given what it takes as it takes it, and returns when all is there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError, SerializingProducer
from confluent_kafka import Producer as Client
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import StringSerializer

from crawlers.items import Product
from crawlers.outcomes import CURRENT, RequestRecord
from pipelines.avro import AvroPipeline
from pipelines.delivery import Delivery
from pipelines.exactly_once.ledger import Entry, Ledger
from pipelines.exactly_once.transactions import Transactions
from pipelines.kafka import KafkaPipeline
from pipelines.producer import Producer, Record, producer_config
from pipelines.schemas import schema_text

OURS, SENDING, ONCE = "Seine", "Seine, encoded", "Seine, exactly once"
RAW, USUAL = "raw librdkafka", "the usual way"

AT_ONCE = 450
"""Items that wait for their acknowledgement: Scrapy works on 5 MB of responses at once, and these pages have 11 kB."""
_BATCH = 200
"""Requests of a transaction."""


class Side(Protocol):
    """One way."""

    def __init__(self, settings: Any, schema_id: int): ...

    def prepare(self, items: list[Product]) -> list[Any]:
        """What is not measured: what `deliver` takes, of `items`."""

    async def deliver(self, given: list[Any]) -> None:
        """Return when Kafka has acknowledged all."""


class AtLeastOnce:
    """The ends of the item pipelines: from a product to its acknowledged record."""

    def __init__(self, settings: Any, schema_id: int):
        self._avro = AvroPipeline(settings["KAFKA_TOPIC_PRODUCTS"], schema_id)
        self._delivery = Delivery(Producer(producer_config(settings), settings.getfloat("KAFKA_DRAIN_TIMEOUT")))
        self._kafka = KafkaPipeline(self._delivery)

    def prepare(self, items: list[Product]) -> list[Any]:
        return items

    async def deliver(self, given: list[Any]) -> None:
        rest = iter(given)
        await asyncio.gather(*(self._one_by_one(rest) for _ in range(AT_ONCE)))

    async def _one_by_one(self, items: Iterator[Any]) -> None:
        for item in items:
            await self._kafka.process_item(self._avro.process_item(item))


class Sending(AtLeastOnce):
    """The same without the encoding: from a record to its acknowledgement."""

    def prepare(self, items: list[Product]) -> list[Any]:
        return [self._avro.process_item(item) for item in items]

    async def _one_by_one(self, items: Iterator[Any]) -> None:
        for record in items:
            await self._delivery.send(record)


class ExactlyOnce:
    """A slot's transactions: while one is committed, the records of the next are made. Redis is not asked."""

    def __init__(self, settings: Any, schema_id: int):
        producer = Producer(producer_config(settings), settings.getfloat("KAFKA_DRAIN_TIMEOUT"))
        self._avro = AvroPipeline(settings["KAFKA_TOPIC_PRODUCTS"], schema_id)
        self._kafka = KafkaPipeline(Delivery(producer, is_exactly_once=True))
        self._ledger = Ledger(settings)
        self._transactions = Transactions(settings, settings["KAFKA_TOPIC_LEDGER"], lambda: False)
        self._transactions.open()

    def prepare(self, items: list[Product]) -> list[Any]:
        return items

    async def deliver(self, given: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        committing: asyncio.Future[Any] | None = None
        for start in range(0, len(given), _BATCH):
            commit = await self._transaction(given[start : start + _BATCH])
            if committing is not None:
                await committing
            committing = loop.run_in_executor(None, commit)
        if committing is not None:
            await committing

    async def _transaction(self, items: list[Product]) -> partial[Any]:
        """The call that commits them, a request each, with the ledger's entry."""
        records: list[Record] = []
        for item in items:
            request = RequestRecord()
            token = CURRENT.set(request)
            await self._kafka.process_item(self._avro.process_item(item))
            CURRENT.reset(token)
            records += request.records
        requests = [(secrets.token_hex(8), "delivered", "") for _ in items]
        entry = Entry(secrets.token_hex(16), "seine:{0}:product_spider:bench", requests)
        ledger = Record(self._ledger.topic, b"0", self._ledger.encoded(entry), [])
        return partial(self._transactions.commit, records, ledger, 0, one_by_one=False)


class Raw:
    """librdkafka with the same configuration, given the same bytes, keys and headers as fast as it takes them."""

    def __init__(self, settings: Any, schema_id: int):
        self._avro = AvroPipeline(settings["KAFKA_TOPIC_PRODUCTS"], schema_id)
        self._client = Client(producer_config(settings))
        self._acknowledged = 0

    def prepare(self, items: list[Product]) -> list[Any]:
        return [self._avro.process_item(item) for item in items]

    async def deliver(self, given: list[Any]) -> None:
        wanted = self._acknowledged + len(given)
        for record in given:
            self._produce(record)
            self._client.poll(0)
        self._client.flush()
        assert self._acknowledged == wanted, f"{wanted - self._acknowledged} records were not delivered"

    def _produce(self, record: Record) -> None:
        while True:
            try:
                record.produce_with(self._client, self._reported)
                return
            except BufferError:
                self._client.poll(0.01)

    def _reported(self, error: KafkaError | None, _: Any) -> None:
        self._acknowledged += error is None


class Usual:
    """Confluent's AvroSerializer and a flush per item, as most pipelines have it."""

    def __init__(self, settings: Any, schema_id: int):
        self._topic = settings["KAFKA_TOPIC_PRODUCTS"]
        registry = SchemaRegistryClient({"url": settings["SCHEMA_REGISTRY_URL"]})
        conf = {"auto.register.schemas": False, "subject.name.strategy.type": "TOPIC"}
        serializer = AvroSerializer(registry, schema_text("products"), _as_dict, conf)
        servers = settings["KAFKA_BOOTSTRAP_SERVERS"]
        self._producer = SerializingProducer(
            {"bootstrap.servers": servers, "key.serializer": StringSerializer(), "value.serializer": serializer}
        )

    def prepare(self, items: list[Product]) -> list[Any]:
        return items

    async def deliver(self, given: list[Any]) -> None:
        for item in given:
            self._producer.produce(self._topic, f"{item.site}/{item.identity}", item)
            self._producer.flush()


_NAMES = tuple(field.name for field in fields(Product))


def _as_dict(item: Product, _: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in _NAMES}


SIDES: dict[str, type[Side]] = {OURS: AtLeastOnce, SENDING: Sending, ONCE: ExactlyOnce, RAW: Raw, USUAL: Usual}
