"""A silent Kafka, or a client that is stuck?

Where a broker restarts, librdkafka may keep its records until KAFKA_DELIVERY_TIMEOUT while other clients are answered.
It was seen once; nothing tells but the silence.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_PATIENCE = 10.0
"""Seconds for which others are answered until a client that is not counts as stuck; between two questions, too."""
_TIMEOUT = 5.0


class Doubts:
    """Of a silent client, asked about again and again while it is silent."""

    def __init__(self, config: dict[str, Any], patience: float = _PATIENCE):
        self._config = {name: value for name, value in config.items() if name != "error_cb"}
        self._patience = patience
        self._asked_at = float("-inf")
        self._answered_since: float | None = None
        self._task: asyncio.Task[bool] | None = None

    def end(self) -> None:
        """The client is not silent, or another one has taken its place."""
        self._answered_since = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def is_stuck(self, topic: str) -> bool:
        """Whether others have been told leaders of all partitions of `topic` for longer than the patience."""
        now = time.monotonic()
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            self._answered_since = (self._answered_since or self._asked_at) if task.result() else None
            return self._answered_since is not None and self._asked_at - self._answered_since >= self._patience
        if self._task is None and now - self._asked_at >= self._patience:
            self._asked_at = now
            self._task = asyncio.create_task(asyncio.to_thread(self._has_leaders, topic))
        return False

    def _has_leaders(self, topic: str) -> bool:
        try:
            client = AdminClient(self._config, logger=logging.getLogger("seine.librdkafka"))
            found = client.list_topics(timeout=_TIMEOUT).topics.get(topic)
        except KafkaException:
            return False
        return found is not None and all(partition.leader >= 0 for partition in found.partitions.values())
