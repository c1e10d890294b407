"""The frontiers that letters come from: where each letter's request is, by spider and crawl."""

from __future__ import annotations

import secrets
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from crawlers.frontier.fleet import Fleet
from crawlers.frontier.reviving import GONE, Dead, Reviving
from crawlers.frontier.wiring import uses_frontier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crawlers.dead_letters.letter import Letter

NO_FRONTIER = "no frontier"
"""What is told of a letter where no Redis is configured, or where none knew its request."""


class Frontiers:
    """`async with`: connections to the fleets, made when they are needed."""

    def __init__(self, settings: Any):
        self._settings = settings
        self._stack = AsyncExitStack()
        self._fleets: dict[str, Fleet] = {}
        self._replay = secrets.token_hex(8)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def fleet(self, spider: str) -> Fleet:
        """That of a spider. UserError where no Redis is configured."""
        if spider not in self._fleets:
            self._fleets[spider] = await self._stack.enter_async_context(Fleet.connected(self._settings, spider))
        return self._fleets[spider]

    async def tell(self, action: str, letters: Sequence[Letter]) -> dict[str, str]:
        """Do `action` of Reviving to the requests of these letters; what became of each, by the letter's id."""
        told = {letter.id: NO_FRONTIER for letter in letters}
        if not uses_frontier(self._settings):
            return told
        crawls: dict[tuple[str, str], list[Letter]] = defaultdict(list)
        for letter in letters:
            if letter.request_id and letter.budget:
                crawls[letter.spider, letter.crawl].append(letter)
        for (spider, crawl), of_crawl in crawls.items():
            told |= await self._tell_crawl(await self.fleet(spider), crawl, action, of_crawl)
        return told

    async def _tell_crawl(self, fleet: Fleet, crawl: str, action: str, letters: list[Letter]) -> dict[str, str]:
        if not await fleet.crawls.describe(crawl):
            return {letter.id: GONE for letter in letters}
        await fleet.the_crawl(crawl)
        shards: dict[int, list[Letter]] = defaultdict(list)
        for letter in letters:
            shards[fleet.keys.shard_of(letter.budget)].append(letter)
        told: dict[str, str] = {}
        async with Reviving(fleet, crawl, self._replay) as reviving:
            for number, found in shards.items():
                dead = [Dead(bytes.fromhex(letter.request_id), letter.death, letter.id) for letter in found]
                words = await getattr(reviving, action)(number, dead)
                told |= {letter.id: word for letter, word in zip(found, words, strict=True)}
        return told
