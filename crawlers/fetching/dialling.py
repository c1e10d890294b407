"""The download handler whose connections lead to allowed addresses only.

A name is resolved once for a connection, and the addresses that the resolver gives are checked and then dialled as they
are: nobody resolves the name again in between, so a name server that answers differently the second time (DNS
rebinding) changes nothing. A connection that is kept alive is one that was checked. A proxy is the operator's and is
not checked; of what it is asked for, the host's name is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler, _LenientHTTP11ClientProtocol
from scrapy.core.downloader.handlers.http11 import _LenientHTTP11ClientFactory as LenientFactory
from scrapy.core.downloader.handlers.http11 import _TunnelingTCP4ClientEndpoint as TunnelEndpoint
from scrapy.exceptions import DownloadFailedError
from scrapy.utils.httpobj import urlparse_cached
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

from crawlers.fetching.policy import AddressPolicy
from crawlers.refusals import GivenUp, Refused

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from crawlers.fetching.addresses import AddressRules

_TO_PROXY = b"http-proxy"
"""The first part of a pool key of Scrapy's, for connections to a forward proxy."""


def private_address(why: str) -> Refused:
    """Of a request whose host is, or leads to, an address that is not allowed."""
    return Refused("private address", f"{why}; ALLOWED_PRIVATE_NETWORKS and a site's private_networks let more through")


class GuardedPool(HTTPConnectionPool):
    """A pool like another, with connections to allowed addresses that take `most_header_bytes` of headers."""

    proxy_endpoints: ClassVar[tuple[type, ...]] = (TunnelEndpoint,)
    """Endpoints that dial the operator's proxy and leave the target to it."""

    def __init__(self, like: HTTPConnectionPool, policy: AddressPolicy, most_header_bytes: int):
        super().__init__(like._reactor, persistent=True)
        self.maxPersistentPerHost = like.maxPersistentPerHost
        self._factory = partial(_Factory, most_header_bytes)  # type: ignore[assignment]
        self._policy = policy

    def _newConnection(self, key: Any, endpoint: Any) -> Any:
        if key[0] == _TO_PROXY or isinstance(endpoint, self.proxy_endpoints):
            return super()._newConnection(key, endpoint)
        scheme, host, port = (part.decode() if isinstance(part, bytes) else part for part in key[:3])
        names = _CheckedNames(self._reactor, self._policy.rules(f"{scheme}://{_bracketed(host)}:{port}"), host)
        by_name = getattr(endpoint, "_wrappedEndpoint", endpoint)  # of TLS around it
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
    _header_bytes = 0

    def request(self, request: Any) -> Any:
        self._header_bytes = 0
        return super().request(request)

    def dataReceived(self, data: bytes) -> None:
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
    """Scrapy's HTTP/1.1 handler with a GuardedPool."""

    pool_class: type[GuardedPool] = GuardedPool

    def __init__(self, crawler: Crawler):
        super().__init__(crawler)
        plain = self._pool
        self._policy = AddressPolicy.of(crawler)
        self._pool = self.pool_class(plain, self._policy, crawler.settings.getint("HEADERS_MAXSIZE"))
        plain.closeCachedConnections()

    async def download_request(self, request: Request) -> Response:
        if request.meta.get("proxy"):
            self._check_name(request)
        try:
            return await super().download_request(request)
        except DownloadFailedError as error:
            for reason in getattr(error.__cause__, "reasons", ()):
                if reason.check(GivenUp):
                    raise reason.value from None
            raise

    def _check_name(self, request: Request) -> None:
        """Of what a proxy is asked for, only the name is seen here."""
        if refusal := self._policy.rules(request.url).refusal_of_name(urlparse_cached(request).hostname or ""):
            raise private_address(refusal)
