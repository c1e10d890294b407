"""Topics that tests make and delete: when a call returns, the broker that workers ask knows of it."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.polling import until

_SECONDS = 30


def admin_of(env: Mapping[str, str]) -> AdminClient:
    """A client of the Kafka that those environment variables name."""
    return AdminClient({"bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"]})


def create_topic(client: AdminClient, topic: str, partitions: int = 2, **config: str) -> None:
    """Return when it is there, made now or by somebody else."""
    try:
        client.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(_SECONDS)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    until(lambda: topic in client.list_topics(timeout=_SECONDS).topics, f"{topic} is not there")


def delete_topic(client: AdminClient, topic: str) -> None:
    """Return when no record can be added to it any more."""
    client.delete_topics([topic])[topic].result(_SECONDS)
    until(lambda: topic not in client.list_topics(timeout=_SECONDS).topics, f"{topic} is still there")
