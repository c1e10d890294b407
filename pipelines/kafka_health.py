"""Whether Kafka takes records: per topic one event and one gauge when it stops, and when it goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from crawlers import metrics

log = structlog.get_logger("seine.kafka")


@dataclass(slots=True)
class TopicHealth:
    """Of one topic; its senders count."""

    name: str
    in_flight: int = 0
    """Records on their way, those among them that wait for their next attempt."""
    asked: int = 0
    """Records that librdkafka has, and has not reported."""
    heard_at: float = 0.0
    """When the last acknowledgement came, or the oldest question was asked; monotonic."""
    away_since: float | None = None
    is_silent: bool = False
    """Whether it is away because nothing comes, not even an error."""
    failing: int = 0
    """Records that Kafka has refused through no fault of theirs, and not taken since: of a partition, perhaps."""

    def ask(self) -> None:
        """One more record is librdkafka's to report."""
        if not self.asked:
            self.heard_at = time.monotonic()
        self.asked += 1

    def answered(self) -> None:
        """Kafka has acknowledged a record."""
        self.heard_at = time.monotonic()
        if self.away_since is not None and not self.failing:
            seconds = round(self.heard_at - self.away_since, 1)
            log.info("kafka back", topic=self.name, seconds=seconds, in_flight=self.in_flight)
            metrics.KAFKA_AWAY.labels(self.name).set(0)
            self.away_since = None
            self.is_silent = False

    def failed(self, error: str, *, again: bool) -> None:
        """Kafka has refused a record, through no fault of the record; the same one `again`."""
        self.failing += not again
        self.is_silent = False
        self.go_away(error)

    def go_away(self, error: str) -> None:
        """Kafka does not take what is sent to the topic."""
        if self.away_since is None:
            self.away_since = time.monotonic()
            log.error("kafka away", topic=self.name, error=error, in_flight=self.in_flight)
            metrics.KAFKA_AWAY.labels(self.name).set(1)


class KafkaHealth:
    """A topic is away from when Kafka refuses one of its records until it takes that.

    So it is after `patience` seconds in which Kafka acknowledges none, until it does.

    That silence counts too, as librdkafka keeps trying by itself and reports nothing for minutes.
    """

    def __init__(self, patience: float):
        self._patience = patience
        self._topics: dict[str, TopicHealth] = {}
        self._trouble = ("", 0.0)

    def of(self, topic: str) -> TopicHealth:
        """The state of a topic."""
        state = self._topics.get(topic)
        if state is None:
            state = self._topics[topic] = TopicHealth(topic)
        return state

    def in_flight(self) -> int:
        """Records on their way, to all topics."""
        return sum(state.in_flight for state in self._topics.values())

    def trouble(self, error: str) -> None:
        """What librdkafka last complained of: the reason of a silence."""
        self._trouble = (error, time.monotonic())

    def look(self) -> None:
        """Notice silence; to be called again and again while records wait."""
        now = time.monotonic()
        for state in self._topics.values():
            if state.asked and state.away_since is None and now - state.heard_at > self._patience:
                error, said_at = self._trouble
                why = f": {error}" if said_at >= state.heard_at else ""
                state.go_away(f"no acknowledgement for {self._patience:g} s{why}")
                state.is_silent = True

    def silent_topic(self) -> str | None:
        """A topic of whose records nothing is heard."""
        return next((state.name for state in self._topics.values() if state.is_silent and state.asked), None)
