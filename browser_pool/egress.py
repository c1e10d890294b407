"""The way out of every browser: a SOCKS5 server on a loopback port for each identity.

The browser resolves nothing and dials nothing. Here each connection's host is resolved once, every address is checked,
and the one that was checked is dialled; where the identity has an upstream proxy, that gets the connection, with its
credentials, which the browser never sees.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog
from python_socks import ProxyError
from python_socks.async_.asyncio import Proxy

from browser_pool.errors import BrowserGone
from crawlers import metrics
from crawlers.remote_browsers import Listening

if TYPE_CHECKING:
    from collections.abc import Callable

    from crawlers.fetching.addresses import AddressRules

Place = tuple[str, int]
"""A host and its port."""

log = structlog.get_logger("seine.browser")

_VERSION, _NO_AUTHENTICATION, _CONNECT = 5, 0, 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_SUCCEEDED, _FAILED, _NOT_ALLOWED, _UNREACHABLE, _REFUSED = 0, 1, 2, 4, 5
_COMMAND_NOT_SUPPORTED = 7
_BUFFERED = 262_144
"""Bytes that one side may be ahead of the other."""
NOWHERE = "nowhere"
"""The upstream of an identity that reaches nobody."""
_REMEMBERED = 256
_IDLE = 300.0
"""Seconds that a port without a browser is kept."""
_MANY, _IDLE_OF_MANY = 256, 10.0
"""Ports from which on they are kept for less long: each is an open socket."""


class Egress:
    """The ports of a worker's browsers, one per identity's label. `rules` has what holds for a host and port.

    A connection that brings more than `largest_answer` bytes, with nothing asked meanwhile, is ended; 0 is no limit.
    """

    def __init__(
        self,
        rules: Callable[[str, int], AddressRules],
        timeout: float = 10.0,
        listening: Listening | None = None,
        largest_answer: int = 0,
    ):
        self._rules = rules
        self._largest_answer = largest_answer
        self._listening = listening or Listening()
        self._timeout = timeout
        self._ports: dict[str, EgressPort] = {}
        self._lock = asyncio.Lock()
        self._is_closed = False

    def find(self, label: str) -> EgressPort | None:
        """The port of that identity, where it has one by now."""
        return self._ports.get(label)

    async def port(self, label: str, upstream: str = "") -> EgressPort:
        """The listening port of that identity; an identity that changes its upstream proxy gets another one.

        Raises BrowserGone once the egress is closed.
        """
        async with self._lock:
            if self._is_closed:
                raise BrowserGone("the egress is closed")
            found = self._ports.get(label)
            if found is None or found.upstream != upstream:
                if found is not None:
                    await found.close()
                found = EgressPort(upstream, self._rules, self._timeout, self._listening, self._largest_answer)
                self._ports[label] = found
                await found.open()
            found.asked_at = monotonic()
            return found

    async def tidy(self, labels: set[str]) -> None:
        """Close what nobody goes through any more: identities come and go. `labels` are those that browsers have."""
        async with self._lock:
            idle = _IDLE if len(self._ports) <= _MANY else _IDLE_OF_MANY
            for label, port in list(self._ports.items()):
                if label not in labels and not port.clients and monotonic() - port.asked_at > idle:
                    del self._ports[label]
                    await port.close()

    async def close(self) -> None:
        async with self._lock:
            self._is_closed = True
            for port in self._ports.values():
                await port.close()
            self._ports.clear()


class EgressPort:
    """One identity's way out."""

    def __init__(
        self,
        upstream: str,
        rules: Callable[[str, int], AddressRules],
        timeout: float,
        listening: Listening,
        largest_answer: int,
    ):
        self.upstream = upstream
        self.largest_answer = largest_answer
        self.listening = listening
        self.rules = rules
        self.timeout = timeout
        self.received = 0
        """Bytes that came from outside."""
        self._reckoned = 0
        self.sent = 0
        self.refusals: dict[Place, str] = {}
        """Where an address was refused lately: why."""
        self.failures: dict[Place, str] = {}
        """What could not be reached lately: why."""
        self.asked_at = 0.0
        self.clients: set[_Client] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), self.listening.host, 0)

    def received_since(self) -> int:
        """Bytes that came from outside since this was asked last."""
        since, self._reckoned = self.received - self._reckoned, self.received
        return since

    @property
    def url(self) -> str:
        """What a browser is told as its proxy."""
        assert self._server is not None
        return f"socks5://{self.listening.host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for client in list(self.clients):
            client.abort()

    async def dial(self, host: str, port: int, remote: asyncio.Protocol) -> int:
        """Connect `remote` to `host`; SOCKS's reply code."""
        if self.upstream == NOWHERE:
            return _NOT_ALLOWED
        try:
            async with asyncio.timeout(self.timeout):
                if self.upstream:
                    await self._dial_upstream(host, port, remote)
                else:
                    await self._dial_checked(host, port, remote)
        except PermissionError as error:
            _remember(self.refusals, (host, port), str(error))
            metrics.BROWSER_REFUSED.inc()
            return _NOT_ALLOWED
        except (OSError, ProxyError, TimeoutError, ValueError) as error:  # the last: an upstream's URL that is none
            _remember(self.failures, (host, port), str(error) or "timed out")
            return _REFUSED if isinstance(error, ConnectionRefusedError) else _UNREACHABLE
        self.failures.pop((host, port), None)
        self.refusals.pop((host, port), None)
        return _SUCCEEDED

    async def _dial_checked(self, host: str, port: int, remote: asyncio.Protocol) -> None:
        loop, rules = asyncio.get_running_loop(), self.rules(host, port)
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        refusals = {address: rules.refusal(address) for address in (str(entry[4][0]) for entry in found)}
        addresses = [address for address, why in refusals.items() if why is None]
        if not addresses:
            raise PermissionError(next(iter(refusals.values()), f"{host} has no address"))
        for number, address in enumerate(addresses, 1):
            try:
                await loop.create_connection(lambda: remote, address, port)
                return
            except OSError:
                if number == len(addresses):
                    raise

    async def _dial_upstream(self, host: str, port: int, remote: asyncio.Protocol) -> None:
        """The upstream proxy resolves names: of the host, its name is all that can be checked here."""
        if (why := self.rules(host, port).refusal_of_name(host)) is not None:
            raise PermissionError(why)
        connected = await Proxy.from_url(self.upstream).connect(host, port)
        await asyncio.get_running_loop().create_connection(lambda: remote, sock=connected)


