"""Makes EMIT=changes forget products."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from crawlers.changes.memory import ProductMemory, Unanswered
from crawlers.changes.notes import product_key
from crawlers.exceptions import StartupError
from crawlers.frontier.connection import Servers
from crawlers.frontier.keys import Keys
from pipelines.topics import products_topic

if TYPE_CHECKING:
    from collections.abc import Iterable


def forget(settings: Any, keys: Iterable[str]) -> int:
    """How many entries Redis had of the products with these keys, site/identity. Blocks. Raises StartupError."""
    memory = ProductMemory(
        Servers.from_settings(settings),
        Keys(settings["FRONTIER_NAMESPACE"], "", settings.getint("FRONTIER_SHARDS")),
        closing=lambda: True,  # it asks once
    )
    memory.topic = products_topic(settings)
    try:
        return asyncio.run(_forget(memory, keys))
    except Unanswered as error:
        raise StartupError(f"nothing is forgotten: {error}. Run this again when Redis is there") from None


async def _forget(memory: ProductMemory, keys: Iterable[str]) -> int:
    removed = 0
    try:
        for key in keys:
            site, _, identity = key.partition("/")
            removed += await memory.forget(site, product_key(identity))
    finally:
        await memory.close()
    return removed
