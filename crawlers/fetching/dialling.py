"""The download handler whose connections lead to allowed addresses only.

A name is resolved once for a connection, and the addresses that the resolver gives are checked and then dialled as they
are: nobody resolves the name again in between, so a name server that answers differently the second time (DNS
rebinding) changes nothing. A connection that is kept alive is one that was checked. A proxy is the operator's and is
not checked; of what it is asked for, the host's name is.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler, TunnelError, _LenientHTTP11ClientProtocol
from scrapy.core.downloader.handlers.http11 import _LenientHTTP11ClientFactory as LenientFactory
from scrapy.core.downloader.handlers.http11 import _TunnelingTCP4ClientEndpoint as TunnelEndpoint
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
)
from scrapy.utils._download_handlers import wrap_twisted_exceptions
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.httpobj import urlparse_cached
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

from crawlers.fetching.passage import PASSAGE, Passage
from crawlers.fetching.policy import AddressPolicy
from crawlers.fetching.socks import AUTHORIZATION, SocksEndpoint, SocksScrapyAgent
from crawlers.proxies.pool import WAY, ProxyPool
from crawlers.refusals import GivenUp, ProxyFailed, Refused

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from crawlers.fetching.addresses import AddressRules
    from crawlers.proxies.listing import Proxy

_PROXY_REFUSES = 407
_TO_PROXY = b"http-proxy"
"""The first part of a pool key of Scrapy's, for connections to a forward proxy."""
_OF_PROXY = (TunnelError, CannotResolveHostError, DownloadConnectionRefusedError, ConnectError)
"""Errors of a request through a proxy that are the proxy's: it alone is dialled."""
_OF_EITHER = (DownloadFailedError, DownloadTimeoutError)
"""Those that are the proxy's or the site's, by how far the request came."""
_AGAINST = (ProxyFailed, DownloadConnectionRefusedError, ConnectError, *_OF_EITHER)
"""Errors that count against a way at a domain, whoever is to blame: another way may do better."""


def private_address(why: str) -> Refused:
    """Of a request whose host is, or leads to, an address that is not allowed."""
    return Refused("private address", f"{why}; ALLOWED_PRIVATE_NETWORKS and a site's private_networks let more through")


class GuardedPool(HTTPConnectionPool):
    """A pool like another, with connections to allowed addresses that take `most_header_bytes` of headers."""

    proxy_endpoints: ClassVar[tuple[type, ...]] = (TunnelEndpoint, SocksEndpoint)
    """Endpoints that dial the operator's proxy and leave the target to it."""

    def __init__(self, like: HTTPConnectionPool, policy: AddressPolicy, most_header_bytes: int):
        super().__init__(like._reactor, persistent=True)
        self.maxPersistentPerHost = like.maxPersistentPerHost
        self._factory = partial(_Factory, most_header_bytes)  # type: ignore[assignment]
        self._policy = policy

    def getConnection(self, key: Any, endpoint: Any) -> Any:
        connecting = super().getConnection(key, endpoint)
        return connecting if (passage := PASSAGE.get()) is None else connecting.addCallback(passage.opened)

    def _newConnection(self, key: Any, endpoint: Any) -> Any:
        by_name = getattr(endpoint, "_wrappedEndpoint", endpoint)  # of TLS around it
        if key[0] == _TO_PROXY or isinstance(by_name, self.proxy_endpoints):
            return super()._newConnection(key, endpoint)
        scheme, host, port = (part.decode() if isinstance(part, bytes) else part for part in key[:3])
        names = _CheckedNames(self._reactor, self._policy.rules(f"{scheme}://{_bracketed(host)}:{port}"), host)
        if not isinstance(by_name, HostnameEndpoint):
            raise TypeError(f"{type(by_name).__name__}: whether its address is allowed cannot be checked")
        by_name._reactor = names
        return super()._newConnection(key, endpoint).addErrback(names.explain)


@implementer(IReactorPluggableNameResolver)
class _CheckedNames:
    """The reactor, for one host's connections: its names resolve to what may be dialled."""

    def __init__(self, reactor: Any, rules: AddressRules, host: str):
        self._reactor = reactor
        self._rules = rules
        self._host = host
        self._refusal: str | None = None
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def resolveHostName(self, receiver: Any, *args: Any, **kwargs: Any) -> Any:
        """As the reactor's resolver does; addresses that are refused are kept back."""
        self._refusal = None
        return self._reactor.nameResolver.resolveHostName(_Checked(self, receiver), *args, **kwargs)

    def may_dial(self, address: str) -> bool:
        """Whether to try `address`."""
        refusal = self._rules.refusal(address)
        self._refusal = refusal or self._refusal
        return refusal is None

    def explain(self, failure: Failure) -> Any:
        """The failure, which is a refusal where no address was left to dial."""
        if self._refusal is not None and failure.check(DNSLookupError):
            raise private_address(f"{self._host}: {self._refusal}")
        return failure


