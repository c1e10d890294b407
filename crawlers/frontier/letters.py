"""Writes the letters of requests that died where no worker could: lost with theirs, of a domain that is down, corrupt.

They wait in each shard's outbox, which lua/letters.lua describes, and the crawl is not complete before.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import structlog

from crawlers.exceptions import Undelivered
from crawlers.failed_request import FailedRequest

if TYPE_CHECKING:
    from crawlers.extensions.tracing import Tracing
    from crawlers.frontier.control import Control
    from crawlers.frontier.frontier import Frontier
    from pipelines.dead_letter import DeadLetters

log = structlog.get_logger("seine.dead_letter")

_LOOK = 1.0
"""Seconds between two looks into an outbox that was empty."""
_AT_ONCE = 100


class LetterWriter:
    """Claims what is in a crawl's outboxes, writes it, and says so; what it does not get to, another worker does."""

    def __init__(
        self, control: Control, letters: DeadLetters, spider: str, claim_ms: int, tracing: Tracing | None = None
    ):
        self._tracing = tracing
        self._control = control
        self._letters = letters
        self._spider = spider
        self._claim_ms = claim_ms
        self._frontier: Frontier | None = None

    async def join(self, frontier: Frontier) -> None:
        """From now on it is this crawl whose letters are written."""
        await self._control.ask(lambda crawls: crawls.expect_letters(frontier.crawl))
        self._frontier = frontier

    async def run(self) -> None:
        """Until cancelled, or until the worker closes and Kafka does not answer."""
        try:
            while True:
                if not await self._write_some():
                    await asyncio.sleep(_LOOK)
        except Undelivered as error:
            log.warning("dead letters are left to other workers", error=str(error))

    async def _write_some(self) -> int:
        """How many were written."""
        assert self._frontier is not None
        frontier, written = self._frontier, 0
        for number in range(frontier.keys.shards):
            if rows := await self._claim(frontier, number):
                written += await self._write(frontier, number, rows)
        return written

    async def _claim(self, frontier: Frontier, number: int) -> list[list[Any]]:
        found: list[list[Any]] = await self._control.ask(
            lambda crawls: crawls.claim_letters(frontier.crawl, number, _AT_ONCE, self._claim_ms)
        )
        return found

    async def _write(self, frontier: Frontier, number: int, rows: list[list[Any]]) -> int:
        """How many were written; the others can be claimed again after a while."""
        told = await asyncio.gather(*(self._write_one(row, frontier.crawl) for row in rows))
        written = [failed for failed in told if failed is not None]
        if not written:
            return 0
        deaths = [(one.id, one.death) for one in written]
        await self._control.ask(lambda crawls: crawls.letters_written(frontier.crawl, number, deaths))
        log.info("dead letters written", letters=len(deaths), reasons=sorted({one.reason for one in written}))
        frontier.look_for_room()
        return len(written)

    async def _write_one(self, row: list[Any], crawl: str) -> FailedRequest | None:
        """What was written. Raises Undelivered."""
        try:
            failed = FailedRequest.of_row(row, crawl, self._spider)
            with nullcontext(failed) if self._tracing is None else self._tracing.letter_of(failed) as told:
                await self._letters.send_request(told)
        except Undelivered:
            raise
        except Exception:  # a mistake of ours must not keep the other letters from being written
            log.exception("dead letter failed", request=row[0].hex())
            return None
        return failed
