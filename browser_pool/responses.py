"""Scrapy's response of a rendered page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.http import Headers, HtmlResponse
from scrapy.responsetypes import responsetypes

from browser_pool.cookies import set_cookies
from crawlers.browser_rules import RENDERED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy import Request
    from scrapy.http import Response

    from browser_pool.backend import Cookie, Rendered

_OF_THE_WIRE = {"content-encoding", "content-length", "transfer-encoding", "set-cookie"}
"""Headers of the bytes that came, which are not those of the response."""
_VALIDATORS = {"etag", "last-modified"}
"""Of the document as it was sent: what scripts make of it changes without them."""


def response_of(request: Request, rendered: Rendered, sent: Sequence[Cookie]) -> Response:
    """`rendered` as a Response; `sent` are the cookies that the request had brought."""
    headers = Headers()
    left_out = _OF_THE_WIRE | _VALIDATORS if rendered.is_document else _OF_THE_WIRE
    for name, value in rendered.headers:
        if name.lower() not in left_out:
            headers.appendlist(name, value)
    if rendered.is_document:
        kind = (headers.get("Content-Type") or b"text/html").partition(b";")[0].decode("latin-1")
        headers["Content-Type"] = f"{kind}; charset=utf-8"
    for header in set_cookies(request.url, rendered.cookies, sent):
        headers.appendlist("Set-Cookie", header)
    found = responsetypes.from_args(headers=headers, url=rendered.url, body=rendered.body)
    kind_of_response = HtmlResponse if rendered.is_document else found
    return kind_of_response(
        rendered.url, status=rendered.status, headers=headers, body=rendered.body, request=request, flags=[RENDERED]
    )
