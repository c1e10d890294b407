"""The producer on a real broker: what is acknowledged is there, what is refused is refused alone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from scrapy.settings import Settings
from structlog.testing import capture_logs

from crawlers import metrics
from crawlers.exceptions import RejectedRecord, Undelivered
from crawlers.sink_load import SinkLoad
from deploy.local import Stack
from pipelines import doubts
from pipelines.dead_letter import DeadLetters
from pipelines.delivery import Delivery
from pipelines.kafka_health import KafkaHealth
from pipelines.producer import Producer, Record, producer_config
from tests.letters import UNMASKED
from tests.polling import eventually
from tests.support import consume


@pytest.fixture
def config(kafka_env: dict[str, str]) -> dict[str, Any]:
    return producer_config(Settings({**kafka_env, "KAFKA_DELIVERY_TIMEOUT": 5}))


@pytest.fixture
def topic(kafka_env: dict[str, str]) -> str:
    """A compacted topic of one partition that takes batches of at most 20 kB."""
    name = f"topic-{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": kafka_env["KAFKA_BOOTSTRAP_SERVERS"]})
    settings = {"cleanup.policy": "compact", "max.message.bytes": "20000"}
    admin.create_topics([NewTopic(name, 1, 1, config=settings)])[name].result()
    return name


def record(topic: str, number: int, size: int = 10) -> Record:
    return Record(topic, b"key-%d" % number, b'"%s"' % secrets.token_hex(size // 2).encode(), [])


def run(producer: Producer, work: Coroutine[Any, Any, Any]) -> Any:
    async def and_close() -> Any:
        try:
            return await asyncio.wait_for(work, 60)
        finally:
            await producer.close()

    return asyncio.run(and_close())


def test_what_is_acknowledged_is_on_the_topic(config: dict[str, Any], topic: str, kafka_env: dict[str, str]) -> None:
    producer = Producer(config, drain_seconds=5)

    async def work() -> None:
        await asyncio.gather(*(producer.send(record(topic, number)) for number in range(500)))

    run(producer, work())
    assert {r.key for r in consume(kafka_env, topic, avro=False)} == {f"key-{number}" for number in range(500)}


def test_every_report_reaches_its_sender(config: dict[str, Any], topic: str) -> None:
    """Reports are asked for often only while some are awaited: that ends with a round, and the next begins it anew."""
    producer = Producer({**config, "linger.ms": 0}, drain_seconds=5)

    async def work() -> None:
        for number in range(0, 80, 4):
            await asyncio.gather(*(producer.send(record(topic, one)) for one in range(number, number + 4)))
            await eventually(lambda: producer._is_idle, "reports are asked for often that nobody awaits")

    run(producer, work())


def test_a_record_that_the_broker_refuses_takes_none_of_its_batch_with_it(
    config: dict[str, Any], topic: str, kafka_env: dict[str, str]
) -> None:
    producer = Producer({**config, "linger.ms": 200, "compression.type": "none"}, drain_seconds=5)

    async def work() -> list[Any]:
        sizes = [30_000 if number == 7 else 1_000 for number in range(15)]
        sends = (producer.send(record(topic, number, size)) for number, size in enumerate(sizes))
        return await asyncio.gather(*sends, return_exceptions=True)

    results = run(producer, work())
    assert [type(result) for result in results] == [RejectedRecord if n == 7 else type(None) for n in range(15)]
    assert {r.key for r in consume(kafka_env, topic, avro=False)} == {f"key-{n}" for n in range(15) if n != 7}


def test_a_record_over_the_clients_own_limit_is_refused_before_it_is_sent(config: dict[str, Any], topic: str) -> None:
    producer = Producer(config, drain_seconds=5)
    with pytest.raises(RejectedRecord, match="too large"):
        run(producer, producer.send(record(topic, 1, 1_100_000)))


def test_a_dead_letter_too_large_for_kafka_leaves_its_hash_and_its_size(
    config: dict[str, Any], topic: str, kafka_env: dict[str, str]
) -> None:
    producer = Producer(config, drain_seconds=5)
    item = {"url": "http://shop.example/1", "site": "shop", "identity": "1", "description": "x" * 2_000_000}
    letters = DeadLetters(Delivery(producer), SinkLoad(1, 1), UNMASKED, topic, "products")

    run(producer, letters.send(item, ValueError("y" * 1_000_000), "validation"))

    [letter] = consume(kafka_env, topic, avro=False)
    assert (letter.key, letter.value["url"]) == ("shop/1", "http://shop.example/1")
    assert letter.value["size"] > 2_000_000
    assert len(letter.value["sha256"]) == 64
    assert letter.headers["__connect.errors.exception.message"].startswith("yyy")


def test_records_wait_for_a_broker_that_is_away(
    config: dict[str, Any], topic: str, kafka_env: dict[str, str], kafka_stack: Stack
) -> None:
    producer = Producer({**config, "delivery.timeout.ms": 1500}, drain_seconds=30)

    async def work() -> None:
        await producer.send(record(topic, 0))
        await asyncio.to_thread(kafka_stack.down, services=["kafka"])
        sends = [asyncio.ensure_future(producer.send(record(topic, number))) for number in range(1, 50)]
        await a_failure()
        await asyncio.to_thread(kafka_stack.up, ["kafka"])
        await asyncio.gather(*sends)

    run(producer, work())
    assert {r.key for r in consume(kafka_env, topic, avro=False)} == {f"key-{number}" for number in range(50)}


class Fenced(Client):
    """A real producer at its end: so it answers after a fatal error, which no broker gives to order."""

    def produce(self, *_: Any, **__: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL, "fenced", fatal=True))


def is_replaced_and_loses_nothing(producer: Producer, broken: Client, topic: str, env: dict[str, str]) -> None:
    """`producer`, once, when its client is `broken`."""
    rebuilt = metrics.PRODUCER_REBUILDS._value.get()
    producer._client._client = broken

    async def work() -> None:
        await asyncio.gather(*(producer.send(record(topic, number)) for number in range(20)))

    run(producer, work())
    assert metrics.PRODUCER_REBUILDS._value.get() == rebuilt + 1
    assert {r.key for r in consume(env, topic, avro=False)} == {f"key-{number}" for number in range(20)}


def test_a_fatal_error_replaces_the_producer_and_loses_nothing(
    config: dict[str, Any], topic: str, kafka_env: dict[str, str]
) -> None:
    producer = Producer(config, drain_seconds=5)
    is_replaced_and_loses_nothing(producer, Fenced(config), topic, kafka_env)


class Deaf(Client):
    """A real producer that keeps what it is given: librdkafka's own do so too seldom for a test."""

    def produce(self, *_: Any, **__: Any) -> None:
        pass


