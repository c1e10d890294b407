"""The errors that more than one part of Seine raises or handles. Those of one part are in its modules.

SeineError
├── UserError            a mistake in what was asked for; told in one line, exit code 2
│   └── SiteError        a site's TOML: file, line, what is expected
├── Skipped              CRAWL_OVERLAP=skip, and somebody is at work on the crawl; one line, exit code 0
├── StartupError         a service that is unreachable or not as the contract needs it; one line, exit code 1
│   └── IncompatibleSchema
├── DeadLetter           an item that cannot be delivered: it goes to the dead-letter topic
│   ├── InvalidItem      stage "validation"
│   ├── LostClaim        stage "claim check"
│   ├── UnserializableItem   stage "serialization"
│   └── RejectedRecord   stage "delivery"
└── Undelivered          the worker closes before Kafka has acknowledged

Why a request does not get its page is another tree: crawlers/refusals.py.
"""

from __future__ import annotations

from typing import ClassVar


class SeineError(Exception):
    """The root: catch it to catch all of Seine's own errors."""

    exit_code: ClassVar[int] = 1


class UserError(SeineError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class SiteError(UserError):
    """A site's TOML is not what it must be."""


class Skipped(SeineError):
    """The crawl that was asked for is at work already, and that is as it should be."""

    exit_code = 0


class StartupError(SeineError):
    """A configured service cannot be used: the worker must not start."""


class IncompatibleSchema(StartupError):
    """The registry holds a version that the committed schema cannot read."""


class DeadLetter(SeineError):
    """An item that no retry can deliver."""

    stage: ClassVar[str] = "pipeline"


class InvalidItem(DeadLetter):
    """The item breaks the contract of its fields: one message per broken rule."""

    stage = "validation"

    def __init__(self, messages: list[str]):
        super().__init__("; ".join(messages))
        self.messages = messages


class LostClaim(DeadLetter):
    """The bytes that the item refers to are not there any more."""

    stage = "claim check"


class UnserializableItem(DeadLetter):
    """The item does not fit the Avro schema."""

    stage = "serialization"


class RejectedRecord(DeadLetter):
    """Kafka refused the record itself, sent alone."""

    stage = "delivery"


class Undelivered(SeineError):
    """The worker closes and Kafka has not acknowledged the record: its fate is unknown, its request unsettled."""
