"""What becomes of a fatal error of librdkafka's in confluent-kafka."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fatal_errors_raised() -> Iterator[None]:
    """Around a call that serves callbacks: a fatal error is a KafkaException, whatever comes of it.

    confluent-kafka sets it as the call's exception, and goes on with the callbacks: the next one meets it, as a
    SystemError, or where it looks up the logger's method as an AttributeError, which take its place.
    """
    try:
        yield
    except (SystemError, AttributeError) as error:
        raise KafkaException(KafkaError(KafkaError._FATAL, str(error))) from error