def test_a_producer_that_is_silent_while_kafka_answers_is_replaced(
    config: dict[str, Any], topic: str, kafka_env: dict[str, str]
) -> None:
    producer = Producer(config, drain_seconds=5, health=KafkaHealth(0.1), doubts=doubts.Doubts(config, 0.3))
    is_replaced_and_loses_nothing(producer, Deaf(config), topic, kafka_env)


@pytest.mark.parametrize("is_away", [True, False])
def test_a_producer_is_not_blamed_for_a_kafka_that_is_away_or_a_topic_that_is(
    config: dict[str, Any], nowhere: str, monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    monkeypatch.setattr(doubts, "_TIMEOUT", 0.5 if is_away else 10)
    asked = doubts.Doubts({**config, **({"bootstrap.servers": nowhere} if is_away else {})}, 0)

    async def ask() -> list[bool]:
        answers = []
        for _ in range(4):
            answers.append(asked.is_stuck("no-such-topic"))
            if asked._task is not None:
                await asked._task
        return answers

    assert asyncio.run(ask()) == [False] * 4


def failures() -> float:
    """Sends that failed and were tried again, as the worker's metrics count them."""
    samples = [sample for metric in metrics.DELIVERY_RETRIES.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


async def a_failure() -> None:
    """Return when a send has failed once more: no event tells it, so the metric is asked again and again."""
    before = failures()
    while failures() == before:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def test_a_closing_worker_says_what_kafka_did_not_acknowledge(config: dict[str, Any]) -> None:
    nobody = {**config, "bootstrap.servers": "127.0.0.1:1"}
    producer = Producer(nobody, drain_seconds=0.2, closing=lambda: True)
    with pytest.raises(Undelivered, match=r"within 0\.2 s"):
        run(producer, producer.send(record("topic", 1)))


def test_a_topic_is_away_until_what_it_refused_is_taken() -> None:
    """A partition without a leader fails its records, while others are acknowledged."""
    topic = KafkaHealth(10).of("products")
    with capture_logs() as logs:
        topic.failed("no leader", again=False)
        topic.answered()
        topic.failed("no leader", again=True)
        topic.answered()
        topic.failing -= 1
        topic.answered()
    assert [entry["event"] for entry in logs] == ["kafka away", "kafka back"]
