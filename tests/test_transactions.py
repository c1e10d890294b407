"""One slot's transactions and its ledger, on a real broker."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from scrapy.settings import Settings

from pipelines.exactly_once.ledger import Entry, Ledger, LedgerBehind
from pipelines.exactly_once.transactions import Doubtful, Refused, Transactions
from pipelines.producer import Record

PARTITION = 1
LARGEST = 2000
"""Bytes of a batch that the topic takes."""
SECONDS = 2.0
"""That a transaction may last."""


class Place:
    """A topic, a ledger and the name of a slot of a test's own."""

    def __init__(self, servers: str):
        self.name = secrets.token_hex(4)
        self.settings = Settings(
            {
                "KAFKA_BOOTSTRAP_SERVERS": servers,
                "KAFKA_TOPIC_LEDGER": f"{self.name}.ledger",
                "KAFKA_TRANSACTION_TIMEOUT": SECONDS,
                "KAFKA_DELIVERY_TIMEOUT": 60,
            }
        )
        self.ledger = Ledger(self.settings)
        self._opened: list[Transactions] = []
        limit = {"max.message.bytes": str(LARGEST)}
        topics = [NewTopic(self.name, 1, 1, config=limit), NewTopic(self.ledger.topic, 2, 1)]
        admin = AdminClient({"bootstrap.servers": servers})
        for created in admin.create_topics(topics).values():
            created.result(20)

    def open(self) -> Transactions:
        """A new owner of the slot."""
        self._opened.append(Transactions(self.settings, self.name, lambda: False))
        self._opened[-1].open()
        return self._opened[-1]

    def commit(self, owner: Transactions, token: str, *records: Record, one_by_one: bool = False) -> int | None:
        ledger = Record(self.ledger.topic, b"1", self.ledger.encoded(entry(token)), [])
        return owner.commit(records, ledger, PARTITION, one_by_one=one_by_one)

    def record(self, text: str, size: int = 0) -> Record:
        return Record(self.name, text.encode(), secrets.token_bytes(size) or text.encode(), [])

    def committed(self) -> list[str]:
        """The keys that a read_committed consumer sees."""
        config = {"group.id": "x", "enable.partition.eof": True, "isolation.level": "read_committed"}
        consumer = Consumer({"bootstrap.servers": self.settings["KAFKA_BOOTSTRAP_SERVERS"], **config})
        consumer.assign([TopicPartition(self.name, 0, 0)])
        keys = []
        while (message := consumer.poll(20)) is not None and message.error() is None:
            keys.append((message.key() or b"").decode())
        consumer.close()
        return keys

    def tokens(self, offset: int = 0) -> list[str]:
        return [one.token for one in self.entries(offset)[0]]

    def entries(self, offset: int) -> tuple[list[Entry], int]:
        """What the ledger has from there on, and where it ends."""
        found: list[Entry] = []
        reader = self.ledger.read(PARTITION, offset)
        try:
            while True:
                page, end, is_last = reader.next_page()
                found += page
                if is_last:
                    return found, end
        finally:
            reader.close()


@pytest.fixture
def place(kafka_env: dict[str, str]) -> Iterator[Place]:
    place = Place(kafka_env["KAFKA_BOOTSTRAP_SERVERS"])
    yield place
    for owner in place._opened:
        owner.close()


def entry(token: str) -> Entry:
    return Entry(token, "seine:{0}:spider:crawl", [("00ff00ff00ff00ff", "delivered", "", 0)])


def test_records_and_the_ledgers_entry_are_committed_together(place: Place) -> None:
    owner = place.open()
    first = place.commit(owner, "one", place.record("a"), place.record("b"))
    second = place.commit(owner, "two", place.record("c"))
    assert place.committed() == ["a", "b", "c"]
    entries, end = place.entries(0)
    assert entries == [entry("one"), entry("two")]
    assert first is not None
    assert second is not None
    assert first < second <= end
    assert place.tokens(first) == ["two"]
    assert place.tokens(end) == []


def test_whoever_opens_a_slot_fences_its_last_owner(place: Place) -> None:
    first = place.open()
    place.commit(first, "one", place.record("a"))
    second = place.open()
    with pytest.raises(Doubtful, match="fatal"):
        place.commit(first, "two", place.record("b"))
    place.commit(second, "three", place.record("c"))
    assert place.committed() == ["a", "c"]
    assert place.tokens() == ["one", "three"]


def test_a_transaction_that_kafka_has_ended_is_in_doubt_and_its_records_are_not_there(place: Place) -> None:
    class Late(list[Any]):
        """Takes longer between its records than a transaction may last."""

        def __iter__(self) -> Iterator[Any]:
            for record in super().__iter__():
                yield record
                owner._flush()
                time.sleep(2 * SECONDS + 1)

    owner = place.open()
    ledger = Record(place.ledger.topic, b"1", place.ledger.encoded(entry("one")), [])
    with pytest.raises(Doubtful):
        owner.commit(Late([place.record("a"), place.record("b")]), ledger, PARTITION, one_by_one=False)
    place.commit(place.open(), "two", place.record("c"))
    assert place.committed() == ["c"]
    assert place.tokens() == ["two"]


def test_a_refused_record_is_found_by_sending_one_by_one_and_nothing_is_committed_before(place: Place) -> None:
    records = [place.record("a"), place.record("large", 2 * LARGEST), place.record("b")]
    with pytest.raises(Refused) as refused:
        place.commit(place.open(), "one", *records)
    assert not refused.value.is_certain
    with pytest.raises(Refused) as refused:
        place.commit(place.open(), "one", *records, one_by_one=True)
    assert refused.value.is_certain
    assert refused.value.records == [1]
    place.commit(place.open(), "one", records[0], records[2], one_by_one=True)
    assert place.committed() == ["a", "b"]
    assert place.tokens() == ["one"]


def test_a_record_that_is_too_large_for_any_batch_is_known_at_once(place: Place) -> None:
    with pytest.raises(Refused) as refused:
        place.commit(place.open(), "one", place.record("a"), place.record("huge", 2_000_000))
    assert refused.value.is_certain
    assert refused.value.records == [1]
    place.commit(place.open(), "one", place.record("a"))
    assert place.committed() == ["a"]


def test_a_ledger_that_is_behind_redis_is_an_error(place: Place) -> None:
    place.commit(place.open(), "one", place.record("a"))
    with pytest.raises(LedgerBehind, match="ends at 2, and Redis has seen it up to 9"):
        place.ledger.read(PARTITION, 9)
