"""How far a request came on its way out: what its proxy is charged for, and who is to blame for its end."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any


class Passage:
    """Of one attempt."""

    def __init__(self) -> None:
        self.is_open = False
        """Whether it had a connection: through a tunnel to the site itself, else to the forward proxy."""
        self.received = 0
        """Bytes that came by that connection, without TLS's own."""

    def opened(self, connection: Any) -> Any:
        """The connection, which counts what it receives from now on."""
        self.is_open = True
        protocol = getattr(connection, "_clientProtocol", connection)  # of Twisted's wrapper that tries again
        protocol.passage = self
        return connection


PASSAGE: ContextVar[Passage | None] = ContextVar("passage", default=None)
"""Of the request that is being sent; the connection pool tells it."""