class _Checked:
    """Receives what a host resolves to, for HostnameEndpoint."""

    def __init__(self, names: _CheckedNames, receiver: Any):
        self._names = names
        self._receiver = receiver

    def resolutionBegan(self, resolution: Any) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:
        if self._names.may_dial(address.host):
            self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


class _Protocol(_LenientHTTP11ClientProtocol):
    """A connection that a server without end of headers does not fill the memory of."""

    most_header_bytes = 0
    passage: Passage | None = None
    """Of the request that it is used for, where somebody counts."""
    _header_bytes = 0

    def request(self, request: Any) -> Any:
        self._header_bytes = 0
        return super().request(request)

    def dataReceived(self, data: bytes) -> None:
        if self.passage is not None:
            self.passage.received += len(data)
        if self._parser is not None and self._parser.state in (STATUS, HEADER):
            self._header_bytes += len(data)
            if self._header_bytes - len(data) > self.most_header_bytes:  # the last part may begin the body
                self._giveUp(Failure(GivenUp("too large", "its headers exceeded HEADERS_MAXSIZE")))
                return
        super().dataReceived(data)


class _Factory(LenientFactory):
    def __init__(self, most_header_bytes: int, *args: Any):
        super().__init__(*args)
        self._most_header_bytes = most_header_bytes

    def buildProtocol(self, address: Any) -> _Protocol:
        protocol = _Protocol(self._quiescentCallback)
        protocol.most_header_bytes = self._most_header_bytes
        return protocol


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class GuardedHTTPHandler(HTTP11DownloadHandler):
    """Scrapy's HTTP/1.1 handler with a GuardedPool, and through the proxy that was chosen for a request."""

    pool_class: type[GuardedPool] = GuardedPool

    def __init__(self, crawler: Crawler):
        super().__init__(crawler)
        plain = self._pool
        self._crawler = crawler
        self._policy = AddressPolicy.of(crawler)
        self._pool = self.pool_class(plain, self._policy, crawler.settings.getint("HEADERS_MAXSIZE"))
        plain.closeCachedConnections()

    async def download_request(self, request: Request) -> Response:
        way: Proxy | None = request.meta.get(WAY)
        if way is None:
            if request.meta.get("proxy"):
                self._check_name(request)
            return await self._send(request)
        if way.url:
            self._check_name(request)
        return await ProxyPool.of(self._crawler).watch(request, lambda: self._send_by(way, request), _AGAINST)

    async def _send_by(self, way: Proxy, request: Request) -> Response:
        """The credentials are in the request only while it is under way."""
        request.meta["proxy"] = way.url or None
        request.headers.pop(AUTHORIZATION, None)
        if way.authorization is not None:
            request.headers[AUTHORIZATION] = way.authorization
        pool, passage, began_at = ProxyPool.of(self._crawler), Passage(), monotonic()
        try:
            response = await self._send(request, passage)
        except (*_OF_PROXY, *_OF_EITHER) as error:
            if not way.url or (isinstance(error, _OF_EITHER) and self._is_sites(way, request, passage, began_at)):
                raise
            raise ProxyFailed(f"{way.label}: {type(error).__name__}: {error}") from None
        finally:
            del request.meta["proxy"]
            request.headers.pop(AUTHORIZATION, None)
            if passage.is_open:
                pool.spend(way, passage.received)
        if way.url and response.status == _PROXY_REFUSES:
            raise ProxyFailed(f"{way.label}: http 407")
        return response

    def _is_sites(self, way: Proxy, request: Request, passage: Passage, began_at: float) -> bool:
        """Whether it is the site that lost, or never answered, a request.

        Behind a tunnel nobody else can be. A forward proxy hides the site: it is not to blame where something of the
        answer has come, or where it has answered others meanwhile.
        """
        if urlparse_cached(request).scheme == "https" or way.url.startswith("socks5:"):
            return passage.is_open
        return bool(passage.received) or ProxyPool.of(self._crawler).has_answered_since(began_at, way)

    async def _send(self, request: Request, passage: Passage | None = None) -> Response:
        PASSAGE.set(passage)
        try:
            if (request.meta.get("proxy") or "").startswith("socks5:"):
                return await self._send_by_socks(request)
            return await super().download_request(request)
        except DownloadFailedError as error:
            for reason in getattr(error.__cause__, "reasons", ()):
                if reason.check(GivenUp):
                    raise reason.value from None
            raise

    async def _send_by_socks(self, request: Request) -> Response:
        agent = SocksScrapyAgent(
            contextFactory=self._contextFactory,
            pool=self._pool,
            maxsize=self._default_maxsize,
            warnsize=self._default_warnsize,
            fail_on_dataloss=self._fail_on_dataloss,
            crawler=self._crawler,
        )
        with wrap_twisted_exceptions():
            return await maybe_deferred_to_future(agent.download_request(request))

    def _check_name(self, request: Request) -> None:
        """Of what a proxy is asked for, only the name is seen here."""
        if refusal := self._policy.rules(request.url).refusal_of_name(urlparse_cached(request).hostname or ""):
            raise private_address(refusal)
