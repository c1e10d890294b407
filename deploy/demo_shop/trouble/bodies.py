"""Bodies that are not what they claim to be, or not what anyone came for."""

from __future__ import annotations

import gzip
import struct
import zlib

from aiohttp import web

from deploy.demo_shop.trouble import Ask, Handler, Trouble
from deploy.demo_shop.trouble.product import product_html


def _fixed(body: bytes, content_type: str) -> Handler:
    async def handler(ask: Ask) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return handler


async def no_content(ask: Ask) -> web.StreamResponse:
    return web.Response(status=204)


async def wrong_charset(ask: Ask) -> web.StreamResponse:
    declared = ask.request.query.get("declared", "iso-8859-1")
    html = product_html(ask).replace('<meta charset="utf-8">', f'<meta charset="{declared}">')
    body = html.encode(ask.request.query.get("actual", "utf-8"), "replace")
    return web.Response(body=body, headers={"Content-Type": f"text/html; charset={declared}"})


async def invalid_gzip(ask: Ask) -> web.StreamResponse:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "gzip"}
    return web.Response(body=product_html(ask).encode(), headers=headers)


async def truncated_gzip(ask: Ask) -> web.StreamResponse:
    body = gzip.compress(product_html(ask).encode(), mtime=0)
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "gzip"}
    return web.Response(body=body[: len(body) // 2], headers=headers)


async def no_index(ask: Ask) -> web.StreamResponse:
    html = product_html(ask).replace("</head>", '<meta name="robots" content="noindex, nofollow">\n</head>')
    headers = {"Content-Type": "text/html; charset=utf-8", "X-Robots-Tag": "noindex, nofollow"}
    return web.Response(body=html.encode(), headers=headers)


def _png() -> bytes:
    """One grey pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x80")), (b"IEND", b""))
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)

BODIES = {
    "empty": Trouble(_fixed(b"", "text/html; charset=utf-8"), "200 with an empty body"),
    "204": Trouble(no_content, "204"),
    "pdf": Trouble(_fixed(_PDF, "application/pdf"), "a PDF"),
    "png": Trouble(_fixed(_png(), "image/png"), "a picture"),
    "json": Trouble(_fixed(b'{"name": "not a page"}', "application/json"), "JSON"),
    "binary": Trouble(_fixed(bytes(range(256)) * 40, "text/html"), "bytes that are no text, called HTML"),
    "charset": Trouble(wrong_charset, "a product in actual=utf-8 that says declared=iso-8859-1"),
    "invalid-gzip": Trouble(invalid_gzip, "plain HTML that says it is gzip"),
    "truncated-gzip": Trouble(truncated_gzip, "the first half of a gzip stream"),
    "noindex": Trouble(no_index, "a product with X-Robots-Tag and meta robots noindex"),
}
