"""One attempt at a request, as the audit trail tells it. One field here is one in pipelines/schemas/pages.avsc."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True, kw_only=True)
class Page:
    """What was asked for, what came back, and what became of it."""

    url: str
    """As it may be told."""
    domain: str
    fingerprint: str
    """Of method, canonical address and body as they were sent: 16 hexadecimal digits, the record's key."""
    crawl_id: str
    spider: str
    site: str | None = None
    """The site's name, where the page is of a known one."""
    worker: str
    """Who tells it."""
    attempt: int
    """1 for the first; those that ended with their worker are not counted."""
    outcome: str
    """As crawlers.outcomes has it."""
    reason: str | None = None
    error_class: str | None = None
    """Of the download, or of the callback."""
    status: int | None = None
    """HTTP's; None where there was no answer, or no request."""
    bytes: int | None = None
    """Of the body, decompressed."""
    redirected_to: str | None = None
    items: int = 0
    links: int = 0
    """That were to be followed, known ones included."""
    record_ids: list[str] = field(default_factory=list)
    """Of its records, on the topic of products or of dead letters."""
    identity: str | None = None
    """The label of the identity that asked, or the User-Agent."""
    proxy: str | None = None
    """The proxy's label, never its credentials."""
    rendered_by: str | None = None
    """The browser backend; None for plain HTTP."""
    route: str | None = None
    """How routing had it fetched, as middlewares.routing has the words; None where that was not routing's to say."""
    ended_at: datetime
    """UTC."""
    frontier_ms: float | None = None
    """From its arrival in the frontier to the worker's start on it, at least; earlier attempts included."""
    queue_ms: float | None = None
    """From there to the download's start: middlewares, robots.txt, its place, its moment."""
    connect_ms: float | None = None
    """Name and connection; None where there was a connection already, or nobody saw it."""
    first_byte_ms: float | None = None
    """From there to the answer's headers; a TLS handshake included."""
    download_ms: float | None = None
    """From there to the callback: the body, middlewares, its turn."""
    callback_ms: float | None = None
    """From there to the callback's end; pipelines that ran meanwhile included."""
    delivery_ms: float | None = None
    """From there until the last item's record was acknowledged; None in a transaction, which has this event too."""
