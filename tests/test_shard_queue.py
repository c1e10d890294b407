"""What is committed of a request of which Kafka refuses a record."""

from __future__ import annotations

import asyncio

from scrapy.extension import ExtensionManager
from scrapy.statscollectors import StatsCollector

from crawlers.frontier.connection import Servers
from crawlers.frontier.frontier import Frontier
from crawlers.frontier.idle_crawler import idle_crawler, with_spider
from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import Lease
from crawlers.frontier.options import FrontierOptions
from crawlers.sink_load import SinkLoad
from pipelines.dead_letter import DeadLetters
from pipelines.exactly_once.batch import Batch, Ended
from pipelines.exactly_once.queue import ShardQueue
from pipelines.producer import Record
from tests.letters import SPIDER, Letters
from tests.test_dlq import item, settings_of


def test_a_refused_record_takes_its_tombstone_with_it_and_no_other(letters: Letters) -> None:
    settings = settings_of(letters)
    settings.setdict({"REDIS_URL": letters.seine.env["REDIS_URL"], "KAFKA_DELIVERY": "exactly_once", "EXTENSIONS": {}})
    crawler = with_spider(idle_crawler(settings, SPIDER))
    crawler.stats = StatsCollector(crawler)
    crawler.extensions = ExtensionManager.from_crawler(crawler)
    refused, kept = (Record("products", b"shop/%d" % n, b"{}", [], item(n)) for n in (1, 2))
    records = [one for record in (refused, kept) for one in (record, record._replace(value=None))]

    async def work() -> list[Record]:
        keys = Keys("test", SPIDER)
        frontier = Frontier(Servers.from_settings(settings), keys, "monday", FrontierOptions.from_settings(settings))
        queue = ShardQueue(crawler, frontier, 0, SinkLoad.of(crawler), DeadLetters.of(crawler))
        one = Ended(Lease(b"12345678", b"token", 0, "shop.example", 0.0, 0.0, 0, b""), "delivered", "", records)
        await queue.bury(Batch({one.lease.id: one}), refused, "too large")
        return one.records

    *left, letter = asyncio.run(work())
    assert left == [kept, kept._replace(value=None)]
    assert letter.topic == letters.topic
