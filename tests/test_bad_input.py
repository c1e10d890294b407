"""What goes wrong outside of Seine gets one clear line and the right exit code, and costs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from deploy.demo_shop import DemoShop
from pipelines.schemas import schema
from tests.support import Finished, Seine, consume

_BRIEF: dict[str, Any] = {
    "RETRY_TIMES": 1,
    "DOWNLOAD_TIMEOUT": 3,
    "CONCURRENT_REQUESTS": 64,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 64,
}

_TROUBLES = {
    "404": ("dead", "http 404"),
    "410": ("dead", "http 410"),
    "500": ("dead", "http 500"),
    "503?first=9": ("dead", "http 503"),
    "429?first=9&retry_after=0": ("dead", "http 429"),
    "503?first=1": ("delivered", ""),
    "429?first=1&retry_after=0": ("delivered", ""),
    "empty": ("empty", ""),
    "204": ("empty", ""),
    "binary": ("empty", ""),
    "pdf": ("filtered", "content type"),
    "png": ("filtered", "content type"),
    "json": ("filtered", "content type"),
    "charset": ("delivered", ""),
    "charset?declared=nonsense": ("delivered", ""),
    "charset?declared=utf-8&actual=latin-1": ("delivered", ""),
    "invalid-gzip": ("dead", "BadGzipFile"),
    "endless": ("dead", "too large"),
    "huge?mb=100": ("dead", "too large"),
    "huge?mb=100&chunked=1": ("dead", "too large"),
    "bomb": ("dead", "too large"),
    "slow?seconds=60": ("dead", "DownloadTimeoutError"),
    "hang": ("dead", "DownloadTimeoutError"),
    "drop": ("dead", "ResponseDataLossError"),
    "no-answer": ("dead", "DownloadFailedError"),
    "captcha": ("dead", "captcha"),
    "soft-ban": ("dead", "soft ban"),
    "noindex": ("filtered", "robots"),
}
"""(outcome, reason) of each of the demo shop's trouble pages."""


def test_pages_in_trouble_are_told_one_by_one_and_cost_the_others_nothing(
    seine: Seine, shop: DemoShop, nowhere: str, tmp_path: Path
) -> None:
    good = _products(shop)
    expected = {f"{_base(shop)}/trouble/{name}": outcome for name, outcome in _TROUBLES.items()}
    expected[f"http://{nowhere}/p/1"] = ("dead", "robots unreachable")
    expected |= {url: ("delivered", "") for url in good}
    urls = tmp_path / "urls.txt"
    urls.write_text("\n".join([*expected, f"{_base(shop)}/trouble/loop"]))

    finished = seine.crawl("-a", f"urls=@{urls}", **_BRIEF)

    assert finished.code == 0
    assert "Traceback" not in finished.err
    ends = {event["url"]: event for event in finished.events("request") if event["outcome"] != "retried"}
    assert {url: (ends[url]["outcome"], ends[url]["reason"]) for url in expected} == expected
    assert len(finished.events("request", outcome="dead", reason="redirect loop")) == 1
    delivered = sum(outcome == "delivered" for outcome, _ in expected.values())
    values = [record.value for record in consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])]
    assert len(values) == len(finished.events("item", fate="acknowledged")) == delivered
    assert set(good) <= {value["url"] for value in values}


def test_utf8_that_claims_to_be_latin1_is_read_as_what_it_is(offline: Seine, shop: DemoShop) -> None:
    bases = {"/".join(row["url"].split("/")[:3]) for row in shop.truth()}
    names = {row["name"] for row in shop.truth()}
    out = offline.folder / "out.jsonl"
    urls = ",".join(f"{base}/trouble/charset" for base in bases)
    assert offline.crawl("-a", f"urls={urls}", "-O", str(out)).code == 0

    found = {json.loads(line)["name"] for line in out.read_text().splitlines()}
    assert len(found) == len(bases)
    assert found <= names


def test_large_pages_cost_neither_their_size_in_memory_nor_a_retry(offline: Seine, shop: DemoShop) -> None:
    names = ("huge?mb=100", "huge?mb=100&chunked=1", "bomb?mb=1024", "endless")
    urls = ",".join(f"{_base(shop)}/trouble/{name}" for name in names)
    patient = {**_BRIEF, "DOWNLOAD_TIMEOUT": 60}
    finished = offline.crawl("-a", f"urls={urls}", **patient, ADDONS='{"tests.watch.Watch": 1}')

    assert finished.code == 1
    assert len(finished.events("request")) == len(finished.events("request", reason="too large")) == len(names)
    [watched] = finished.events("watched")
    assert watched["peak_mb"] < 300


def test_an_unreachable_shop_fails_the_crawl_with_one_event_that_names_it(offline: Seine, nowhere: str) -> None:
    finished = offline.crawl("-a", f"urls=http://{nowhere}/p/1", RETRY_TIMES=0)

    assert finished.code == 1
    [event] = finished.events("request")
    assert (event["url"], event["outcome"]) == (f"http://{nowhere}/p/1", "dead")
    assert "refused" in event["error"]
    assert "FAILED" in finished.err
    assert "Traceback" not in finished.err


