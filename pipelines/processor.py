"""The one place where an item's fate becomes known: acknowledged, dropped, dead, or pending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy.exceptions import DropItem
from scrapy.pipelines import ItemPipelineManager

from crawlers import metrics
from crawlers.changes.memory import ProductMemory
from crawlers.changes.options import emits_changes
from crawlers.exceptions import DeadLetter, Undelivered
from crawlers.measuring import measure_item
from crawlers.outcomes import note_fate
from pipelines.changes import Unchanged, outdate, vouch_for
from pipelines.dead_letter import DeadLetters
from pipelines.delivery import is_exactly_once
from pipelines.exactly_once.delivery import check_slots
from pipelines.topics import require_kafka

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

log = structlog.get_logger("seine.item")


class FateProcessor(ItemPipelineManager):
    """Scrapy's chain of item pipelines; what a pipeline raises decides the fate.

    Returned: acknowledged (passed, where no Kafka is configured; where delivery is exactly once buffered, until its
    request is committed). Unchanged: unchanged. Any other DropItem: dropped. Undelivered: pending.
    Anything else: a dead letter, and the item counts as dead once that letter is acknowledged.
    """

    def __init__(self, *middlewares: Any, crawler: Crawler | None = None):
        super().__init__(*middlewares, crawler=crawler)
        assert crawler is not None
        self._stats = crawler.stats
        self._dead_letters = DeadLetters.of(crawler)
        self._is_compared = emits_changes(crawler.settings)
        self._memory = ProductMemory.of(crawler) if crawler.settings.getbool("FRONTIER_ENABLED") else None
        self._good = "acknowledged" if self._dead_letters else "passed"
        if is_exactly_once(crawler.settings):
            self._good = "buffered"

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the chain, after the topics are known to be there: a start that fails must register no schema."""
        settings = crawler.settings
        if settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            require_kafka(settings)
        if is_exactly_once(settings):
            check_slots(settings)
        return super().from_crawler(crawler)

    async def process_item_async(self, item: Any) -> Any:
        try:
            result = await super().process_item_async(item)
        except Unchanged:
            self._settle(item, "unchanged")
            raise
        except DropItem as error:
            self._settle(item, "dropped", type(error).__name__, str(error))
            raise
        except Undelivered as error:
            self._settle(item, "pending", "undelivered", str(error))
            raise
        except Exception as error:
            await self._bury(item, error)
            raise DropItem(f"dead letter: {error}") from error
        self._settle(item, self._good)
        return result

    async def _bury(self, item: Any, error: Exception) -> None:
        stage = error.stage if isinstance(error, DeadLetter) else "pipeline"
        if not isinstance(error, DeadLetter):
            log.error("pipeline failed", exc_info=error)
        if self._dead_letters is not None:
            try:
                await self._dead_letters.send(item, error, stage)
            except Undelivered as undelivered:
                self._settle(item, "pending", "undelivered", str(undelivered))
                raise
        self._settle(item, "dead", stage, str(error))

    def _note(self, item: Any, fate: str, memory: ProductMemory) -> None:
        if self._is_compared and fate in ("dropped", "dead"):
            vouch_for(item, memory.topic.id)
        elif memory.outdated and fate in ("acknowledged", "buffered"):
            outdate(item, memory.outdated)

    def _sites(self) -> Any:
        targets = getattr(self.crawler.spider, "targets", None)  # type: ignore[union-attr]
        return targets.sites if targets is not None else ()

    def _settle(self, item: Any, fate: str, reason: str = "", why: str = "") -> None:
        if self._memory is not None:
            self._note(item, fate, self._memory)
        note_fate(fate, getattr(item, "record_id", ""))
        metrics.ITEMS.labels(fate, reason).inc()
        measure_item(item, fate, self._sites())
        self._stats.inc_value("items/scraped")
        self._stats.inc_value(f"items/{fate}")
        if reason:
            self._stats.inc_value(f"items/{fate}/{reason}")
        event = {"fate": fate, "url": getattr(item, "url", None), "record_id": getattr(item, "record_id", None)}
        if why:
            log.warning("item", **event, reason=reason, why=why)
        else:
            log.info("item", **event)
