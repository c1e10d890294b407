"""What sites' files say of politeness, told to the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlers.budgets import budgets_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crawlers.frontier.keys import Keys
    from crawlers.site_config import Site


async def tell_limits(sites: Iterable[Site], keys: Keys, connections: list[Any]) -> None:
    """The limits of the sites' budgets become the fleet's. `connections` are those of the shards."""
    for site in sites:
        for budget in budgets_of(site):
            number = keys.shard_of(budget)
            key = f"{keys.shard(number)}:domain:{budget}"
            for field, value in (("d", site.limits.delay), ("c", site.limits.concurrency)):
                if value is None:
                    await connections[number].one("HDEL", key, field)
                else:
                    await connections[number].one("HSET", key, field, round(value * (1000 if field == "d" else 1)))
