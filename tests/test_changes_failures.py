"""With EMIT=changes, crawls in which pages or items fail: a product that is there is never told as gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fleet import links
from tests.letters import Letters, product
from tests.servers.web import Page, WebServer
from tests.support import Consumed, Finished, consume

PIPELINES = {
    "pipelines.validation.ValidationPipeline": 100,
    "pipelines.changes.ChangesPipeline": 150,
    "pipelines.avro.AvroPipeline": 500,
    "pipelines.kafka.KafkaPipeline": 600,
}
EURO = {"price": "1", "priceCurrency": "EUR"}
SITE = 'name = "shop"\ndomains = ["{domain}"]\nseeds = ["{url}/"]\n{more}\n[limits]\ndelay = 0\n'


@dataclass
class Town:
    """Crawls of a shop whose pages are changed in between, and what they left on the topic."""

    letters: Letters
    server: WebServer
    finished: Finished | None = None

    @property
    def pages(self) -> dict[str, Page]:
        """By path; '/' is the seed."""
        return self.server.pages  # type: ignore[no-any-return]

    def describe(self, more: str = "") -> None:
        """Write the site's TOML with `more` in it."""
        text = SITE.format(domain=self.server.domain, url=self.server.url, more=more)
        (self.letters.seine.folder / "sites" / "shop.toml").write_text(text)

    def crawl(self, name: str, **options: Any) -> list[tuple[str, str]]:
        """(name of the page, change) of each record that a crawl leaves, in order of name."""
        own = {"EMIT": "changes", "ITEM_PIPELINES": json.dumps(PIPELINES), "CHANGES_GONE_AFTER": 1, "RETRY_TIMES": 0}
        own |= {"ROBOTSTXT_OBEY": 0, "RETRY_BACKOFF_SECONDS": 0.01, "FRONTIER_CRAWL_ID": name, **options}
        self.finished = self.letters.seine.crawl("-a", "sites=shop", **own)
        assert self.finished.events("Spider closed (finished)"), self.finished.err[-3000:]
        return sorted((one.key.rpartition("/")[2], one.value["change"]) for one in self.records(name) if one.value)

    def records(self, crawl: str = "") -> list[Consumed]:
        env = self.letters.seine.env
        return [
            record
            for record in consume(env, env["KAFKA_TOPIC_PRODUCTS"])
            if not crawl or record.headers.get("crawl_id") == crawl
        ]


@pytest.fixture
def town(letters: Letters, web: Callable[..., WebServer]) -> Town:
    """Four products that the seed links to, the last by way of a listing."""
    pages = {f"/{name}": product(name, offers=EURO) for name in "abcd"}
    town = Town(letters, web({"/": links("/a", "/b", "/c", "/list"), "/list": links("/d"), **pages}))
    town.describe()
    return town


FAILED = Page("", 503)


@pytest.mark.parametrize(
    ("listing", "counts"),
    [(FAILED, False), (Page("<p>nothing"), True), (Page("", 404), True)],
    ids=["failed", "empty", "not there"],
)
def test_a_listing_that_could_not_be_read_says_nothing_of_its_products(town: Town, listing: Page, counts: bool) -> None:
    assert town.crawl("c1") == [(name, "new") for name in "abcd"]
    town.pages["/list"] = listing
    assert town.crawl("c2") == ([("d", "gone")] if counts else [])
    told = town.finished.events("crawl not counted: pages that may lead to products could not be read")
    assert [event["domains"] for event in told] == ([] if counts else [[town.server.domain]])


def test_a_sitemap_that_is_none_says_nothing_of_its_products(town: Town) -> None:
    town.describe(f'sitemaps = ["{town.server.url}/map"]')
    town.pages["/"] = links("/a", "/b", "/c")
    town.pages["/map"] = Page(
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>{town.server.url}/d</loc></url></urlset>'
    )
    assert town.crawl("c1") == [(name, "new") for name in "abcd"]
    town.pages["/map"] = Page("<html>Just a moment</html>")
    assert town.crawl("c2") == []
    assert town.letters.counts("c2")["filtered:not a sitemap"] == 1


def test_a_product_page_that_failed_and_was_not_the_only_one_to_lead_anywhere_hides_no_other(town: Town) -> None:
    town.crawl("c1", CHANGES_GONE_AFTER=2)
    town.pages["/a"], town.pages["/list"] = FAILED, links()
    assert town.crawl("c2", CHANGES_GONE_AFTER=2) == []
    town.pages["/a"] = product("a", offers=EURO)
    assert town.crawl("c3", CHANGES_GONE_AFTER=2) == [("d", "gone")]


def test_what_a_page_delivered_is_remembered_though_others_of_its_items_were_not(town: Town) -> None:
    def crawl(name: str, *products: str) -> list[tuple[str, str]]:
        town.pages["/"] = Page("".join(f"<li>{one}</li>" for one in products))
        return town.crawl(name, SPIDER_MODULES="tests.several")

    assert crawl("c1", "a", "b", "c") == [("a", "new"), ("b", "new"), ("c", "new")]
    assert crawl("c2", "a", "b", "c invalid", "d") == [("d", "new")]
    assert town.letters.counts("c2")["dead:item"] == 1
    assert crawl("c3", "a", "e", "fail", "b") == [("e", "new")]
    assert town.letters.counts("c3")["dead:RuntimeError"] == 1
    assert crawl("c4", "a", "b", "c", "d", "e") == []
