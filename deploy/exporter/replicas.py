"""How Kafka's replicas are, as any of its brokers tells."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka.admin import AdminClient

_TIMEOUT = 10.0


class Replicas(NamedTuple):
    """Of the whole cluster."""

    brokers: int
    under_replicated: int
    """Partitions some of whose replicas are behind or gone."""
    offline: int
    """Partitions without a leader: nothing can be written there, or read."""


def replicas(admin: AdminClient) -> Replicas:
    """Raises KafkaException where no broker answers."""
    metadata = admin.list_topics(timeout=_TIMEOUT)
    partitions = [one for topic in metadata.topics.values() for one in topic.partitions.values()]
    under = sum(len(one.isrs) < len(one.replicas) for one in partitions)
    return Replicas(len(metadata.brokers), under, sum(one.leader < 0 for one in partitions))
