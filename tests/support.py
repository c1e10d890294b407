"""What tests share: crawls as users run them, a consumer that knows only the wire."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.forks import start_scrapy

ROOT = Path(__file__).parent.parent


def own_topics() -> dict[str, str]:
    """Settings that name topics which no other test has."""
    topic = f"products-{secrets.token_hex(4)}"
    letters, pages = f"{topic}.dlq", f"{topic}.pages"
    return {"KAFKA_TOPIC_PRODUCTS": topic, "KAFKA_TOPIC_DEAD_LETTERS": letters, "KAFKA_TOPIC_PAGES": pages}


@dataclass
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str
    log: list[dict[str, Any]] = field(default_factory=list)
    """Its structured log, one event each."""

    def events(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        """The events of that name whose fields are as wanted."""
        found = [event for event in self.log if event.get("event") == name]
        return [event for event in found if all(event.get(key) == value for key, value in wanted.items())]


class Seine:
    """Runs `scrapy` in a folder of its own, as a user does, with an environment of its own; `root` is the checkout."""

    started: ClassVar[list[subprocess.Popen[str]]] = []
    """The commands of the running test."""

    def __init__(self, folder: Path, env: dict[str, str], root: Path = ROOT):
        self.folder = folder
        self.root = root
        own = {"PYTHONPATH": str(root), "SCRAPY_SETTINGS_MODULE": "crawlers.settings", "STATUS_PORT": "0"}
        self.env = {**os.environ, **own, "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8", **env}

    def start(self, *args: str) -> subprocess.Popen[str]:
        """The running command; it does not outlive its test."""
        self.started.append(start_scrapy(*args, cwd=self.root, env=self.env))
        return self.started[-1]

    def run(self, *args: str, timeout: float = 180) -> Finished:
        """The command's end; it is killed after `timeout` seconds."""
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{args} still runs after {timeout} s:\n{err[-3000:]}") from None
        return Finished(process.returncode, out, err, events_in(err))

    def crawl(self, *args: str, timeout: float = 180, **settings: Any) -> Finished:
        """`scrapy crawl product_spider` with those arguments and `-s` settings."""
        options = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]
        return self.run("crawl", "product_spider", *args, *options, timeout=timeout)


def events_in(text: str) -> list[dict[str, Any]]:
    """The structured log in what a command has written."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"')]


@dataclass
class Consumed:
    """A record as a consumer with nothing but the registry sees it."""

    key: str
    value: Any
    headers: dict[str, str]
    partition: int


def consume(env: dict[str, str], topic: str, *, avro: bool = True) -> list[Consumed]:
    """Every record of `topic` up to its end, by Confluent's own consumer and Avro deserializer."""
    config = {"bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": f"test-{topic}"}
    consumer = Consumer({**config, "enable.auto.commit": False, "enable.partition.eof": True})
    registry = SchemaRegistryClient({"url": env["SCHEMA_REGISTRY_URL"], "timeout": 20})
    by_topic = {"subject.name.strategy.type": "TOPIC"}  # the default asks an endpoint that not every registry has
    decode = AvroDeserializer(registry, conf=by_topic) if avro else None
    try:
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        return list(_to_the_end(consumer, set(partitions), topic, decode))
    finally:
        consumer.close()


def _to_the_end(consumer: Consumer, unread: set[int], topic: str, decode: Any) -> Any:
    context = SerializationContext(topic, MessageField.VALUE)
    while unread:
        message = consumer.poll(30)
        assert message is not None, f"{topic} has not been read to its end within 30 s"
        if message.error() is not None:
            unread.discard(message.partition())
            continue
        value = decode(message.value(), context) if decode else json.loads(message.value())
        headers = {name: text.decode() for name, text in message.headers() or []}
        yield Consumed(message.key().decode(), value, headers, message.partition())
