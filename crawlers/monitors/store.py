"""What the monitors keep in Redis: what a crawl has counted, what was found of its sites, and their history."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from crawlers.monitors.prices import PriceSample
from crawlers.monitors.result import SiteResult
from crawlers.monitors.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.frontier.connection import Connection
    from crawlers.frontier.crawls import Crawls
    from crawlers.frontier.keys import Keys

_DECODER = msgspec.json.Decoder(SiteResult)
ENCODER = msgspec.json.Encoder()

Budgets = dict[str, Counter[str]]
"""Budget -> what became of its requests, as Tally.requests."""


class Known(NamedTuple):
    """What is known of a site, when a crawl of it is to be judged."""

    history: list[SiteResult]
    """The newest first."""
    prices: PriceSample
    stage: str
    """Of that crawl's judgement: '', judged, or told."""


async def read_budgets(crawls: Crawls, crawl: str) -> Budgets:
    """What became of a crawl's requests, by the budgets that they were charged to."""
    budgets: Budgets = {}
    for [flat] in await crawls.everywhere(crawl, ("HGETALL", "budgets:counts")):
        for name, number in _pairs(flat):
            budget, _, what = name.decode().rpartition(" ")
            budgets.setdefault(budget, Counter())[what] += int(number)
    return budgets


async def read_tally(crawls: Crawls, crawl: str, site: str) -> Tally:
    """What a crawl has counted of a site's products."""
    tally = Tally()
    asked = ("HGETALL", f"site:{site}:counts"), ("ZRANGE", f"site:{site}:sample", 0, -1)
    for flat, members in await crawls.everywhere(crawl, *asked):
        tally.merge(dict(_pairs(flat)))
        tally.sample(members)
    return tally


async def read_known(crawls: Crawls, crawl: str, site: str) -> Known:
    """What is known of a site before `crawl` is judged."""
    root = f"{crawls.keys.registry}:monitors"
    rows, packed, stage = await crawls.ask(
        ("LRANGE", f"{root}:history:{site}", 0, -1),
        ("GET", f"{root}:prices:{site}"),
        ("HGET", f"{root}:of:{crawl}", f"site:{site}"),
    )
    return Known(list(_decoded(rows)), PriceSample.unpack(packed), stage.decode() if stage else "")


async def read_history(connection: Connection, keys: Keys, site: str) -> list[SiteResult]:
    """A site's last results, the newest first. `connection` is shard 0's, as below."""
    return list(_decoded(await connection.one("LRANGE", f"{keys.registry}:monitors:history:{site}", 0, -1)))


async def read_results(connection: Connection, keys: Keys) -> list[SiteResult]:
    """The last result of every site, by name."""
    return sorted(_decoded(await connection.one("HVALS", f"{keys.registry}:monitors")), key=lambda one: one.site)


async def forget_site(connection: Connection, keys: Keys, site: str) -> bool:
    """Whether something was known of a site; nothing is, from now on."""
    root = f"{keys.registry}:monitors"
    known = await connection.one("HDEL", root, site)
    return bool(known + await connection.one("DEL", f"{root}:history:{site}", f"{root}:prices:{site}"))


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _decoded(rows: Iterable[Any]) -> Iterable[SiteResult]:
    """Results that another version has written, and this one does not understand, are left out."""
    for row in rows:
        try:
            yield _DECODER.decode(row)
        except msgspec.DecodeError:
            continue
