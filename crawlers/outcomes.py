"""What becomes of one request: the record that its item pipelines, its spider and its middlewares add to.

A request has one outcome, its worst item's where items differ:
delivered, expanded (links only), redirected, retried, empty, filtered(reason), dead(reason), pending (not settled).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

ITEM_REASON = "item"
"""What a request dies of whose items do."""
CURRENT: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)
"""The record of the request whose response is being worked on, in its callback, pipelines and signals."""


@dataclass(slots=True)
class RequestRecord:
    """What is known so far of one request's results."""

    request: Any = None
    status: int = 0
    """Of the response; 0 of a failure."""
    headers: Any = None
    """Of the response, which is not kept for as long as its settlement takes."""
    children: int = 0
    """Requests that came as far as the scheduler."""
    dropped: int = 0
    """Those of them that the scheduler did not take, as it has had them before."""
    known: int = 0
    """Links that were not made requests, as the frontier has them."""
    yielded: int = 0
    """Requests that the callback made."""
    middlewares: Counter[str] = field(default_factory=Counter)
    """Those of them that a middleware dropped before the scheduler, by reason."""
    lease: Any = None
    """The frontier's lease of the request, where there is a frontier."""
    successor: Any = None
    """The request that a middleware put in the place of this one."""
    rescheduled: bytes = b""
    """The successor as stored, where it is this very request again."""
    is_interrupted: bool = False
    """The callback closed the spider: the request is not done."""
    refused: Counter[str] = field(default_factory=Counter)
    """Links that were not made requests, by reason."""
    fates: Counter[str] = field(default_factory=Counter)
    """Items by fate: acknowledged, passed (no Kafka configured), unchanged, dropped, dead, pending."""
    records: list[Any] = field(default_factory=list)
    """What is to be produced with this request, where delivery is exactly once."""
    record_ids: list[str] = field(default_factory=list)
    """Of the items whose record or dead letter Kafka has, or gets with the request."""
    letter: Any = None
    """Of items that are replayed from a dead letter: what their own letters say of where they come from, as headers."""
    trace: Any = None
    """Of this attempt, where there is tracing; see crawlers/tracing."""
    notes: dict[tuple[str, str], Any] = field(default_factory=dict)
    """What its settlement writes down of the products, (site, identity), of its items; see crawlers/changes."""
    filtered: str | None = None
    withheld: str | None = None
    """Why an item was not taken, before any pipeline saw it."""
    error: str | None = None
    """The class of what the callback raised."""
    why: str = ""
    """What that says."""
    handed_at: float = 0.0
    """When the result of the download came to be worked on, on the monotonic clock."""
    parsed_at: float = 0.0
    """When its callback had yielded everything, on that clock; 0 where it did not come so far."""

    @property
    def attempt(self) -> int:
        """Which one at its request this is; the first is 1."""
        if self.lease is not None:
            return int(self.lease.attempts) + 1
        return int(self.request.meta.get("retry_times", 0)) + 1

    def outcome(self) -> tuple[str, str]:
        """(outcome, reason) of a request whose response was worked on to the end; the worst that happened wins."""
        if self.fates["pending"]:
            return "pending", "undelivered"
        if self.is_interrupted:
            return "pending", "spider closed"
        if self.error is not None:
            return "dead", self.error
        if self.fates["dead"]:
            return "dead", ITEM_REASON
        if self.fates["dropped"]:
            return "filtered", "item"
        if self.withheld:
            return "filtered", self.withheld
        if self.fates:
            return "delivered", "unchanged" if set(+self.fates) == {"unchanged"} else ""
        if self.children or self.known or self.refused or self.middlewares:
            return "expanded", ""
        return ("filtered", self.filtered) if self.filtered else ("empty", "")

    def account_for_middlewares(self) -> None:
        """Name what was yielded and came to nobody's notice."""
        rest = self.yielded - self.children - self.middlewares.total()
        if rest > 0:
            self.middlewares["middleware"] += rest


def note_filtered(reason: str) -> None:
    """The response is not one to extract from."""
    if (record := CURRENT.get()) is not None:
        record.filtered = reason


def note_withheld_item(reason: str) -> None:
    """An item of the response is not taken."""
    if (record := CURRENT.get()) is not None:
        record.withheld = reason


def note_withheld_link(reason: str) -> None:
    """A request of the callback's is dropped by a middleware."""
    if (record := CURRENT.get()) is not None:
        record.middlewares[reason] += 1


def note_refused_child(reason: str) -> None:
    """A link of the response is not followed."""
    if (record := CURRENT.get()) is not None:
        record.refused[reason] += 1


def note_known_child() -> None:
    """A link of the response needs no request: the frontier has it."""
    if (record := CURRENT.get()) is not None:
        record.known += 1


def note_dropped_child(reason: str) -> None:
    """A request on its way to the scheduler is refused."""
    if (record := CURRENT.get()) is not None:
        record.children -= 1
        record.middlewares[reason] += 1


def note_fate(fate: str, record_id: str = "") -> None:
    """An item of the response met its fate."""
    if (record := CURRENT.get()) is not None:
        record.fates[fate] += 1
        if record_id and fate in ("acknowledged", "buffered", "dead"):
            record.record_ids.append(record_id)


@contextmanager
def traced_step(name: str, **attributes: Any) -> Iterator[None]:
    """A step of what is being worked on, in its trace, where there is one."""
    record = CURRENT.get()
    if record is None or record.trace is None:
        yield
        return
    step = record.trace.step(name, **attributes)
    try:
        yield
    except BaseException as error:
        step.end(error)
        raise
    step.end()


def note_parsed() -> None:
    """The callback has yielded everything."""
    if (record := CURRENT.get()) is not None:
        record.parsed_at = monotonic()
