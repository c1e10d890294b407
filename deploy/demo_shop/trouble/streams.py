"""Bodies that come late, never end, weigh too much, or stop half-way. None is ever held in memory whole."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache

from aiohttp import web

from deploy.demo_shop.trouble import Ask, Trouble
from deploy.demo_shop.trouble.product import product_html, product_response

MIB = 1024 * 1024
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_FILLER = b"<p>" + b"more of the same " * 3855 + b"</p>\n"
"""Some 64 KiB."""


async def _start(ask: Ask, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(ask.request)
    return response


async def slow(ask: Ask) -> web.StreamResponse:
    await asyncio.sleep(ask.number("seconds", 5))
    return product_response(ask)


async def drip(ask: Ask) -> web.StreamResponse:
    body, seconds, parts = product_html(ask).encode(), ask.number("seconds", 5), 20
    response = await _start(ask, _HTML | {"Content-Length": str(len(body))})
    step = -(-len(body) // parts)
    for begin in range(0, len(body), step):
        # Before each part: a reader is done with the last one.
        await asyncio.sleep(seconds / parts)
        await response.write(body[begin : begin + step])
    return response


async def hang(ask: Ask) -> web.StreamResponse:
    response = await _start(ask, _HTML)
    await response.write(b"<!doctype html><title>Wait</title><p>The rest never comes.</p>")
    await asyncio.sleep(ask.number("seconds", 3600))
    return response


async def endless(ask: Ask) -> web.StreamResponse:
    pause = ask.number("pause", 0)
    response = await _start(ask, _HTML)
    while True:
        await response.write(_FILLER)
        await asyncio.sleep(pause)


async def huge(ask: Ask) -> web.StreamResponse:
    size = ask.whole("mb", 128) * MIB
    length = {} if "chunked" in ask.request.query else {"Content-Length": str(size)}
    response = await _start(ask, _HTML | length)
    for left in range(size, 0, -len(_FILLER)):
        await response.write(_FILLER[:left])
    return response


async def bomb(ask: Ask) -> web.StreamResponse:
    first, middle, last = _bomb_parts(ask.whole("mb", 256))
    response = await _start(ask, _HTML | {"Content-Encoding": "gzip"})
    await response.write(first)
    for _ in range(ask.whole("mb", 256)):
        await response.write(middle)
    await response.write(last)
    return response


@lru_cache(maxsize=8)
def _bomb_parts(mebibytes: int) -> tuple[bytes, bytes, bytes]:
    """A gzip stream's head, the part that inflates to one MiB of zeros, and its end with the right checksum."""
    zeros = bytes(MIB)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    middle = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(zeros, checksum)
    size = mebibytes * MIB % 2**32
    head = bytes.fromhex("1f8b08000000000002ff")
    return head, middle, deflate.flush() + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


async def drop(ask: Ask) -> web.StreamResponse:
    body = product_html(ask).encode()
    response = await _start(ask, _HTML | {"Content-Length": str(len(body))})
    await response.write(body[: len(body) // 2])
    # What was written must be on its way before the connection is cut.
    await asyncio.sleep(0.05)
    _cut(ask)
    return response


async def no_answer(ask: Ask) -> web.StreamResponse:
    _cut(ask)
    return web.StreamResponse()


def _cut(ask: Ask) -> None:
    if ask.request.transport:
        ask.request.transport.abort()


STREAMS = {
    "slow": Trouble(slow, "a product after seconds=5"),
    "drip": Trouble(drip, "a product in 20 parts over seconds=5"),
    "hang": Trouble(hang, "a first line, then silence for seconds=3600"),
    "endless": Trouble(endless, "a body without end, pause=0 seconds between parts of 64 KiB"),
    "huge": Trouble(huge, "mb=128 MiB of HTML, with its length (or chunked=1)"),
    "bomb": Trouble(bomb, "gzip that inflates to mb=256 MiB from a thousandth of that"),
    "drop": Trouble(drop, "the connection is cut in the middle of the body"),
    "no-answer": Trouble(no_answer, "the connection is cut before a status"),
}