def test_a_redirect_loop_alone_fails_the_crawl(offline: Seine, shop: DemoShop) -> None:
    finished = offline.crawl("-a", f"urls={_base(shop)}/trouble/loop")
    assert finished.code == 1
    assert finished.events("request", outcome="dead", reason="redirect loop")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["product_spider", "-a", "sites=nope"], "unknown site 'nope'"),
        (["product_spider", "-a", "url=http://127.0.0.1/"], "unknown argument -a url="),
        (["product_spider", "-a", "urls=127.0.0.1/p/1"], "-a urls=127.0.0.1/p/1: expected an http or https URL"),
        (["product_spider", "-a", "urls=@no-such-file"], "-a urls=@no-such-file: No such file or directory"),
        (["product_spider"], "nothing to crawl: no enabled site"),
        (["no_such_spider"], "unknown spider 'no_such_spider': `scrapy list` names them"),
    ],
)
def test_a_users_mistake_is_told_in_one_line(offline: Seine, arguments: list[str], message: str) -> None:
    _assert_refused(offline.run("crawl", *arguments), 2, message)


def test_an_output_that_cannot_be_written_stops_the_start(offline: Seine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out.jsonl"
    _assert_refused(offline.crawl("-a", "urls=http://127.0.0.1:9/", "-O", str(out)), 2, f"{out}: cannot be written")


def test_a_broken_site_is_told_by_file_and_line(offline: Seine, sites: Path) -> None:
    (sites / "shop.toml").write_text('name = "shop"\ndomains = "shop.example"\n')
    _assert_refused(offline.crawl(), 2, f"{sites}/shop.toml:2: domains: expected a list, got text in quotes")


def test_a_spider_that_raises_costs_its_page_only(offline: Seine, shop: DemoShop, tmp_path: Path) -> None:
    (tmp_path / "broken_spider.py").write_text(
        "from crawlers.spiders.product_spider import ProductSpider\n"
        "class Broken(ProductSpider):\n"
        "    name = 'broken'\n"
        "    def parse(self, response):\n"
        "        if '/trouble/' in response.url: raise RuntimeError('of the test')\n"
        "        yield from super().parse(response)\n"
    )
    env = {**offline.env, "PYTHONPATH": f"{offline.env['PYTHONPATH']}:{tmp_path}"}
    good, bad = _products(shop)[0], f"{_base(shop)}/trouble/charset"
    options = ("-s", "SPIDER_MODULES=broken_spider")

    finished = Seine(offline.folder, env).run("crawl", "broken", "-a", f"urls={good},{bad}", *options)

    assert finished.code == 0
    assert finished.events("request", url=bad, outcome="dead", reason="RuntimeError")
    assert finished.events("request", url=good, outcome="delivered")
    assert Seine(offline.folder, env).run("crawl", "broken", "-a", f"urls={bad}", *options).code == 1


def test_a_registry_that_is_down_stops_the_start(seine: Seine, nowhere: str) -> None:
    finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", SCHEMA_REGISTRY_URL=f"http://{nowhere}")
    _assert_refused(finished, 1, f"the schema registry does not answer at http://{nowhere} (SCHEMA_REGISTRY_URL)")


def test_a_kafka_that_is_down_stops_the_start(seine: Seine, nowhere: str) -> None:
    finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", KAFKA_BOOTSTRAP_SERVERS=nowhere)
    _assert_refused(finished, 1, f"Kafka does not answer at {nowhere} (KAFKA_BOOTSTRAP_SERVERS)")


def test_a_kafka_without_a_registry_stops_the_start(offline: Seine, nowhere: str) -> None:
    finished = offline.crawl("-a", "urls=http://127.0.0.1:9/", KAFKA_BOOTSTRAP_SERVERS=nowhere)
    _assert_refused(finished, 1, "KAFKA_BOOTSTRAP_SERVERS is set and SCHEMA_REGISTRY_URL is not")


def test_a_missing_topic_stops_the_start_with_the_command_that_creates_it(seine: Seine) -> None:
    topic, servers = seine.env["KAFKA_TOPIC_PRODUCTS"], seine.env["KAFKA_BOOTSTRAP_SERVERS"]
    finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", KAFKA_CREATE_TOPICS=0)
    command = f"kafka-topics.sh --bootstrap-server {servers} --create --topic {topic} --partitions 6"
    _assert_refused(finished, 1, command)


def test_a_missing_schema_stops_the_start_with_the_command_that_registers_it(seine: Seine) -> None:
    finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", SCHEMA_REGISTRY_AUTO_REGISTER=0)
    _assert_refused(finished, 1, "scrapy schema register")


@pytest.mark.parametrize("field", ["price", "identity"])
def test_an_incompatible_schema_stops_the_start_and_names_the_field(seine: Seine, field: str) -> None:
    earlier = schema("products")
    if field == "price":
        next(one for one in earlier["fields"] if one["name"] == "price")["type"] = ["null", "string"]
    else:
        earlier["fields"] = [one for one in earlier["fields"] if one["name"] != field]
    subject = f"{seine.env['KAFKA_TOPIC_PRODUCTS']}-value"
    registry = SchemaRegistryClient({"url": seine.env["SCHEMA_REGISTRY_URL"]})
    registry.register_schema(subject, Schema(json.dumps(earlier), "AVRO"))

    finished = seine.crawl("-a", "urls=http://127.0.0.1:9/")

    _assert_refused(finished, 1, f"version 1: field {field}")
    assert subject in finished.err
    assert len(registry.get_versions(subject)) == 1


def _assert_refused(finished: Finished, code: int, message: str) -> None:
    """The one line of Seine's own holds `message`."""
    [line] = [line for line in finished.err.splitlines() if line.startswith("seine: ")]
    assert message in line
    assert finished.code == code
    assert "Traceback" not in finished.err


def _products(shop: DemoShop) -> list[str]:
    return [row["url"] for row in shop.truth() if row["reachable"] and row["markup"] == "json-ld"][:3]


def _base(shop: DemoShop) -> str:
    return _products(shop)[0].partition("/p/")[0]
