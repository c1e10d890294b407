"""What a worker holds: leases, and the children that their requests have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class NewRequest(NamedTuple):
    """A request on its way into the frontier, as lua/enqueue.lua takes it."""

    id: bytes
    """The fingerprint; 8 random bytes of one that is not to be filtered. Sent again, it is the same request."""
    fingerprint: str
    """The id as a signed decimal integer."""
    domain: str
    """The budget that it is charged to."""
    priority: int
    data: bytes
    seed: int
    group: str
    """What its page limit counts."""
    limit: int
    """Requests of the group per crawl; 0 is no limit."""
    original: bytes = b""
    """The fingerprint of one that is not to be filtered."""
    revived: int = 0
    """Times that it was dead and was sent back, in a crawl that is gone."""
    scope: str = ""
    """Whose memory says whether its page is due; '' of one that is fetched in any case. See lua/products.lua."""


class OtherStart(NamedTuple):
    """What lua/again.lua says of a request that is to be sent once more."""

    what: str
    """go, wait, shut or lost."""
    seconds: float = 0.0
    """Until its start, or until it is worth asking again."""
    delay: float = 0.0


@dataclass(slots=True, eq=False)
class Lease:
    """A request that this worker alone may fetch and settle."""

    id: bytes
    token: bytes
    shard: int
    domain: str
    start_at: float
    """On this worker's monotonic clock; of a request that is sent once more, the later start."""
    delay: float
    """Seconds between two requests to its domain."""
    attempts: int
    """Failed before this one; those that were lost with their worker are not counted."""
    data: bytes
    revived: int = 0
    """Times that it was dead and was sent back."""
    request: Any = None
    trace: Any = None
    """Of this attempt, where there is tracing; see crawlers/tracing."""
    known_at: float = 0.0
    """When it came into the frontier, as far as its place in the queue tells; on that clock too, as all moments."""
    taken_at: float = 0.0
    started_at: float = 0.0
    """When its download began; 0 before."""
    connecting: float | None = None
    """Seconds for a connection; None where there was one already, or its handler does not tell."""
    held: float = 0.0
    """Seconds that it waited with its connection for its moment."""
    latency: float | None = None
    """Seconds until its answer; None where it has not been downloaded."""
    started: bool = False
    ended: bool = False
    lost: bool = False
    """Redis gave it to somebody else: nothing of it counts any more."""
    settled: bool = False
    on_done: Callable[[], None] | None = None
    """Called once Redis knows that the request was worked on, with all its children, or when the lease is lost; see
    Frontier.hand_over."""
    unconfirmed: int = 0
    """Children whose write Redis has not confirmed."""
    leads_on: bool = False
    """A child was no duplicate; or may have been none when the request was worked on before."""
    children: list[Child] = field(default_factory=list)
    """Kept until the request is settled: a Redis that went back in time gets them again."""

    def done(self) -> None:
        """Call `on_done`, once."""
        on_done, self.on_done = self.on_done, None
        if on_done is not None:
            on_done()


@dataclass(slots=True, eq=False)
class Child:
    """A new request, and the lease whose settlement waits for it."""

    request: NewRequest
    shard: int
    parent: Lease | None
    url: str = ""
    """The key of a plain request in the memory of known URLs."""
