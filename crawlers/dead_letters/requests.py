"""Requests back to the frontier: to the crawl that they died in, or where that is gone, into an open or a new one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from crawlers.dead_letters.frontiers import Frontiers
from crawlers.exceptions import UserError
from crawlers.frontier.codec import RequestCodec, Unstorable
from crawlers.frontier.crawls import LIST, Definition
from crawlers.frontier.fingerprints import fingerprinting
from crawlers.frontier.idle_crawler import idle_crawler, with_spider
from crawlers.frontier.outside import WayIn
from crawlers.frontier.request_json import from_json
from crawlers.frontier.reviving import ALIVE, BACK, DONE, GONE, LATER, TAKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy import Request

    from crawlers.dead_letters.letter import Letter

SENT_BACK, ELSEWHERE, NOT_DEAD, STILL_OPEN, NO_PAYLOAD, NO_REDIS = (
    "sent back",
    "sent to another crawl",
    "sent back before",
    "left alone: the request is not settled yet",
    "cannot be sent back: not in the letter as it was, or claimed and CLAIM_CHECK_URL is not set",
    "cannot be sent back: REDIS_URL is not set",
)
"""What becomes of a request."""
SOURCE = f"{LIST}dead letters"
"""Of a crawl that is opened for them."""
_WORDS = {DONE: SENT_BACK, BACK: NOT_DEAD, ALIVE: STILL_OPEN, LATER: NOT_DEAD, TAKEN: NOT_DEAD}


class RequestReplay:
    """`async with`. `crawl` names where requests go whose own crawl is gone."""

    def __init__(self, settings: Any, frontiers: Frontiers, crawl: str | None):
        self._settings = settings
        self._frontiers = frontiers
        self._crawl = crawl
        self._stack = AsyncExitStack()
        self._ways: dict[str, _Elsewhere] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    @property
    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(spider, crawl) of those that took requests of others -> (new there, known there)."""
        frontiers = ((spider, way.way_in.frontier) for spider, way in self._ways.items())
        return {(spider, one.crawl): (one.added, one.duplicates) for spider, one in frontiers}

    async def send_back(self, letters: Sequence[tuple[Letter, bytes | None]]) -> dict[str, str]:
        """What became of each, by the letter's id: what is sent back is in Redis when this returns."""
        told = await self._frontiers.tell("queue", [letter for letter, _ in letters])
        results = {id_: _WORDS.get(word, NO_REDIS) for id_, word in told.items()}
        lost = [(letter, value) for letter, value in letters if told[letter.id] == GONE]
        for letter, value in lost:
            results[letter.id] = (await self._elsewhere(letter.spider)).add(letter, value)
        for way in self._ways.values():
            await way.way_in.confirmed()
        return results

    async def listed(self) -> None:
        """Nothing more is sent to the crawls that were opened for these requests."""
        for way in self._ways.values():
            if way.is_own:
                await way.way_in.tell("listed")

    async def _elsewhere(self, spider: str) -> _Elsewhere:
        if spider not in self._ways:
            fleet = await self._frontiers.fleet(spider)
            crawl, is_own = await self._target(fleet)
            crawler = with_spider(idle_crawler(self._settings, spider))
            way_in = await self._stack.enter_async_context(WayIn(crawler, fleet.keys, crawl, "dlq replay"))
            way_in.check()
            fingerprint = fingerprinting(crawler, await fleet.crawls.formula(crawl))
            self._ways[spider] = _Elsewhere(way_in, RequestCodec(crawler.spider), fingerprint, is_own=is_own)  # type: ignore[arg-type]
        return self._ways[spider]

    async def _target(self, fleet: Any) -> tuple[str, bool]:
        """(crawl, whether it is for dead letters alone): the one named, the one that is open, or a new one."""
        found = [self._crawl] if self._crawl else await fleet.open_crawls()
        if len(found) > 1:
            raise UserError(
                f"the crawls of these letters are gone, and several are open: name one with --crawl: "
                f"{', '.join(found[:10])}"
            )
        if found and await fleet.crawls.describe(found[0]):
            crawl = await fleet.the_crawl(found[0])
        else:
            depth_first = self._settings["FRONTIER_ORDER"] == "depth"
            crawl, _ = await fleet.crawls.open(
                Definition(source=SOURCE), self._crawl or "", depth_first=depth_first, listed=True
            )
        definition = Definition.read((await fleet.crawls.describe(crawl))["definition"])
        return crawl, definition is not None and definition.source == SOURCE


class _Elsewhere:
    """Another crawl that takes requests."""

    def __init__(self, way_in: WayIn, codec: RequestCodec, fingerprint: Callable[[Request], bytes], *, is_own: bool):
        self.way_in = way_in
        self.is_own = is_own
        """Whether it was opened for dead letters."""
        self._codec = codec
        self._fingerprint = fingerprint

    def add(self, letter: Letter, value: bytes | None) -> str:
        """What becomes of its request; the same one is taken once, however often it is added."""
        if letter.is_masked:
            return NO_PAYLOAD
        try:
            data = from_json(value or b"")
            request = self._codec.decode(data)
        except (ValueError, Unstorable):
            return NO_PAYLOAD
        self.way_in.add(request, data, self._fingerprint(request)[:8], revived=letter.replays + 1)
        return ELSEWHERE
