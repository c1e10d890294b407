"""Plain HTTP through SOCKS5 proxies, which Scrapy's handler does not know."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from python_socks import ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy
from scrapy.core.downloader.handlers.http11 import TunnelError, _BindAddressAgent, _ScrapyAgent
from scrapy.utils.defer import deferred_from_coro
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

if TYPE_CHECKING:
    from scrapy import Request

AUTHORIZATION = b"Proxy-Authorization"


@implementer(IStreamClientEndpoint)
class SocksEndpoint:
    """A host's port behind a proxy, which resolves the host's name."""

    def __init__(self, reactor: Any, proxy: Proxy, host: str, port: int, timeout: float):
        self._reactor = reactor
        self._proxy = proxy
        self._host = host
        self._port = port
        self._timeout = timeout

    def connect(self, factory: Any) -> Any:
        """A Deferred of the protocol; TunnelError where the proxy does not let through."""
        return deferred_from_coro(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        try:
            connected = await self._proxy.connect(self._host, self._port, timeout=self._timeout)
        except (ProxyError, OSError, TimeoutError) as error:
            raise TunnelError(f"SOCKS: {error or type(error).__name__}") from None
        adopting = _Adopting(factory)
        with connected:
            self._reactor.adoptStreamConnection(connected.fileno(), connected.family, adopting)
        return adopting.protocol


class _Adopting:
    """Keeps the protocol that the reactor has a factory build."""

    def __init__(self, factory: Any):
        self._factory = factory
        self.protocol: Any = None

    def buildProtocol(self, address: Any) -> Any:
        self.protocol = self._factory.buildProtocol(address)
        return self.protocol


class _SocksAgent(_BindAddressAgent):
    """Dials through the proxy; its connections are kept apart by proxy and user."""

    def __init__(self, proxy_url: str, authorization: bytes, timeout: float, **kwargs: Any):
        super().__init__(connectTimeout=timeout, **kwargs)
        parts = urlsplit(proxy_url)
        user, _, password = base64.b64decode(authorization.partition(b" ")[2]).decode().partition(":")
        self._proxy = Proxy(
            ProxyType.SOCKS5, parts.hostname or "", parts.port or 0, user or None, password or None, rdns=True
        )
        self._timeout = timeout
        self._own_key = (proxy_url, authorization)

    def _getEndpoint(self, uri: Any) -> Any:
        endpoint: Any = SocksEndpoint(self._reactor, self._proxy, uri.host.decode(), uri.port, self._timeout)
        if uri.scheme != b"https":
            return endpoint
        return wrapClientTLS(self._endpointFactory._policyForHTTPS.creatorForNetloc(uri.host, uri.port), endpoint)

    def _requestWithEndpoint(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._requestWithEndpoint(key + self._own_key, *args, **kwargs)

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:
        headers.removeHeader(AUTHORIZATION)
        return super().request(method, uri, headers, bodyProducer)


class SocksScrapyAgent(_ScrapyAgent):
    """Scrapy's agent for requests whose `meta["proxy"]` is a socks5 URL."""

    def _get_agent(self, request: Request, timeout: float) -> Any:
        from twisted.internet import reactor

        return _SocksAgent(
            request.meta["proxy"],
            request.headers.get(AUTHORIZATION) or b"",
            timeout,
            reactor=reactor,
            contextFactory=self._contextFactory,
            pool=self._pool,
        )
