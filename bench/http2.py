"""The same pages by HTTP/2: for clients that ask for it by TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamReset

from bench.page_server import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOLS = ["h2", "http/1.1"]
"""Of TLS, as ALPN has them."""


class EitherConnection(asyncio.Protocol):
    """Answers each request with `page`, by HTTP/2 where the client has chosen it, else as `older` does."""

    def __init__(self, page: bytes, older: Callable[[], Connection]):
        self._page = page
        self._older = older
        self._speaker: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        is_2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        self._speaker = Http2Connection(self._page) if is_2 else self._older()
        self._speaker.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        assert self._speaker is not None
        self._speaker.data_received(data)


class Http2Connection(asyncio.Protocol):
    """Many requests at once on one connection."""

    def __init__(self, page: bytes):
        self._page = page
        self._left: dict[int, bytes] = {}
        """What is still to be sent, by stream."""
        self._h2 = H2Connection(H2Configuration(client_side=False))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, RequestReceived):
                length = str(len(self._page))
                headers = ((":status", "200"), ("content-type", "text/html; charset=utf-8"), ("content-length", length))
                self._h2.send_headers(event.stream_id, headers)
                self._left[event.stream_id] = self._page
            elif isinstance(event, StreamReset):
                self._left.pop(event.stream_id, None)
        for stream in list(self._left):
            self._send(stream)
        self._transport.write(self._h2.data_to_send())

    def _send(self, stream: int) -> None:
        """As much as the client has room for."""
        while room := min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size):
            part, self._left[stream] = self._left[stream][:room], self._left[stream][room:]
            self._h2.send_data(stream, part, end_stream=not self._left[stream])
            if not self._left[stream]:
                del self._left[stream]
                return
