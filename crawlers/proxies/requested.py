"""The proxy that a request brings itself, as Scrapy's HttpProxyMiddleware leaves it."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from scrapy.utils.url import add_http_if_no_scheme

from crawlers.fetching.socks import AUTHORIZATION
from crawlers.proxies.listing import Proxy

if TYPE_CHECKING:
    from scrapy import Request

_FORM = 'meta["proxy"]: expected http://host:port or socks5://host:port, with Basic credentials if any'


def requested_proxy(request: Request) -> Proxy | None:
    """What `meta["proxy"]` says, with the credentials of Proxy-Authorization. Raises ValueError where it is none."""
    if not (url := request.meta.get("proxy")):
        return None
    try:
        parts = urlsplit(add_http_if_no_scheme(url))
        host, port = parts.hostname or "", parts.port
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if header := request.headers.get(AUTHORIZATION):
            user, password = _credentials(header)
    except ValueError:
        raise ValueError(_FORM) from None
    if parts.scheme not in ("http", "socks5") or not host or port is None:
        raise ValueError(_FORM)
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Proxy(at, f"{parts.scheme}://{at}", user, password)


def account_of(proxy: Proxy) -> str:
    """A name of the proxy and the account there that tells no credential."""
    return f"{proxy.label}-{sha256(proxy.secret_url.encode()).hexdigest()[:16]}"


def _credentials(header: bytes) -> tuple[str, str]:
    scheme, _, encoded = header.partition(b" ")
    user, separator, password = b64decode(encoded, validate=True).decode("latin-1").partition(":")
    if scheme.lower() != b"basic" or not separator:
        raise ValueError
    return user, password
