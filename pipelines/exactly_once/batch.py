"""What is committed together: requests that were worked on, and their records."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crawlers.changes.notes import as_told
from crawlers.monitors.counting import COUNTED, UNREAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crawlers.changes.notes import Note
    from crawlers.frontier.leases import Lease
    from pipelines.producer import Record


@dataclass(eq=False, slots=True)
class Ended:
    """A request that was worked on: what became of it, and what is to be committed with that."""

    lease: Lease
    outcome: str
    reason: str
    records: list[Record]
    letters: int = 0
    """Dead letters among them."""
    notes: Sequence[Note] = ()
    """On products, which are written with its settlement."""

    def keep_nothing(self) -> None:
        """Kafka has the records of an earlier fetch, not these: what they tell of products is not so.

        The crawl has seen them all the same, and counts them.
        """
        self.notes = [note for note in self.notes if note[0] in ("gone", COUNTED, UNREAD)]

    def notes_as_told(self) -> list[Note]:
        """The notes, now that Redis has told which of its links were new."""
        return as_told(self.notes, leads_on=self.lease.leads_on)


@dataclass(eq=False, slots=True)
class Batch:
    """Requests that are committed together."""

    requests: dict[bytes, Ended]
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    one_by_one: bool = False
    """Whether its records are to be sent so, as Kafka refuses one of them."""

    def renew(self) -> None:
        """The same requests are another batch to Redis and the ledger."""
        self.token = secrets.token_hex(16)
