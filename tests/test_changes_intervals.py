"""How long it is until a product is seen again, and what topic its record goes to: as it is when a crawl begins."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from crawlers.frontier.control import Control
from crawlers.frontier.crawls import Definition
from crawlers.frontier.keys import Keys
from tests.frontier_crawl import servers
from tests.letters import SPIDER
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.test_changes_failures import Town, town
from tests.topics import admin_of, create_topic, delete_topic

__all__ = ["town"]
DAY = 86_400


@pytest.mark.parametrize(("days", "is_repeated"), [(80, False), (100, True)])
def test_a_record_is_repeated_where_the_next_crawl_may_come_too_late(
    town: Town, redis_server: RedisServer, days: int, is_repeated: bool
) -> None:
    """Records are kept for 364 days: half of that is 182."""
    town.crawl("c1")
    registry = Keys(town.letters.seine.env["FRONTIER_NAMESPACE"], SPIDER).registry
    before = round((time.time() - days * DAY) * 1000)
    redis_server.client().hset(f"{registry}:openings", "shop", before)
    assert town.crawl("c2") == [(name, "unchanged") for name in "abcd" if is_repeated]


def test_the_longest_of_a_sites_last_gaps_is_known(redis_server: RedisServer) -> None:
    async def story() -> None:
        control = Control(servers(REDIS_URL=redis_server.url), Keys(f"test-{secrets.token_hex(4)}", SPIDER))
        crawls = await control.open()
        await crawls.open(Definition(sites=("a", "b")), "first")
        assert await crawls.longest_gaps() == {}
        for number in range(8):
            await crawls.open(Definition(sites=("a",)), f"c{number}")
        gaps = await crawls.longest_gaps()
        assert gaps.keys() == {"a"}
        assert 0 <= gaps["a"] < 10
        openings = redis_server.client().hget(f"{crawls.keys.registry}:openings", "a")
        assert len((openings or b"").split()) == 6
        await control.close()

    asyncio.run(story())


def test_a_worker_that_waits_compares_with_the_topic_as_it_is_in_each_crawl(town: Town) -> None:
    town.describe()
    site = town.letters.seine.folder / "sites" / "shop.toml"
    site.write_text(f"interval = 1\n{site.read_text()}")
    topic, kafka = town.letters.seine.env["KAFKA_TOPIC_PRODUCTS"], admin_of(town.letters.seine.env)
    options = {"EMIT": "changes", "FRONTIER_WAIT": 1, "ROBOTSTXT_OBEY": 0}
    said = [part for name, value in options.items() for part in ("-s", f"{name}={value}")]
    worker = town.letters.seine.start("crawl", "product_spider", "-a", "sites=shop", *said)
    try:
        until(lambda: len(town.records()) == 4, "the first crawl tells nothing", 60)
        delete_topic(kafka, topic)
        create_topic(kafka, topic, 3, **{"cleanup.policy": "compact,delete"})
        until(lambda: len(town.records()) == 4, "the topic that is new does not get everything", 60)
    finally:
        worker.terminate()
        worker.communicate(timeout=60)


def test_a_topic_that_keeps_so_many_bytes_is_refused(town: Town) -> None:
    town.crawl("c1")
    topic = town.letters.seine.env["KAFKA_TOPIC_PRODUCTS"]
    bytes_ = ConfigEntry("retention.bytes", "1000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[bytes_])
    kafka = admin_of(town.letters.seine.env)
    [altered] = kafka.incremental_alter_configs([resource]).values()
    altered.result()
    refused = town.letters.seine.crawl("-a", "sites=shop", EMIT="changes")
    assert refused.code == 2
    assert f"the topic {topic} has retention.bytes" in refused.err
