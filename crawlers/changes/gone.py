"""At the end of a crawl, finds the products that crawls of their site have not seen for long enough.

Each becomes a request of the crawl, with nothing to fetch: its callback yields the product as gone, and that item is
delivered and settled as any other. So it survives a killed worker, and counts in the crawl's equation.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from crawlers.changes import notes
from crawlers.changes.memory import Unanswered
from crawlers.changes.notes import Remembered, missed, product_key
from crawlers.frontier.scripts import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crawlers.changes.memory import ProductMemory
    from crawlers.frontier.control import Control
    from crawlers.frontier.crawls import Crawls
    from crawlers.frontier.frontier import Frontier
    from crawlers.frontier.leases import NewRequest

log = structlog.get_logger("seine.changes")

_LEAST_SEEN = 0.5
"""Of a site's products: a crawl that saw fewer tells of a site in trouble, not of products that are gone."""
_AT_ONCE = 500
"""Products that are looked for elsewhere together."""
_NODES = 50
"""That are looked at in one round trip."""


class Missing(NamedTuple):
    """A product that is gone."""

    shard: int
    site: str
    identity: str
    remembered: bytes
    """What is kept of it: whoever sees it again meanwhile changes that."""


@dataclass
class _Tally:
    """Products of a site, and what was found of them."""

    products: int = 0
    seen: int = 0
    missing: list[Missing] = field(default_factory=list)


