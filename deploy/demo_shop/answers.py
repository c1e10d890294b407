"""What the shop sends for one address, made once and kept until the shop changes."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from email.utils import formatdate, mktime_tz, parsedate_tz
from zlib import crc32

from aiohttp import web

from deploy.demo_shop.locales import Locale
from deploy.demo_shop.pages.layout import encode


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    content_type: str
    """The header's value, with the charset where the shop states one."""
    status: int = 200
    gzipped: bytes | None = None
    modified: int | None = None
    """Seconds since the epoch when the body became what it is; None where that is not told."""

    @property
    def etag(self) -> str:
        """The same for the same bytes, and for no others."""
        return f'"{crc32(self.body):08x}"'

    def response(self, request: web.BaseRequest) -> web.Response:
        validators = {"ETag": self.etag}
        if self.modified is not None:
            validators["Last-Modified"] = formatdate(self.modified, usegmt=True)
        if self.status == 200 and self._is_held(request):
            return web.Response(status=304, headers=validators)
        headers = {"Content-Type": self.content_type, **validators}
        if self.gzipped and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return web.Response(body=self.gzipped, status=self.status, headers=headers)
        return web.Response(body=self.body, status=self.status, headers=headers)

    def _is_held(self, request: web.BaseRequest) -> bool:
        """Whether the client has these bytes, as its validators say; an ETag alone counts where it sends both."""
        if (etag := request.headers.get("If-None-Match")) is not None:
            return etag == self.etag
        since = parsedate_tz(request.headers.get("If-Modified-Since", ""))
        return since is not None and self.modified is not None and self.modified <= mktime_tz(since)


def html_answer(locale: Locale, html: str, status: int = 200) -> Answer:
    body = encode(locale, html)
    content_type = f"text/html; charset={locale.declared_charset}" if locale.charset_in_header else "text/html"
    return Answer(body, content_type, status, gzip.compress(body, 6, mtime=0) if locale.gzip else None)


def json_answer(text: str) -> Answer:
    return Answer(text.encode(), "application/json; charset=utf-8")
