"""Screenshots of rendered pages in records: as bytes, as claims, and not where a rule forbids what they may show."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.claims.resolver import Resolver
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine, consume

PRODUCT = '<script type="application/ld+json">{"@type": "Product", "name": "Tent", "sku": "1"}</script><h1>Tent</h1>'
PNG = b"\x89PNG\r\n"
Web = Callable[..., WebServer]


class Shot:
    """Crawls of a site whose pages are photographed."""

    def __init__(self, sites: Path, web: Web, browser_folder: Path):
        server = web({"/p": Page(PRODUCT)})
        self._settings = {"ROBOTSTXT_OBEY": 0, "BROWSER_TMP_DIR": browser_folder}
        (sites / "shot.toml").write_text(
            f'name = "shot"\ndomains = ["{server.domain}"]\nseeds = ["{server.url}/p"]\n'
            '[browser]\nwhen = "always"\nscreenshot = true\n'
        )

    def crawl(self, seine: Seine, **settings: Any) -> Finished:
        return seine.crawl("-a", "sites=shot", **self._settings, **settings)


@pytest.fixture
def shot(sites: Path, web: Web, browser_folder: Path) -> Shot:
    return Shot(sites, web, browser_folder)


def test_a_record_has_its_pages_screenshot_or_says_where_it_is(seine: Seine, shot: Shot, tmp_path: Path) -> None:
    store = f"file://{tmp_path}/store"
    for threshold in (10_000_000, 0):
        settings = {"CLAIM_CHECK_URL": store, "CLAIM_CHECK_THRESHOLD": threshold, "KAFKA_CREATE_TOPICS": 1}
        ended = shot.crawl(seine, **settings)
        assert ended.code == 0, ended.err[-2000:]
    inline, claimed = sorted(
        consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"]), key=lambda record: "ce_dataref" in record.headers
    )
    resolver = Resolver([store])
    for record in (inline, claimed):
        picture = resolver.content(record.value, "screenshot")
        assert picture is not None
        assert picture.startswith(PNG)
        assert record.value["content"] is None
    assert isinstance(inline.value["screenshot"], bytes)
    assert claimed.value["screenshot"]["uri"] == claimed.headers["ce_dataref"]
    assert claimed.value["screenshot"]["content_type"] == "image/png"


def test_a_feed_holds_it_as_base64_and_masking_takes_it_out(offline: Seine, shot: Shot) -> None:
    """What a picture shows cannot be masked."""
    out = offline.folder / "out.jsonl"
    pictures = []
    for rules in ({}, {"MASKING_PATTERNS": "email=mask"}):
        ended = shot.crawl(offline, **rules, FEEDS=json.dumps({str(out): {"format": "jsonlines", "overwrite": True}}))
        assert ended.code == 0, ended.err[-2000:]
        pictures.append(json.loads(out.read_text())["screenshot"])
    assert b64decode(pictures[0]).startswith(PNG)
    assert pictures[1] is None


def test_with_kafka_a_site_of_screenshots_needs_a_store(seine: Seine, shot: Shot) -> None:
    ended = shot.crawl(seine, KAFKA_CREATE_TOPICS=1)
    assert ended.code == 2
    assert "shot: browser.screenshot is set and CLAIM_CHECK_URL is not" in ended.err
    assert "Traceback" not in ended.err
