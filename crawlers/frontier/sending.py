"""The last step of a request: its connection is there, its time has come, its bytes leave.

A download handler that can wait there asks DEPARTURE. The request is held until the frontier's moment with nothing left
to do but to write, and the moment of that write is what the next request of its domain keeps its distance from.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any

from scrapy.utils.asyncio import call_later
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from crawlers.fetching.dialling import GuardedHTTPHandler, GuardedPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from crawlers.frontier.leases import Lease

DEPARTURE: ContextVar[Departure | None] = ContextVar("departure", default=None)
"""Of the request that is being downloaded, where its domain has a delay."""
CONNECTING: ContextVar[Lease | None] = ContextVar("connecting", default=None)
"""The lease of that request, which is told how long its connection took."""


class NotLeased(Exception):
    """The request went to another worker while it waited for its moment: it is not sent."""


class Departure:
    """`start_at` tells when the request may be sent at the earliest, `left` is called once it was sent, and `may_leave`
    says in that moment whether it is still this worker's.

    Times are of the monotonic clock, in seconds.
    """

    def __init__(self, start_at: Callable[[], float], left: Callable[[], None], may_leave: Callable[[], bool]):
        self._start_at = start_at
        self._may_leave = may_leave
        self._left = left
        self.held = 0.0
        """Seconds that it waited with its connection."""

    async def leave(self) -> None:
        """Return at its time. For what has no connection of its own to wait with, and says itself that it has `left`.

        Raises NotLeased.
        """
        if (wait := self._start_at() - monotonic()) > 0:
            self.held = wait
            await asyncio.sleep(wait)
        if not self._may_leave():
            raise NotLeased

    def left(self) -> None:
        """It was sent now, or a moment ago."""
        self._left()

    def wait_with(self, connection: Any) -> Any:
        """The connection, or a Deferred of it: written to next, it leaves at its time."""
        protocol = getattr(connection, "_clientProtocol", connection)  # of Twisted's wrapper that tries again
        if (wait := self._start_at() - monotonic()) <= 0:
            _at_next_write(protocol, self._left)
            return connection

        def leave() -> None:
            self.held = wait
            if protocol.state != "QUIESCENT":  # the server has closed it meanwhile
                waiting.errback(ResponseNeverReceived([Failure(ConnectionLost())]))
                return
            if not self._may_leave():
                protocol.abort()
                waiting.errback(NotLeased())
                return
            _at_next_write(protocol, self._left)
            waiting.callback(connection)
            _write_now(protocol)

        def cancel(_: Deferred[Any]) -> None:
            timer.cancel()
            protocol.abort()

        waiting: Deferred[Any] = Deferred(cancel)
        timer = call_later(wait, leave)
        return waiting


class _DepartingPool(GuardedPool):
    def getConnection(self, key: Any, endpoint: Any) -> Any:
        begun_at = monotonic()
        deferred = super().getConnection(key, endpoint)
        if (lease := CONNECTING.get()) is not None and not deferred.called:
            deferred.addCallback(_connected, lease, begun_at)
        if (departure := DEPARTURE.get()) is not None:
            deferred.addCallback(departure.wait_with)
        return deferred


class DepartingHTTPHandler(GuardedHTTPHandler):
    """The HTTP/1.1 handler whose requests ask DEPARTURE when their connection is there."""

    waits_for_departure = True
    pool_class = _DepartingPool


def _connected(connection: Any, lease: Lease, begun_at: float) -> Any:
    lease.connecting = monotonic() - begun_at
    return connection


def _at_next_write(protocol: Any, tell: Callable[[], None]) -> None:
    """Have `tell` called when the socket has been given what is written next; by TLS, what follows its handshake."""
    outer = socket = protocol.transport
    while hasattr(socket, "transport"):
        socket = socket.transport
    write = socket.writeSomeData

    def write_and_tell(data: Any) -> Any:
        written = write(data)
        is_encrypted = all(getattr(layer, "_handshakeDone", True) for layer in (outer, socket.protocol))
        if is_encrypted and isinstance(written, int) and written > 0:
            socket.__dict__.pop("writeSomeData", None)
            tell()
        return written

    socket.writeSomeData = write_and_tell


def _write_now(protocol: Any) -> None:
    """Not only in the event loop's next round; TLS gathers what it writes until then."""
    if hasattr(protocol.transport, "doWrite"):
        protocol.transport.doWrite()
