"""Start URLs that others push into Redis: `LPUSH product_spider:start_urls URL`, scrapy-redis's habit."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import structlog
from scrapy import FormRequest, Request
from scrapy_redis import defaults

from crawlers.domains import is_web_url
from crawlers.exceptions import UserError
from crawlers.frontier.connection import AWAY, Connection, Servers
from crawlers.frontier.scripts import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from crawlers.frontier.scripts import Command

log = structlog.get_logger("seine.frontier")

_AT_ONCE = 500
_REFUSED = 1000
"""Entries that were no requests, kept for whoever pushed them."""


class PushedUrls:
    """The list of a spider. Entries are claimed, made requests, and removed when the frontier has them."""

    def __init__(self, servers: Servers, settings: Any, spider_name: str, worker: str, claim_ms: int):
        self.key = (settings.get("REDIS_START_URLS_KEY") or defaults.START_URLS_KEY) % {"name": spider_name}
        self._kind = "list"
        if settings.getbool("REDIS_START_URLS_AS_SET"):
            self._kind = "set"
        elif settings.getbool("REDIS_START_URLS_AS_ZSET"):
            self._kind = "zset"
        self._servers = servers
        self._worker = worker
        self._claim_ms = claim_ms
        count = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD"}[self._kind]
        self._counts = ((count, self.key), ("ZCARD", f"{{{self.key}}}:claims"))
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        """The one who takes and the one who watches for the end ask over one connection."""

    async def open(self) -> None:
        """Connect, at a start. Raises one of AWAY, also where this user may not read the list or claim from it."""
        self._connection = await self._servers.connect(self.key)
        for command in (*self._counts, self._script("done")):
            await self._connection.one(*command)

    async def claim(self, request_for: Callable[[str], Request]) -> list[Request]:
        """Requests for the next entries, claimed; [] where there are none. What is no request is refused by name."""
        requests = []
        for entry in await self._ask("claim", _AT_ONCE):
            try:
                requests.append(_request_of(entry, request_for))
            except UserError as error:
                log.error("pushed URL refused", key=self.key, error=str(error))
                await self._refuse(entry)
        return requests

    async def done(self) -> None:
        """What was claimed is in the frontier."""
        await self._ask("done")

    async def give_back(self) -> None:
        """What was claimed goes back to the list."""
        await self._ask("return")

    async def is_empty(self) -> bool:
        """Whether nothing is pushed, and nothing that was is still on its way into the frontier."""
        for count in self._counts:
            if await self._command(count):
                return False
        return True

    async def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _ask(self, action: str, number: int = 0) -> list[bytes]:
        found: list[bytes] = await self._command(self._script(action, number))
        return found

    def _script(self, action: str, number: int = 0) -> Command:
        tag = f"{{{self.key}}}"
        return run("claim", tag, self.key, action, self._worker, self._kind, number, self._claim_ms)

    async def _refuse(self, entry: bytes) -> None:
        refused = f"{{{self.key}}}:refused"
        await self._command(("LPUSH", refused, entry))
        await self._command(("LTRIM", refused, 0, _REFUSED - 1))

    async def _command(self, command: Any) -> Any:
        async with self._lock:
            while True:
                try:
                    if self._connection is None:
                        self._connection = await self._servers.connect(self.key)
                    return await self._connection.one(*command)
                except AWAY:
                    if self._connection is not None:
                        await self._connection.close()
                        self._connection = None
                    await asyncio.sleep(0.5)


def _request_of(entry: bytes, request_for: Callable[[str], Request]) -> Request:
    """The request of a plain URL, or of scrapy-redis's JSON: url, method, meta, and form fields beside them."""
    try:
        text = entry.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise UserError(f"{entry[:80]!r}: not UTF-8") from None
    if not text.startswith("{"):
        return request_for(_checked(text))
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UserError(f"{text[:200]}: not JSON: {error}") from None
    request = request_for(_checked(str(fields.pop("url", ""))))
    meta = fields.pop("meta", {})
    method = str(fields.pop("method", "GET"))
    if not isinstance(meta, dict):
        raise UserError(f"{text[:200]}: meta: expected an object")
    request.meta.update(meta)
    if not fields and method == "GET":
        return request
    form = {name: str(value) for name, value in fields.items()}
    options = {"callback": request.callback, "errback": request.errback, "meta": request.meta, "method": method}
    return FormRequest(request.url, formdata=form or None, **options)


def _checked(url: str) -> str:
    if not is_web_url(url):
        raise UserError(f"{url[:200] or 'an entry without url'}: expected an http or https URL")
    return url
