"""What is remembered of products whose records are written without being compared, as a replay of dead letters does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlers.changes import notes
from crawlers.changes.memory import ProductMemory, Unanswered
from crawlers.exceptions import StartupError
from crawlers.frontier.connection import Servers
from crawlers.frontier.keys import Keys
from crawlers.frontier.wiring import uses_frontier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.producer import Record


class ReplayedProducts:
    """Forgotten before their records are committed, they are told as new by the next crawl with EMIT=changes."""

    def __init__(self, settings: Any):
        self._topic = settings["KAFKA_TOPIC_PRODUCTS"]
        self._memory: ProductMemory | None = None
        if uses_frontier(settings):
            keys = Keys(settings["FRONTIER_NAMESPACE"], "", settings.getint("FRONTIER_SHARDS"))
            self._memory = ProductMemory(Servers.from_settings(settings), keys, closing=lambda: True)  # it asks once

    async def forget(self, records: Iterable[Record]) -> None:
        """Forget the products of those of `records` that are of products. StartupError where Redis is away."""
        items = [record.item for record in records if record.topic == self._topic]
        if self._memory is None or not items:
            return
        try:
            if topic := await self._memory.topic_id(self._topic):
                told = [notes.forgotten(topic, item.site, item.identity) for item in items]
                for shard in range(self._memory.keys.shards):
                    await self._memory.write(shard, *told)
        except Unanswered as error:
            raise StartupError(f"nothing is replayed: {error}. Run this again when Redis is there") from None

    async def close(self) -> None:
        """Drop the connections."""
        if self._memory is not None:
            await self._memory.close()
