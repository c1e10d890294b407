"""Posts what the monitors found to the operator's webhook, and never lets that hold a crawl up for long.

One POST for each site and crawl. It is repeated, with the same Idempotency-Key, until it is taken, refused or too late.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import time
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from crawlers import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.monitors.result import SiteResult

log = structlog.get_logger("seine.monitors")

_ONE_TRY = 10.0
"""Seconds for one attempt at most."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_AT_ONCE = 4
_WORTH_ANOTHER = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_TYPE = "application/json"
ALL, LEVELS = "all", ("error", "warning", "all")


@dataclass(frozen=True)
class Webhook:
    """Where alarms go."""

    url: str
    secret: str = ""
    """Signs the body; '': it is not signed."""
    level: str = "warning"
    """What is posted: results with errors, those with warnings too, or all."""
    seconds: float = 30.0
    """For all posts of a crawl."""

    @classmethod
    def from_settings(cls, settings: Any) -> Self | None:
        """None where MONITORS_WEBHOOK_URL is not set."""
        if not (url := settings.get("MONITORS_WEBHOOK_URL")):
            return None
        names = ("MONITORS_WEBHOOK_SECRET", "MONITORS_WEBHOOK_LEVEL")
        secret, level = (settings.get(name) or "" for name in names)
        return cls(url, secret, level, settings.getfloat("MONITORS_WEBHOOK_SECONDS"))

    def wants(self, result: SiteResult) -> bool:
        """Whether a result is told; that all is well again is, where the alarm was."""
        if self.level == "error" and result.status == "warning":
            return False
        return self.level == ALL or result.status != "ok" or bool(result.resolved)

    async def post(self, spider: str, results: Iterable[SiteResult]) -> list[SiteResult]:
        """Post those that are wanted; the ones that were taken. It raises nothing."""
        deadline, places = monotonic() + self.seconds, asyncio.Semaphore(_AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=min(_ONE_TRY, self.seconds))
        wanted = [result for result in results if self.wants(result)]
        if not wanted:
            return []
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def one(result: SiteResult) -> bool:
                async with places:
                    return await self._one(session, spider, result, deadline)

            taken = await asyncio.gather(*(one(result) for result in wanted))
        return [result for result, is_taken in zip(wanted, taken, strict=True) if is_taken]

    async def _one(self, session: aiohttp.ClientSession, spider: str, result: SiteResult, deadline: float) -> bool:
        body = msgspec.json.encode(payload_of(spider, result))
        headers = {"Content-Type": _CONTENT_TYPE, "User-Agent": "Seine", "Idempotency-Key": key_of(spider, result)}
        pause, why = _FIRST_PAUSE, "too late"
        while (left := deadline - monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    status = await self._try(session, body, headers)
                if 200 <= status < 300:
                    self._tell(result, "", status=status)
                    return True
                why = f"http {status}"
                if status not in _WORTH_ANOTHER:
                    break
            except (aiohttp.ClientError, OSError, ValueError) as error:
                why = type(error).__name__
            await asyncio.sleep(min(random.uniform(pause / 2, pause), max(0.0, deadline - monotonic())))
            pause = min(_LONGEST_PAUSE, 2 * pause)
        self._tell(result, why)
        return False

    async def _try(self, session: aiohttp.ClientSession, body: bytes, headers: dict[str, str]) -> int:
        """The status of one attempt. Nobody is followed elsewhere, and what is answered is not read."""
        if self.secret:
            headers = {**headers, "X-Seine-Signature": signature_of(self.secret, round(time.time()), body)}
        async with session.post(self.url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status

    def _tell(self, result: SiteResult, why: str, **about: object) -> None:
        metrics.MONITOR_WEBHOOKS.labels("failed" if why else "posted").inc()
        told = {"site": result.site, "crawl": result.crawl_id, "host": urlsplit(self.url).hostname}
        if why:
            log.error("webhook failed", **told, why=why)
        else:
            log.info("webhook posted", **told, **about)


def key_of(spider: str, result: SiteResult) -> str:
    """The same for the same site and crawl: a receiver that has it already may drop the post."""
    return hashlib.sha256(f"{spider}/{result.crawl_id}/{result.site}".encode()).hexdigest()[:32]


def signature_of(secret: str, now: int, body: bytes) -> str:
    """The time in seconds since the epoch, and the HMAC-SHA256 of it, a dot and the body, hex."""
    digest = hmac.new(secret.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={digest}"


def payload_of(spider: str, result: SiteResult) -> dict[str, Any]:
    """The body: `text` for people, the rest for programs."""
    return {
        "text": text_of(result),
        "event": "seine.monitors",
        "version": 1,
        "key": key_of(spider, result),
        "spider": spider,
        "site": result.site,
        "crawl_id": result.crawl_id,
        "ended_at": result.ended,
        "status": result.status,
        "findings": [msgspec.to_builtins(finding) for finding in result.findings],
        "resolved": list(result.resolved),
        "seconds": round(result.seconds, 1),
        "products": result.products,
        "coverage": result.coverage,
        "requests": result.requests,
        "error_rate": round(result.error_rate, 4),
        "prices": msgspec.to_builtins(result.prices),
    }


def text_of(result: SiteResult) -> str:
    """In a few lines."""
    lines = [f"Seine: {result.site}: {result.status}, {result.products:,} products (crawl {result.crawl_id})"]
    lines += [f"- {finding.level}: {finding.monitor}: {finding.message}" for finding in result.findings]
    if result.resolved:
        lines.append(f"- well again: {', '.join(result.resolved)}")
    return "\n".join(lines)
