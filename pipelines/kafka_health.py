"""Whether Kafka takes records: per topic one event and one gauge when it stops, and when it goes on."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from crawlers import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger("seine.kafka")


@dataclass(slots=True)
class _Topic:
    in_flight: int = 0
    """Records on their way, those among them that wait for their next attempt."""
    asked: int = 0
    """Records that librdkafka has, and has not reported."""
    heard_at: float = 0.0
    """When the last acknowledgement came, or the oldest question was asked; monotonic."""
    away_since: float | None = None


class KafkaHealth:
    """A topic is away once Kafka has refused its records, or acknowledged none of them for `patience` seconds.

    The silence counts too, as librdkafka keeps trying by itself and reports nothing for minutes.
    """

    def __init__(self, patience: float):
        self._patience = patience
        self._topics: defaultdict[str, _Topic] = defaultdict(_Topic)
        self._trouble = ("", 0.0)

    @contextmanager
    def sending(self, topic: str) -> Iterator[None]:
        """A record of `topic` is on its way."""
        state = self._topics[topic]
        state.in_flight += 1
        try:
            yield
        finally:
            state.in_flight -= 1

    @contextmanager
    def asking(self, topic: str) -> Iterator[None]:
        """It is librdkafka's to report."""
        state = self._topics[topic]
        if not state.asked:
            state.heard_at = time.monotonic()
        state.asked += 1
        try:
            yield
        finally:
            state.asked -= 1

    def trouble(self, error: str) -> None:
        """What librdkafka last complained of, in any thread: the reason of a silence."""
        self._trouble = (error, time.monotonic())

    def answered(self, topic: str) -> None:
        """Kafka has acknowledged a record of `topic`."""
        state = self._topics[topic]
        state.heard_at = time.monotonic()
        if state.away_since is not None:
            seconds = round(state.heard_at - state.away_since, 1)
            log.info("kafka back", topic=topic, seconds=seconds, in_flight=state.in_flight)
            metrics.KAFKA_AWAY.labels(topic).set(0)
            state.away_since = None

    def failed(self, topic: str, error: str) -> None:
        """Kafka has refused a record of `topic`, through no fault of the record."""
        state = self._topics[topic]
        if state.away_since is None:
            state.away_since = time.monotonic()
            log.error("kafka away", topic=topic, error=error, in_flight=state.in_flight)
            metrics.KAFKA_AWAY.labels(topic).set(1)

    def look(self) -> None:
        """Notice silence; to be called again and again while records wait."""
        now = time.monotonic()
        for topic, state in self._topics.items():
            if state.asked and state.away_since is None and now - state.heard_at > self._patience:
                error, said_at = self._trouble
                why = f": {error}" if said_at >= state.heard_at else ""
                self.failed(topic, f"no acknowledgement for {self._patience:g} s{why}")
