"""Requests as bytes: msgpack, never pickle; only what differs from a plain GET is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
from scrapy import Request
from scrapy.utils.misc import load_object

from crawlers.exceptions import SeineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Spider

_TRANSIENT = frozenset(
    (
        "browser_again",
        "browser_pattern",
        "browser_route",
        "download_latency",
        "download_slot",
        "download_timeout",
        "is_start_request",
        "identity",
        "proxy_answer",
        "proxy_choice",
        "proxy_jar",
        "rendered",
        "rendered_by",
    )
)
"""Keys of meta that one attempt leaves behind and the next must not see."""
_OF_ENVIRONMENT = "_scheme_proxy"
"""Scrapy's mark of a request whose proxy is that of the worker's environment, which each attempt asks anew."""
_ENVIRONMENTS = frozenset((_OF_ENVIRONMENT, "_auth_proxy", "proxy"))

_CREDENTIALS = 'meta["proxy"] has credentials: expected the proxy in PROXIES, and its label in meta["use_proxy"]'


class Unstorable(SeineError):
    """A request that cannot be written down, or bytes that are no request."""


class RequestCodec:
    """Encodes and decodes the requests of one spider, whose methods callbacks and errbacks must be."""

    def __init__(self, spider: Spider):
        self._spider = spider
        self._names: dict[Any, str] = {}
        self._methods: dict[str, Callable[..., Any]] = {}
        self._pack = msgpack.Packer().pack

    def encode(self, request: Request) -> bytes:
        """The bytes of `request`. Raises Unstorable, naming what of it cannot be stored."""
        fields: dict[str, Any] = {}
        if request.callback is not None:
            fields["callback"] = self._name(request.callback, request)
        if request.errback is not None:
            fields["errback"] = self._name(request.errback, request)
        if request._meta:
            meta = request._meta
            if "@" in str(meta.get("proxy") or ""):
                raise Unstorable(_CREDENTIALS)
            fields["meta"] = _lasting(meta)
        if request.priority:
            fields["priority"] = request.priority
        if request._cb_kwargs:
            fields["cb_kwargs"] = request._cb_kwargs
        if request._headers:
            fields["headers"] = headers = dict(request._headers)
            headers.pop(b"Proxy-Authorization", None)
        if request.method != "GET":
            fields["method"] = request.method
        if request._body:
            fields["body"] = request._body
        if request._cookies:
            fields["cookies"] = request._cookies
        if request._flags:
            fields["flags"] = request._flags
        if request.dont_filter:
            fields["dont_filter"] = True
        if request._encoding != "utf-8":
            fields["encoding"] = request._encoding
        if type(request) is not Request:
            fields |= {name: value for name, value in request.to_dict(spider=self._spider).items() if name == "_class"}
        try:
            return self._pack([request._url, fields] if fields else [request._url])  # type: ignore[no-any-return]
        except (TypeError, ValueError, OverflowError) as error:
            raise Unstorable(f"{request}: {_culprit(fields)}: {error}") from None

    def decode(self, data: bytes) -> Request:
        """The request of `data`. Raises Unstorable."""
        try:
            url, *rest = msgpack.unpackb(data)
            if not rest:
                return Request(url)
            fields = rest[0]
            for role in ("callback", "errback"):
                if role in fields:
                    fields[role] = self._method(fields[role])
            kind = load_object(fields.pop("_class")) if "_class" in fields else Request
            return kind(url, **fields)  # type: ignore[no-any-return]
        except Exception as error:  # whatever is stored there, it must end by name
            raise Unstorable(f"corrupt request {data[:80]!r}: {type(error).__name__}: {error}") from None

    def _name(self, function: Any, request: Request) -> str:
        name = self._names.get(function)
        if name is None:
            name = getattr(function, "__name__", "")
            if getattr(self._spider, name, None) != function:
                raise Unstorable(f"{request}: {function!r} is not a method of the spider: only those can be stored")
            self._names[function] = name
        return name

    def _method(self, name: str) -> Callable[..., Any]:
        if name not in self._methods:
            self._methods[name] = getattr(self._spider, name)
        return self._methods[name]


def _lasting(meta: dict[str, Any]) -> dict[str, Any]:
    left_out = _TRANSIENT | _ENVIRONMENTS if _OF_ENVIRONMENT in meta else _TRANSIENT
    return meta if left_out.isdisjoint(meta) else {key: value for key, value in meta.items() if key not in left_out}


def _culprit(fields: dict[str, Any]) -> str:
    """The field that msgpack does not take."""
    for name, value in fields.items():
        for key, part in value.items() if isinstance(value, dict) else [("", value)]:
            try:
                msgpack.packb(part)
            except (TypeError, ValueError, OverflowError):
                return f"{name}[{key!r}]" if key else name
    return "request"
