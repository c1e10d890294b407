"""Seeds a crawl with a list of URLs: streamed, no faster than Redis takes them, and gone on with where it was cut off.

In the crawl's keys in shard 0, C:lists is a hash: name of a list -> JSON of Noted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from scrapy import Request

from crawlers.domains import is_web_url
from crawlers.exceptions import UserError
from crawlers.frontier.fingerprints import PROJECT
from crawlers.frontier.outside import TAKES_SEEDS, WayIn
from crawlers.frontier.url_list import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler

    from crawlers.frontier.keys import Keys
    from crawlers.frontier.url_list import UrlList

_STEP = 5000
"""Lines between two notes of how far it is."""


@dataclass(slots=True)
class Noted:
    """How much of a list is in the crawl."""

    lines: int = 0
    digest: str = ""
    """Of those lines."""
    refused: int = 0
    """Lines among them that are no URLs."""
    done: bool = False


class ListSeeding:
    """Seeds `urls` into `crawl`, as the crawler's spider makes requests. `refuse` is told a line's number and why.

    `formula` is the one of the crawl's fingerprints.
    """

    def __init__(
        self,
        crawler: Crawler,
        keys: Keys,
        crawl: str,
        urls: UrlList,
        refuse: Callable[[int, str], None],
        formula: str = PROJECT,
    ):
        self._request_for: Callable[[str], Request] = getattr(crawler.spider, "request_for", Request)
        self._way_in = WayIn(crawler, keys, crawl, f"seed {urls.name}")
        self._way_in._intake.fingerprint_by(formula)
        self._crawl = crawl
        self._urls = urls
        self._refuse = refuse
        self.resumed_at = 0
        """Lines that were in the crawl before."""
        self.refused = 0

    @property
    def way_in(self) -> WayIn:
        """How it comes into the crawl; it counts what became of the lines."""
        return self._way_in

    async def run(self) -> None:
        """Return when all lines are in the crawl. UserError where it takes them no more."""
        async with self._way_in:
            noted = await self._noted()
            restarts = -1
            while restarts != self._way_in.frontier.restarts:
                restarts = self._way_in.frontier.restarts
                await self._seed(Noted() if restarts else noted)
            await self._way_in.tell("listed")

    async def _noted(self) -> Noted:
        """How much of the list is in the crawl already."""
        control, name = self._way_in.control, self._urls.name
        text = await control.ask(lambda crawls: crawls.noted(self._crawl, name))
        noted = Noted(**json.loads(text)) if text else Noted()
        if self._way_in.state == "complete" and text and not noted.done:
            await control.ask(lambda crawls: crawls.reopen(self._crawl))
            await self._way_in.tell("hold", self._way_in.frontier.options.lease_ms)
        if self._way_in.state not in TAKES_SEEDS:
            raise UserError(
                f"crawl {self._crawl} is {self._way_in.state}: it takes no seeds. Name another with --crawl"
            )
        return noted

    async def _seed(self, noted: Noted) -> None:
        """A restart of Redis may have lost lines that it had confirmed: then all of them are seeded again."""
        if self._urls.line:
            self._urls.rewind()
            self.resumed_at = self.refused = 0
        if not noted.lines:
            await self._note(done=False)
        async for line in await self._after(noted):
            self._take(line)
            await self._way_in.room()
            if self._urls.line % _STEP == 0:
                await self._note(done=False)
        await self._note(done=True)

    async def _after(self, noted: Noted) -> Any:
        """The lines after those of `noted`; all of them where those are of another list."""
        lines = self._urls.lines()
        if not noted.lines or (noted.done and not self._urls.is_rewindable):
            return lines
        while self._urls.line < noted.lines and await anext(lines, None) is not None:
            pass
        if self._urls.digest == noted.digest:
            self.resumed_at, self.refused = noted.lines, noted.refused
            return lines
        self._urls.rewind()
        return self._urls.lines()

    def _take(self, line: bytes) -> None:
        try:
            if url := _url_of(line):
                request = self._request_for(url)
                request.meta["is_start_request"] = True
                self._way_in.enqueue_request(request)
        except ValueError as error:
            self.refused += 1
            self._refuse(self._urls.line, str(error))

    async def _note(self, *, done: bool) -> None:
        """What was read is in Redis, and Redis knows that it is."""
        await self._way_in.confirmed()
        noted = json.dumps(asdict(Noted(self._urls.line, self._urls.digest, self.refused, done)))
        await self._way_in.control.ask(lambda crawls: crawls.note(self._crawl, self._urls.name, noted))


def _url_of(line: bytes) -> str:
    """The URL of a line; '' where it is empty or a comment. ValueError says what is wrong with it."""
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{line[:80]!r}: not UTF-8") from None
    if not text or text.startswith("#"):
        return ""
    if len(line) > LONGEST:
        raise ValueError(f"{text[:80]!r}…: longer than {LONGEST} bytes")
    if not is_web_url(text):
        shown = text[:200] if text.isprintable() else repr(text[:200])
        raise ValueError(f"{shown}: expected an http or https URL")
    return urldefrag(text).url
