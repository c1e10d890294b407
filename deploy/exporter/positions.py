"""Where consumer groups are, and how old what they have not read is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

_TIMEOUT = 10.0

Place = tuple[str, int]
"""Topic and partition."""


class Position(NamedTuple):
    """A group in a partition: the offset that it reads next, and the one that the next record will have."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int

    @property
    def records(self) -> int:
        """How many it is behind; of a compacted topic and of transactions, at most."""
        return max(0, self.end - self.committed)


class Lag(NamedTuple):
    """Of a group in a topic."""

    records: int
    """Of all partitions."""
    seconds: float
    """Age of the oldest record that it has not read."""


def positions(admin: AdminClient) -> list[Position]:
    """Of every group that has committed an offset. Raises KafkaException."""
    listed = admin.list_consumer_groups(request_timeout=_TIMEOUT).result()
    committed = {one.group_id: _committed(admin, one.group_id) for one in listed.valid}
    places = {place for offsets in committed.values() for place in offsets}
    ends = _ends(admin, places)
    return [
        Position(group, topic, partition, offset, ends[topic, partition])
        for group, offsets in committed.items()
        for (topic, partition), offset in offsets.items()
        if (topic, partition) in ends
    ]


def _committed(admin: AdminClient, group: str) -> dict[Place, int]:
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=_TIMEOUT)
    found = asked[group].result().topic_partitions
    return {(one.topic, one.partition): one.offset for one in found if one.error is None and one.offset >= 0}


def _ends(admin: AdminClient, places: Iterable[Place]) -> dict[Place, int]:
    """A topic that is gone, though a group has an offset of it, has none."""
    wanted: dict[TopicPartition, OffsetSpec] = {TopicPartition(*place): OffsetSpec.latest() for place in places}
    ends = {}
    for place, asked in (admin.list_offsets(wanted, request_timeout=_TIMEOUT) if wanted else {}).items():
        try:
            ends[place.topic, place.partition] = asked.result().offset
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
                raise
    return ends


class Ages:
    """Reads the record that a group would read next, for its timestamp; remembers it while the group stands still."""

    def __init__(self, config: dict[str, Any], clock: Callable[[], float] = time.time):
        self._consumer = Consumer(
            {
                **config,
                "group.id": "seine-exporter",  # librdkafka wants one; none is joined, and nothing committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": 65_536,
                "queued.max.messages.kbytes": 4096,
            }
        )
        self._clock = clock
        self._known: dict[tuple[str, int, int], float] = {}
        """By topic, partition and offset: when that record was written, seconds since 1970."""

    def lags(self, found: Iterable[Position]) -> dict[tuple[str, str], Lag]:
        """By group and topic. Raises KafkaException."""
        found = list(found)
        behind = {one[1:4] for one in found if one.records}
        self._known = {place: when for place, when in self._known.items() if place in behind}
        unknown = behind - self._known.keys()
        while unknown:
            # Groups may be at different offsets of a partition: one of each at a time.
            batch = {(topic, partition): offset for topic, partition, offset in unknown}
            self._known |= self._read(batch)
            unknown -= {(*place, offset) for place, offset in batch.items()}
        return self._summed(found)

    def close(self) -> None:
        self._consumer.close()

    def _read(self, batch: dict[Place, int]) -> dict[tuple[str, int, int], float]:
        """When the first record from each offset on was written; nothing of what has none, as behind a transaction."""
        times: dict[tuple[str, int, int], float] = {}
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in batch.items()])
        unread, deadline = set(batch), time.monotonic() + _TIMEOUT
        while unread and time.monotonic() < deadline:
            message = self._consumer.poll(0.5)
            if message is None:
                continue
            place = (message.topic(), message.partition())
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._consumer.unassign()
                raise KafkaException(error)
            if place in unread:
                unread.discard(place)
                self._consumer.incremental_unassign([TopicPartition(*place)])
                if error is None:
                    times[(*place, batch[place])] = message.timestamp()[1] / 1000
        self._consumer.unassign()
        return times

    def _summed(self, found: list[Position]) -> dict[tuple[str, str], Lag]:
        now, lags = self._clock(), dict[tuple[str, str], Lag]()
        for one in found:
            records, seconds = lags.get((one.group, one.topic), Lag(0, 0.0))
            written = self._known.get(one[1:4]) if one.records else None
            age = max(0.0, now - written) if written is not None else 0.0
            lags[one.group, one.topic] = Lag(records + one.records, max(seconds, age))
        return lags