def _remember(known: dict[Place, str], place: Place, why: str) -> None:
    known[place] = why
    if len(known) > _REMEMBERED:
        del known[next(iter(known))]


class _Side(asyncio.Protocol):
    """One side of a relayed connection: what it gets, the other one sends."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.other: _Side | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=_BUFFERED)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            with suppress(RuntimeError):
                self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            with suppress(RuntimeError):
                self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """One direction may end before the other."""
        if self.other is not None and self.other.transport is not None and self.other.transport.can_write_eof():
            with suppress(OSError, RuntimeError):
                self.other.transport.write_eof()
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Remote(_Side):
    """The side of `host`. One that sends without end would keep the network thread of the browser from all others."""

    def __init__(self, client: _Client, port: EgressPort, host: str):
        super().__init__()
        self.other = client
        self._port = port
        self._host = host
        self.answered = 0
        """Bytes that have come since the browser sent something."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        client = self.other
        if client is None or client.transport is None or client.transport.is_closing():
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._port.received += len(data)
        metrics.BROWSER_BYTES.labels("received").inc(len(data))
        assert self.other is not None
        self.answered += len(data)
        if 0 < self._port.largest_answer < self.answered:
            log.warning("answer cut off", host=self._host, bytes=self.answered)
            self.transport.abort()
            self.other.transport.abort()
            return
        self.other.transport.write(data)


class _Client(_Side):
    """The browser's side: greeting, request, and from then on what it sends is for the remote side."""

    def __init__(self, port: EgressPort):
        super().__init__()
        self._port = port
        self._unread = b""
        self._dialling: asyncio.Task[None] | None = None
        self._is_greeted = False
        self._remote: _Remote | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._port.clients.add(self)
        client = transport.get_extra_info("peername")[0]
        if not self._port.listening.serves(client):
            log.warning("egress refused", client=client)
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._port.clients.discard(self)
        if self._dialling is not None:
            self._dialling.cancel()
        super().connection_lost(error)

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._dialling is not None and self._dialling.done() and self._remote is not None:
            self._port.sent += len(data)
            metrics.BROWSER_BYTES.labels("sent").inc(len(data))
            self._remote.answered = 0
            self._remote.transport.write(data)
            return
        self._unread += data
        if self._dialling is None:
            self._negotiate()

    def _negotiate(self) -> None:
        if not self._is_greeted:
            if len(self._unread) < 2 or len(self._unread) < 2 + self._unread[1]:
                return
            self._unread = self._unread[2 + self._unread[1] :]
            self._is_greeted = True
            self.transport.write(bytes((_VERSION, _NO_AUTHENTICATION)))
        target = _target(self._unread)
        if target is None:
            return
        command, host, port, length = target
        self._unread = self._unread[length:]
        if command != _CONNECT or not host:
            self._reply(_COMMAND_NOT_SUPPORTED)
            return
        self._dialling = asyncio.get_running_loop().create_task(self._connect(host, port))

    async def _connect(self, host: str, port: int) -> None:
        remote = _Remote(self, self._port, host)
        code = _FAILED
        try:
            code = await self._port.dial(host, port, remote)
        finally:
            self._reply(code, remote)

    def _reply(self, code: int, remote: _Remote | None = None) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(bytes((_VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0)))
        if code != _SUCCEEDED or remote is None:
            self.transport.close()
            return
        self.other = self._remote = remote
        if self._unread:
            remote.transport.write(self._unread)
            self._unread = b""


def _target(data: bytes) -> tuple[int, str, int, int] | None:
    """(command, host, port, length) of a SOCKS request; None until all of it is there."""
    if len(data) < 5:
        return None
    kind = data[3]
    start, size = {_IPV4: (4, 4), _IPV6: (4, 16)}.get(kind, (5, data[4]))
    if len(data) < start + size + 2:
        return None
    raw = data[start : start + size]
    if kind == _NAME:
        host = raw.decode("ascii", "replace")
    else:
        host = str(ipaddress.ip_address(raw)) if kind in (_IPV4, _IPV6) else ""
    return data[1], host, struct.unpack("!H", data[start + size : start + size + 2])[0], start + size + 2
