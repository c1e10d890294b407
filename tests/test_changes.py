"""Crawl after crawl of a shop that changes: the topic gets what is new, changed or gone, and nothing else."""

from __future__ import annotations

import json
import os
import secrets
import signal
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.demo_shop import DemoShop
from tests.changes_crawl import PRODUCTS, SmallShop
from tests.servers.redis import RedisServer
from tests.support import Seine


@pytest.fixture
def small(seine: Seine, sites: Path, shop: DemoShop, redis_server: RedisServer) -> SmallShop:
    seine.env["REDIS_URL"] = redis_server.url
    return SmallShop(seine, shop, redis_server.client(), sites)


class DieOnce:
    """An item pipeline behind Kafka's: the first item whose record Kafka has kills its worker before it settles."""

    def __init__(self, marker: Path):
        self._marker = marker

    @classmethod
    def from_crawler(cls, crawler: object) -> DieOnce:
        return cls(Path(crawler.settings["DIE_ONCE"]))  # type: ignore[attr-defined]

    def process_item(self, item: object) -> object:
        if not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item


def test_a_crawl_tells_what_changed_since_the_last_one_and_an_unchanged_page_is_not_sent(small: SmallShop) -> None:
    first = small.crawl()
    assert first.changes == dict.fromkeys(small.skus, "new")

    second = small.crawl()
    assert (second.records, second.fates) == ([], {})
    assert (second.counts["delivered"], second.counts["delivered:not modified"]) == (PRODUCTS, PRODUCTS)
    assert {sku: small.asked_for(sku) for sku in small.skus} == {sku: [304] for sku in small.skus}
    url = small.rows[small.skus[0]]["url"]
    assert "delivered: not modified" in small.seine.run("frontier", "why", url).out

    changed, *others = small.skus
    small.shop.set_prices({changed: "1.23"})
    [record] = small.crawl().records
    assert (record.value["identity"], record.value["change"]) == (changed, "changed")
    assert record.value["changed_fields"] == ["price"]
    assert {sku: small.asked_for(sku) for sku in others} == {sku: [304] for sku in others}

    # Unread for two crawls, what they link to would be gone after one more: they are read again.
    small.shop.set_prices({changed: "1.24"})
    fourth = small.crawl(CHANGES_IGNORE="price")
    assert (fourth.records, fourth.fates) == ([], {"unchanged": PRODUCTS})
    assert fourth.counts["delivered:unchanged"] == PRODUCTS
    assert {sku: small.asked_for(sku) for sku in small.skus} == {sku: [200] for sku in small.skus}


def test_a_product_that_crawls_do_not_see_is_gone_once_and_new_when_it_is_back(small: SmallShop) -> None:
    small.options |= {"CHANGES_GONE_AFTER": 2, "CHANGES_TOMBSTONES": 1}
    small.crawl()
    gone = small.skus[0]
    small.shop.remove([gone])
    assert small.crawl().records == []

    told, tombstone = small.crawl().records
    assert (told.key, told.value["change"], told.value["url"]) == (f"small/{gone}", "gone", "")
    assert (tombstone.key, tombstone.value) == (told.key, None)
    assert tombstone.partition == told.partition

    small.shop.reset()
    assert small.crawl().changes == {gone: "new"}


def test_a_product_that_is_forgotten_is_new_when_a_crawl_sees_it_again(small: SmallShop) -> None:
    small.crawl()
    forgotten = small.skus[0]
    said = small.seine.run("records", "forget", f"small/{forgotten}", "--yes")
    assert said.code == 0, said.err
    assert "memory     2 entries of EMIT=changes in Redis" in said.out
    second = small.crawl()
    assert second.changes == {forgotten: "new"}
    assert small.asked_for(forgotten) == [200]


def test_exactly_once_a_crawl_commits_records_and_memory_together(small: SmallShop) -> None:
    once = {"KAFKA_DELIVERY": "exactly_once", "KAFKA_TOPIC_LEDGER": f"ledger-{secrets.token_hex(4)}", "KAFKA_SLOTS": 1}
    small.options |= {**once, "CHANGES_GONE_AFTER": 1, "CHANGES_TOMBSTONES": 1}
    assert small.crawl().changes == dict.fromkeys(small.skus, "new")
    gone, changed, *_ = small.skus
    small.shop.remove([gone])
    small.shop.set_prices({changed: "3.21"})
    second = small.crawl()
    assert second.changes == {gone: "gone", changed: "changed"}
    assert [record.key for record in second.records if record.value is None] == [f"small/{gone}"]
    assert small.crawl().records == []