class GoneProducts:
    """Those of a crawl of `sites`, each with its budgets; `request_of` makes a request that is charged to a domain."""

    def __init__(
        self,
        memory: ProductMemory,
        control: Control,
        frontier: Frontier,
        sites: Mapping[str, frozenset[str]],
        gone_after: int,
        request_of: Callable[[Missing, str], NewRequest],
    ):
        self._memory = memory
        self._control = control
        self._frontier = frontier
        self._crawl = frontier.crawl
        self._sites = sites
        self._gone_after = gone_after
        self._request_of = request_of
        self._told: set[tuple[str, str]] = set()
        self._doubted: set[str] = set()

    async def tell(self) -> bool:
        """Whether there are products to tell of, now that nothing is open; each is told of once by this worker.

        When there are none any more, the crawl counts as one that saw its sites whole.
        """
        if not await self._control.ask(self._went_to_its_end):
            return False
        try:
            sites = await self._read_whole()
            found = [missing for site in sites for missing in await self._of_site(site)]
        except Unanswered:
            return True
        new = [missing for missing in found if (missing.site, missing.identity) not in self._told]
        for missing in new:
            self._told.add((missing.site, missing.identity))
            self._frontier.enqueue(self._request_of(missing, await self._budget(missing.shard)))
        await self._frontier.all_confirmed()
        return bool(new)

    async def _went_to_its_end(self, crawls: Crawls) -> bool:
        """Whether nothing is open, and the crawl not cancelled and no page limit reached."""
        described, totals = await crawls.describe(self._crawl), await crawls.totals(self._crawl)
        if (
            totals.open
            or totals.term("filtered:page limit")
            or totals.state != "running"
            or described.get("seeding") != "done"
        ):
            return False
        return (await crawls.totals(self._crawl)).versions == totals.versions

    async def _read_whole(self) -> list[str]:
        """The sites of which no page failed that may lead to products."""
        keys, unread = self._memory.keys, set[str]()
        for shard in range(keys.shards):
            [found] = await self._memory.ask(shard, ("SMEMBERS", f"{keys.crawl(shard, self._crawl)}:unread"))
            unread |= {name.decode() for name in found}
        for site, budgets in self._sites.items():
            if budgets & unread:
                self._doubt(site, "pages that may lead to products could not be read", domains=sorted(budgets & unread))
        return [site for site, budgets in self._sites.items() if not budgets & unread]

    def _doubt(self, site: str, why: str, **about: object) -> None:
        if site not in self._doubted:
            self._doubted.add(site)
            log.warning(f"crawl not counted: {why}", site=site, **about)

    async def _budget(self, shard: int) -> str:
        """What the requests of a shard are charged to: a domain of nobody's, without a delay."""
        keys, names = self._memory.keys, (f"gone-{number}.invalid" for number in count())
        name = next(name for name in names if keys.shard_of(name) == shard)
        await self._memory.ask(shard, ("HSET", f"{keys.shard(shard)}:domain:{name}", "d", 0))
        return name

    async def _of_site(self, site: str) -> list[Missing]:
        passes, untold = await self._passes(site)
        if not untold:
            return []
        tally = _Tally()
        for shard, pass_ in passes.items():
            await self._look(shard, site, pass_, tally)
        await self._drop_copies(tally, passes)
        if tally.seen < tally.products * _LEAST_SEEN:
            self._doubt(site, "few of the site's products were seen", products=tally.products, seen=tally.seen)
            return []
        missing = [one for one in tally.missing if one.shard in untold]
        if not {(one.site, one.identity) for one in missing} - self._told:
            for shard in untold:
                topic = self._memory.topic
                await self._memory.ask(shard, self._command("passed", shard, topic.id, site, topic.life))
        return missing

    async def _passes(self, site: str) -> tuple[dict[int, int], set[int]]:
        """How many crawls of the site were complete before this one, by shard; the shards that are to be told of it."""
        found, untold = {}, set()
        for shard in range(self._memory.keys.shards):
            root, crawl = self._memory.keys.shard(shard), self._memory.keys.crawl(shard, self._crawl)
            passes, is_told = await self._memory.ask(
                shard,
                ("HGET", f"{root}:memory:{self._memory.topic.id}:{site}", "passes"),
                ("SISMEMBER", f"{crawl}:passed", site),
            )
            found[shard] = int(passes or 0) - is_told
            if not is_told:
                untold.add(shard)
        return found, untold

    async def _look(self, shard: int, site: str, pass_: int, tally: _Tally) -> None:
        """Count what the nodes of the tree of products hold."""
        nodes = [1]
        while nodes:
            batch, nodes = nodes[:_NODES], nodes[_NODES:]
            options = (pass_, self._gone_after)
            asked = [self._command("missing", shard, self._memory.topic.id, site, node, *options) for node in batch]
            replies = await self._memory.ask(shard, *asked)
            for node, (was_split, products, seen, *rows) in zip(batch, replies, strict=True):
                nodes += [2 * node, 2 * node + 1] if was_split else []
                tally.products += products
                tally.seen += seen
                tally.missing += [
                    Missing(shard, site, identity.decode(), remembered)
                    for _, remembered, identity in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
                ]

    async def _drop_copies(self, tally: _Tally, passes: dict[int, int]) -> None:
        """A site's domains may lie in several shards, and a product move: what was last seen of it stays."""
        if len(passes) == 1:
            return
        missing, tally.missing = tally.missing, []
        for first in range(0, len(missing), _AT_ONCE):
            batch = missing[first : first + _AT_ONCE]
            seen = await asyncio.gather(*(self._is_seen_elsewhere(one, passes) for one in batch))
            for one, is_seen in zip(batch, seen, strict=True):
                if is_seen:
                    copy = notes.gone(self._memory.topic.id, one.site, one.identity, one.remembered)
                    await self._memory.write(one.shard, copy)
                    tally.products -= 1
                else:
                    tally.missing.append(one)

    async def _is_seen_elsewhere(self, missing: Missing, passes: dict[int, int]) -> bool:
        key = product_key(missing.identity)
        for shard, pass_ in passes.items():
            value = await self._memory.recall(shard, missing.site, key) if shard != missing.shard else None
            if value and missed(pass_, Remembered.read(value)) < self._gone_after:
                return True
        return False

    def _command(self, script: str, shard: int, *arguments: str | bytes | float) -> Any:
        keys = self._memory.keys
        return run(script, keys.shard(shard), keys.crawl(shard, self._crawl), *arguments)
