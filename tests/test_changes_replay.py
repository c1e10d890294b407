"""Records that are not compared with what is remembered, and EMIT=changes beside them: the topic ends up right."""

from __future__ import annotations

import json

import pytest

from tests.frontier_console import Console
from tests.letters import Letters, product
from tests.servers.web import Page
from tests.test_changes_failures import EURO, PIPELINES, Town, town
from tests.test_dlq import dlq, item, write

__all__ = ["dlq", "town"]
MENDED = json.dumps({"tests.spiders.Mending": 50, **PIPELINES})


def priced(price: str, **fields: str) -> Page:
    return product("a", offers={"price": price, **fields})


@pytest.mark.parametrize("emit", ["changes", "all"])
def test_a_product_whose_letter_is_replayed_is_told_anew_by_the_next_crawl(town: Town, dlq: Console, emit: str) -> None:
    town.crawl("c1")
    town.pages["/a"] = priced("2")
    assert town.crawl("c2") == []
    assert dlq("replay", EMIT=emit, ITEM_PIPELINES=MENDED).code == 0
    assert [str(record.value["price"]) for record in town.records() if record.key.endswith("/a")] == [
        "1.0000",
        "2.0000",
    ]
    town.pages["/a"] = product("a", offers=EURO)
    assert town.crawl("c3") == [("a", "new")]
    assert town.crawl("c4") == []


def test_a_product_that_a_crawl_has_told_uncompared_is_told_anew_by_the_next_that_compares(town: Town) -> None:
    town.crawl("c1")
    town.pages["/a"] = product("a", offers={**EURO, "price": "2"})
    town.pages["/b"] = priced("1")
    assert len(town.crawl("c2", EMIT="all")) == 3
    town.pages["/a"], town.pages["/b"] = product("a", offers=EURO), product("b", offers=EURO)
    assert town.crawl("c3") == [("a", "new"), ("c", "new"), ("d", "new")]


@pytest.mark.parametrize("emit", ["changes", "all"])
def test_a_letter_of_a_product_that_was_gone_is_not_replayed(letters: Letters, dlq: Console, emit: str) -> None:
    gone = item(1)
    gone.change, gone.name, gone.url, gone.canonical_url, gone.content_hash = "gone", "", "", "", ""
    write(letters, [gone])
    assert "1 dropped" in dlq("replay", EMIT=emit, CHANGES_TOMBSTONES=1, ITEM_PIPELINES=json.dumps(PIPELINES)).out
    assert Town(letters, None).records() == []  # type: ignore[arg-type]


def test_a_crawl_keeps_the_emit_of_its_first_worker(town: Town) -> None:
    town.server.latency = 5
    options = {"EMIT": "changes", "FRONTIER_CRAWL_ID": "c1", "ROBOTSTXT_OBEY": "0"}
    said = [part for name, value in options.items() for part in ("-s", f"{name}={value}")]
    worker = town.letters.seine.start("crawl", "product_spider", "-a", "sites=shop", *said)
    town.server.wait_for(1)
    refused = town.letters.seine.crawl("-a", "sites=shop", **{**options, "EMIT": "all"})
    town.server.latency = 0
    assert refused.code == 2
    assert "crawl c1 was begun with EMIT=changes: set EMIT=changes" in refused.err
    worker.communicate(timeout=60)
    assert worker.returncode == 0
