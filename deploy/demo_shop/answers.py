"""What the shop sends for one address, made once and kept until a price changes."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
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

    def response(self, request: web.BaseRequest) -> web.Response:
        etag = f'"{crc32(self.body):08x}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        headers = {"Content-Type": self.content_type, "ETag": etag}
        if self.gzipped and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return web.Response(body=self.gzipped, status=self.status, headers=headers)
        return web.Response(body=self.body, status=self.status, headers=headers)


def html_answer(locale: Locale, html: str, status: int = 200) -> Answer:
    body = encode(locale, html)
    content_type = f"text/html; charset={locale.declared_charset}" if locale.charset_in_header else "text/html"
    return Answer(body, content_type, status, gzip.compress(body, 6, mtime=0) if locale.gzip else None)


def json_answer(text: str) -> Answer:
    return Answer(text.encode(), "application/json; charset=utf-8")
