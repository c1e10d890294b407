"""product_spider as its users run it: by site, by URL, through a proxy, in the shell's helpers."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.replay import replay
from crawlers.links import absolute
from deploy.demo_shop import DemoShop
from tests.support import Seine, consume

_PAGE = """<html lang="en"><head><title>Lamp</title><script type="application/ld+json">
{"@type": "Product", "name": "Lamp", "sku": "L-1", "offers": {"price": "19.90", "priceCurrency": "EUR"}}
</script></head><body><h1>Lamp</h1></body></html>"""


def exported(seine: Seine) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (seine.folder / "out.jsonl").read_text().splitlines()]


def asked(shop: DemoShop) -> list[str]:
    return [entry["path"] for entry in shop.log() if not entry["path"].startswith("/robots.txt")]


def test_urls_are_fetched_and_no_link_is_followed(offline: Seine, shop: DemoShop) -> None:
    rows = [row for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"]][:3]
    listed = offline.folder / "urls.txt"
    listed.write_text("# three of them\n" + "\n".join(row["url"] for row in rows) + "\n")

    finished = offline.crawl("-a", f"urls=@{listed}", "-O", str(offline.folder / "out.jsonl"))

    assert finished.code == 0, finished.err[-2000:]
    assert {item["sku"] for item in exported(offline)} == {row["sku"] for row in rows}
    assert len(asked(shop)) == 3


def test_follow_stays_inside_the_domains_of_the_urls_given(offline: Seine, shop: DemoShop) -> None:
    smallest = shop.urls[-1]
    patience = {"DOWNLOAD_TIMEOUT": 1, "RETRY_TIMES": 0}  # the shop's troubles are followed too
    crawled = ("-a", f"urls={smallest}", "-a", "follow=1")
    finished = offline.crawl(*crawled, CONCURRENT_REQUESTS_PER_DOMAIN=16, **patience)

    assert finished.code == 0, finished.err[-2000:]
    assert {entry["domain"] for entry in shop.log()} == {urlsplit(smallest).netloc}
    assert len(finished.events("request", outcome="delivered")) > 10


def test_a_page_is_freed_when_it_is_done_and_full_collections_do_not_look_at_what_is_always_there(
    offline: Seine, sites: Path, shop: DemoShop
) -> None:
    (sites / "demo.toml").write_text(shop.site_toml().replace("pages = 5000", "pages = 60"))

    finished = offline.crawl(ADDONS='{"tests.watch.Heap": 1}')

    assert finished.code == 0, finished.err[-2000:]
    assert len(finished.events("request", outcome="delivered")) > 10
    [heap] = finished.events("heap")
    assert heap["pages"] <= 2  # the last ones may be on their way out
    assert heap["frozen"] > 50_000


def test_a_sites_page_limit_is_what_is_fetched_at_most(offline: Seine, sites: Path, shop: DemoShop) -> None:
    (sites / "demo.toml").write_text(shop.site_toml().replace("pages = 5000", "pages = 20"))

    finished = offline.crawl()

    assert finished.code == 0, finished.err[-2000:]
    refused = finished.events("request", outcome="filtered", reason="robots")  # after they were counted
    assert len(asked(shop)) + len(refused) == 20
    assert finished.events("request", outcome="filtered", reason="page limit")


def test_a_sites_depth_limit_is_kept(offline: Seine, sites: Path, shop: DemoShop) -> None:
    text = shop.site_toml().replace("depth = 20", "depth = 1")
    (sites / "demo.toml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("sitemaps")))

    finished = offline.crawl()

    assert finished.code == 0, finished.err[-2000:]
    assert any("/c/" in path for path in asked(shop))
    assert not any("page=" in path for path in asked(shop)), "a category's second page is two links from the seeds"


def test_prices_that_change_are_seen_by_the_next_crawl(offline: Seine, shop: DemoShop) -> None:
    row = next(row for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    shop.set_prices({row["sku"]: "12.34"})

    assert offline.crawl("-a", f"urls={row['url']}", "-O", str(offline.folder / "out.jsonl")).code == 0
    assert [item["price"] for item in exported(offline)] == ["12.34"]


def test_recorded_pages_are_crawled_through_a_proxy_that_resolves_their_names(offline: Seine, tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    (recording / "html").mkdir(parents=True)
    (recording / "html" / "one.html.gz").write_bytes(gzip.compress(_PAGE.encode()))
    (recording / "ground-truth.json").write_text(json.dumps({"one": {"url": "https://shop.invalid/lamp"}}))

    with replay(recording) as proxy:
        out = ("-O", str(offline.folder / "out.jsonl"))
        finished = offline.crawl("-a", f"urls={','.join(proxy.urls)}", *out, PROXIES=proxy.url)

    assert finished.code == 0, finished.err[-2000:]
    [item] = exported(offline)
    assert (item["site"], item["sku"], item["price"]) == ("shop.invalid", "L-1", "19.90")
    assert item["proxy"] == urlsplit(proxy.url).netloc


def test_links_are_absolute_and_told_once_and_what_is_no_address_is_left_out() -> None:
    hrefs = ["/a#top", "b?x=1", " /a ", "http://[", "//other.example/c", "mailto:me@shop.example"]
    assert absolute("http://shop.example/dir/page", hrefs) == [
        "http://shop.example/a",
        "http://shop.example/dir/b?x=1",
        "http://other.example/c",
        "mailto:me@shop.example",
    ]


def test_scrapy_parse_shows_the_item(offline: Seine, shop: DemoShop) -> None:
    row = next(row for row in shop.truth() if row["markup"] == "microdata" and row["reachable"])
    finished = offline.run("parse", row["url"], "--spider", "product_spider", "--nocolour", "-a", f"urls={row['url']}")
    assert finished.code == 0, finished.err[-2000:]
    assert f"'sku': '{row['sku']}'" in finished.out


def test_a_worker_that_is_told_to_stop_delivers_what_it_holds(seine: Seine, sites: Path, shop: DemoShop) -> None:
    (sites / "demo.toml").write_text(shop.site_toml().replace("delay = 0.0", "delay = 0.05"))
    process = seine.start("crawl", "product_spider")
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        log.append(line)
        if '"acknowledged"' in line:
            break
    process.send_signal(signal.SIGTERM)
    log.extend(process.stderr)  # communicate() would miss what this iterator has read ahead
    process.wait(60)

    err = "".join(log)
    assert process.returncode == 0, err[-2000:]
    acknowledged = err.count('"fate":"acknowledged"')
    assert len(consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])) == acknowledged
    assert "(shutdown)" in err
