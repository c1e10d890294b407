"""Reads the dead-letter topic from its beginning, or from a moment, to the end that it has now."""

from __future__ import annotations

import logging
from collections import defaultdict
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from crawlers.dead_letters.letter import Letter
from crawlers.exceptions import StartupError, UserError
from pipelines.kafka_config import client_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TIMEOUT = 10.0
_SILENCE = 30.0
"""Seconds without a message or the end of a partition after which Kafka counts as away."""
_LONGEST_TRANSACTION = 60.0
"""Seconds that an open transaction may hide the end of a partition; of a dead client Kafka ends it sooner."""
_PAUSE = 0.1
_AT_ONCE = 500
_PASSING = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}
_REFUSALS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


class LetterTopic:
    """A consumer in no group: it disturbs nobody's offsets. Its calls block."""

    def __init__(self, settings: Any):
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise UserError('KAFKA_BOOTSTRAP_SERVERS is not set. On a laptop: eval "$(scrapy stack env)"')
        self.name: str = settings["KAFKA_TOPIC_DEAD_LETTERS"]
        self._servers = settings["KAFKA_BOOTSTRAP_SERVERS"]
        config = client_config(settings)
        reading = {
            **config,
            "group.id": "seine-dlq",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
        logger = logging.getLogger("seine.librdkafka")
        self._consumer = Consumer(reading, logger=logger)
        self._admin = AdminClient(config, logger=logger)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def letters(
        self,
        since: int | None = None,
        told: Callable[[int, int], None] = lambda *_: None,
        *,
        to_the_end: bool = False,
    ) -> Iterator[Letter]:
        """Letters and receipts, each partition's in order; `told` gets (messages read, messages there are).

        An open transaction hides what was committed after it began: `to_the_end` waits until nothing is hidden.
        StartupError where that takes too long.
        """
        kept = self._kept()
        ends = {partition: high for partition, (_, high) in kept.items()}
        starts = {partition: low for partition, (low, _) in kept.items()} if since is None else self._since(since, ends)
        there = sum(max(0, ends[partition] - start) for partition, start in starts.items())
        for number, message in enumerate(self._messages(starts, ends, to_the_end=to_the_end), 1):
            told(number, there)
            yield Letter.read(message)

    def latest(self, most: int) -> list[Letter]:
        """The newest letters, the newest first, without receipts; at most so many of each partition are read."""
        kept = self._kept()
        ends = {partition: high for partition, (_, high) in kept.items()}
        starts = {partition: max(low, high - most) for partition, (low, high) in kept.items()}
        found = [Letter.read(message) for message in self._messages(starts, ends)]
        return sorted((one for one in found if not one.is_receipt), key=lambda one: -one.timestamp)[:most]

    def values(self, letters: Iterable[Letter]) -> Iterator[tuple[Letter, bytes | None]]:
        """Those letters with their bytes; None of one that the topic has deleted meanwhile."""
        wanted: dict[int, dict[int, Letter]] = defaultdict(dict)
        for letter in letters:
            wanted[letter.partition][letter.offset] = letter
        starts = {partition: min(offsets) for partition, offsets in wanted.items()}
        ends = {partition: max(offsets) + 1 for partition, offsets in wanted.items()}
        for message in self._messages(starts, ends):
            offsets = wanted[message.partition()]
            if message.offset() in offsets:
                yield offsets.pop(message.offset()), message.value()
        yield from ((letter, None) for offsets in wanted.values() for letter in offsets.values())

    def _messages(self, starts: dict[int, int], ends: dict[int, int], *, to_the_end: bool = False) -> Iterator[Any]:
        """From each partition's start to its end, or to where it ends for now for who reads what is committed."""
        unread = {partition for partition, start in starts.items() if start < ends[partition]}
        hidden: set[int] = set()
        """Those of the unread that are read up to an open transaction."""
        self._consumer.assign([TopicPartition(self.name, partition, starts[partition]) for partition in unread])
        while unread:
            for message in self._some(is_hidden=unread <= hidden):
                partition, error = message.partition(), message.error()
                if error is not None:
                    if error.code() in _REFUSALS:
                        raise StartupError(f"{self.name} cannot be read: {error.str()}")
                    if error.code() == KafkaError._PARTITION_EOF:
                        is_end = not to_the_end or message.offset() >= ends[partition]
                        (unread.discard if is_end else hidden.add)(partition)
                    continue
                if partition in unread and message.offset() < ends[partition]:
                    yield message
                if message.offset() + 1 >= ends[partition]:
                    unread.discard(partition)

    def _some(self, *, is_hidden: bool) -> list[Any]:
        """The next messages; StartupError where there are none for too long."""
        seconds = _LONGEST_TRANSACTION if is_hidden else _SILENCE
        message = self._consumer.poll(seconds)
        if message is None and is_hidden:
            raise StartupError(
                f"{self.name} cannot be read to its end: a transaction has been open there for {seconds:g} s. "
                "Nothing was replayed: run the command again when its workers have committed or are gone"
            )
        if message is None:
            raise StartupError(f"Kafka at {self._servers} (KAFKA_BOOTSTRAP_SERVERS) has been silent for {seconds:g} s")
        return [message, *self._consumer.consume(_AT_ONCE, timeout=0)]

    def _kept(self) -> dict[int, tuple[int, int]]:
        """(oldest, next) offset by partition; of a topic that is new, or moves, as soon as its leaders are known."""
        deadline = monotonic() + _TIMEOUT
        while True:
            try:
                return self._watermarks()
            except KafkaException as error:
                if error.args[0].code() not in _PASSING or monotonic() > deadline:
                    raise self._away(error) from None
            sleep(_PAUSE)

    def _watermarks(self) -> dict[int, tuple[int, int]]:
        metadata = self._consumer.list_topics(self.name, timeout=_TIMEOUT).topics[self.name]
        if metadata.error is not None:
            raise UserError(f"no topic {self.name} at {self._servers} (KAFKA_TOPIC_DEAD_LETTERS)")
        partitions = [TopicPartition(self.name, partition) for partition in metadata.partitions]
        oldest, following = (
            self._offsets(partitions, OffsetSpec.earliest()),
            self._offsets(partitions, OffsetSpec.latest()),
        )
        return {one.partition: (oldest[one.partition], following[one.partition]) for one in partitions}

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        """By partition; also of what is not committed, which the consumer's own watermarks leave out."""
        found = self._admin.list_offsets(
            dict.fromkeys(partitions, spec),
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_TIMEOUT,
        )
        offsets = {one.partition: future.result().offset for one, future in found.items()}
        if any(offset < 0 for offset in offsets.values()):
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"{self.name} does not tell its offsets"))
        return offsets

    def _since(self, moment: int, ends: dict[int, int]) -> dict[int, int]:
        """The first offset by partition that is not older."""
        asked = [TopicPartition(self.name, partition, moment) for partition in ends]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=_TIMEOUT)
        except KafkaException as error:
            raise self._away(error) from None
        return {one.partition: one.offset if one.offset >= 0 else ends[one.partition] for one in found}

    def _away(self, error: KafkaException) -> StartupError:
        return StartupError(
            f"Kafka does not answer at {self._servers} (KAFKA_BOOTSTRAP_SERVERS): {error.args[0].str()}"
        )