def test_a_page_is_asked_for_whole_where_nothing_is_remembered_whatever_its_request_was_stored_with(
    small: SmallShop,
) -> None:
    small.options["SPIDER_MODULES"] = "tests.stale"
    assert small.crawl().changes == dict.fromkeys(small.skus, "new")
    assert {sku: small.asked_for(sku) for sku in small.skus} == {sku: [200] for sku in small.skus}


def test_a_shop_that_lost_most_of_its_products_is_not_believed(small: SmallShop) -> None:
    small.options["CHANGES_GONE_AFTER"] = 1
    small.crawl()
    small.shop.remove(small.skus[: PRODUCTS // 2 + 1])
    second = small.crawl()
    assert second.records == []
    assert second.finished.events("crawl not counted: few of the site's products were seen")


def test_a_worker_that_dies_between_kafka_and_redis_costs_no_change(small: SmallShop, tmp_path: Path) -> None:
    pipelines = {
        "pipelines.validation.ValidationPipeline": 100,
        "pipelines.changes.ChangesPipeline": 150,
        "pipelines.avro.AvroPipeline": 500,
        "pipelines.kafka.KafkaPipeline": 600,
        "tests.test_changes.DieOnce": 700,
    }
    options = {**small.options, "DIE_ONCE": tmp_path / "died", "ITEM_PIPELINES": json.dumps(pipelines)}
    killed = small.seine.start(
        "crawl", "product_spider", *(f"-s{name}={value}" for name, value in options.items()), "-sFRONTIER_CRAWL_ID=dies"
    )
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    finished = small.seine.crawl(**{**options, "FRONTIER_CRAWL_ID": "dies"})
    assert finished.code == 0, finished.err[-3000:]

    died = small.passed("dies", finished)
    assert died.changes == dict.fromkeys(small.skus, "new")
    assert died.counts["lost"] > 0
    assert PRODUCTS < len(died.records) <= PRODUCTS + died.counts["lost"]
    assert small.crawl().records == []


def test_an_unchanged_product_is_told_again_before_its_record_goes_and_to_another_topic(
    small: SmallShop, kafka_env: dict[str, str]
) -> None:
    small.crawl()
    admin = AdminClient({"bootstrap.servers": kafka_env["KAFKA_BOOTSTRAP_SERVERS"]})
    short = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    topic = small.seine.env["KAFKA_TOPIC_PRODUCTS"]
    [altered] = admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[short])]
    ).values()
    altered.result()
    assert small.crawl().changes == dict.fromkeys(small.skus, "unchanged")

    other = small.crawl(KAFKA_TOPIC_PRODUCTS=f"products-{secrets.token_hex(4)}")
    assert other.changes == dict.fromkeys(small.skus, "new")


def test_a_page_that_is_not_due_is_not_fetched_and_counts_as_seen(small: SmallShop) -> None:
    small.describe("[changes]\nmin_interval = 3600\nmax_interval = 86400\nleaves = true\n")
    small.options["CHANGES_GONE_AFTER"] = 1
    small.crawl()
    small.shop.set_prices({small.skus[0]: "2.34"})
    second = small.crawl()
    assert second.records == []
    assert second.counts["filtered:not due"] == PRODUCTS
    assert not any(small.asked_for(sku) for sku in small.skus)

    given = small.rows[small.skus[0]]["url"]
    finished = small.seine.crawl("-a", f"urls={given}", **{**small.options, "FRONTIER_CRAWL_ID": "given"})
    assert small.passed("given", finished).changes == {small.skus[0]: "changed"}


@pytest.mark.parametrize(
    ("settings", "code", "line"),
    [
        ({"EMIT": "changes"}, 1, "EMIT=changes needs Redis"),
        ({"EMIT": "some"}, 2, "EMIT=some: expected one of all, changes"),
    ],
)
def test_a_mistake_is_told_in_one_line(offline: Seine, settings: dict[str, str], code: int, line: str) -> None:
    refused = offline.crawl("-a", "urls=http://127.0.0.1:9/", **settings)
    assert refused.code == code
    assert [line in said for said in refused.err.splitlines() if said.startswith("seine: ")] == [True]
    assert "Traceback" not in refused.err
