"""Answers of a service that is asked by httpx2: neither their size nor their time is without end."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BYTES = 16 * 1024 * 1024
_MOST_SECONDS = 30.0


def bound_answers(client: httpx2.Client) -> None:
    """Let `client` raise httpx2.ReadError where an answer is over 16 MiB, or takes more than 30 s once it has begun."""
    client.event_hooks = {**client.event_hooks, "response": [*client.event_hooks["response"], _bound]}


def _bound(response: httpx2.Response) -> None:
    response.stream = _Bounded(response.stream)  # type: ignore[arg-type]


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream):
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        left, deadline = _MOST_BYTES, monotonic() + _MOST_SECONDS
        for part in self._stream:
            left -= len(part)
            if left < 0:
                raise httpx2.ReadError(f"the answer is larger than {_MOST_BYTES:,} bytes")
            if monotonic() > deadline:
                raise httpx2.ReadError(f"the answer takes more than {_MOST_SECONDS:g} s")
            yield part

    def close(self) -> None:
        self._stream.close()
