"""What `scrapy frontier why` makes of the audit trail."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer as Client
from scrapy.settings import Settings

from crawlers.audit_history import TrailSearch
from crawlers.records_by_key import KeyReader
from pipelines.partitions import partition_of
from tests.audit import of
from tests.fleet import FrontierSeine, links
from tests.frontier_console import Console
from tests.servers.web import Page, WebServer
from tests.support import Finished
from tests.test_delivery import java_partition
from tests.topics import admin_of, create_topic


@pytest.fixture
def console(
    audited: FrontierSeine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Finished]:
    """`scrapy frontier` of that fleet, with its audit trail."""
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "crawlers.settings")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    kafka = {name: value for name, value in audited.env.items() if name.startswith(("KAFKA_", "SCHEMA_"))}
    frontier = Console(audited.env, capsys)

    def run(*args: str, **settings: Any) -> Finished:
        return frontier(*args, "--spider", "path_spider", SPIDER_MODULES=["tests.spiders"], **{**kafka, **settings})

    return run


def test_why_reads_the_trail_when_redis_has_forgotten(
    audited: FrontierSeine, web: Callable[..., WebServer], console: Callable[..., Finished]
) -> None:
    def mended(earlier: int) -> Page:
        return Page("late", status=503 if earlier < 2 else 200)

    server = web({"/": links("/item-late"), "/item-late": mended})
    page = f"{server.url}/item-late"
    for name in ("one", "two"):
        server.times.clear()
        assert audited.crawl_from(server, "/", RETRY_TIMES=2, FRONTIER_CRAWL_ID=name).finished.code == 0

    known = json.loads(console("why", page, "--json").out)
    assert [trace["fate"] for trace in known["requests"]] == ["delivered"]
    assert "audit" not in known, "Redis knows: the topic is not read"

    forgotten = json.loads(console("why", page, "--json", FRONTIER_OUTCOME_SECONDS=0).out)
    assert (forgotten["crawl"], forgotten["requests"][0]["fate"]) == ("two", "forgotten")
    attempts = [of(event, "outcome", "attempt", "status") for event in forgotten["audit"]["events"]]
    assert attempts == [("retried", 1, 503), ("retried", 2, 503), ("delivered", 3, 200)]
    assert {event["crawl_id"] for event in forgotten["audit"]["events"]} == {"two"}

    for key in audited.redis.scan_iter(f"{audited.env['FRONTIER_NAMESPACE']}:*"):
        audited.redis.delete(key)
    gone = json.loads(console("why", page, "--json").out)
    assert (gone["crawl"], gone["requests"]) == (None, [])
    assert gone["audit"]["events"] == forgotten["audit"]["events"]

    of_one = json.loads(console("why", page, "--crawl", "one", "--json").out)["audit"]["events"]
    assert {event["crawl_id"] for event in of_one} == {"one"}
    assert len(of_one) == 3

    text = console("why", f"{page}#reviews")
    assert text.code == 0
    for part in (
        "not in Redis",
        "delivered",
        "attempt 3",
        "crawl two",
        "200, 4 bytes",
        "first byte",
        "attempt 1 retried",
    ):
        assert part in text.out, part

    without_redis = json.loads(console("why", page, "--json", REDIS_URL="").out)
    assert without_redis["audit"] == gone["audit"], "crawls without a frontier have a trail too"

    never = console("why", f"{server.url}/never")
    assert never.code == 1
    assert "no event on" in never.out


def test_why_says_what_keeps_it_from_the_trail(audited: FrontierSeine, console: Callable[..., Finished]) -> None:
    url = "http://shop.example/"
    missing = console("why", url)
    assert missing.code == 1
    assert f"no topic {audited.env['KAFKA_TOPIC_PAGES']}" in missing.out
    unaudited = console("why", url, KAFKA_TOPIC_PAGES="")
    assert unaudited.code == 2
    assert "no crawl of path_spider yet" in unaudited.err
    odd = console("why", url, "--since", "yesterday")
    assert odd.code == 2
    assert "expected a number and its unit" in odd.err
    assert console("why", url, "--seconds", "0").code == 2


@pytest.fixture(scope="module")
def long_topic(kafka_env: dict[str, str]) -> tuple[str, float]:
    """(a topic of 3 partitions with 100 keys, ten records each; the moment between the fifth and the sixth of each)"""
    topic, servers = f"keys-{secrets.token_hex(4)}", kafka_env["KAFKA_BOOTSTRAP_SERVERS"]
    create_topic(admin_of(kafka_env), topic, 3, **{"retention.ms": "-1"})
    producer = Client({"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 5})
    for number in range(10):
        for key in range(100):
            producer.produce(
                topic, json.dumps({"n": number}), f"key-{key}", timestamp=1_700_000_000_000 + number * 1000
            )
    assert producer.flush(30) == 0
    return topic, 1_700_000_004.5


@pytest.fixture
def key_reader(
    kafka_env: dict[str, str], long_topic: tuple[str, float], monkeypatch: pytest.MonkeyPatch
) -> Iterator[KeyReader]:
    """Reads that topic in small steps."""
    monkeypatch.setattr("crawlers.records_by_key._STEP", 7)
    monkeypatch.setattr("crawlers.records_by_key._LONGEST_STEP", 40)
    with KeyReader(Settings(kafka_env), long_topic[0]) as reader:
        yield reader


def numbers(records: Iterable[dict[str, Any]]) -> list[int]:
    return [record["value"]["n"] for record in records]


def test_records_of_a_key_are_found_in_their_partition_from_the_newest_back(key_reader: KeyReader) -> None:
    assert numbers(key_reader.newest_first(b"key-42", since=0, seconds=30)) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert key_reader.is_done
    assert key_reader.read == key_reader.to_read < 600, "one partition of three"
    assert key_reader.until == 1_700_000_000.0


def test_what_is_older_than_asked_for_is_not_read(key_reader: KeyReader, long_topic: tuple[str, float]) -> None:
    assert numbers(key_reader.newest_first(b"key-42", since=long_topic[1], seconds=30)) == [9, 8, 7, 6, 5]
    assert key_reader.until == 1_700_000_005.0
    assert numbers(key_reader.newest_first(b"key-42", since=1_800_000_000, seconds=30)) == []


def test_reading_back_ends_when_enough_was_found_or_its_time_is_over(key_reader: KeyReader) -> None:
    steps: list[int] = []
    found = key_reader.newest_first(b"key-42", 0, 30, lambda: steps.append(key_reader.read))
    assert next(found)["value"]["n"] == 9
    assert key_reader.read <= 100, "what is older was not read"
    assert list(key_reader.newest_first(b"key-42", 0, 1e-9)) == []
    assert not key_reader.is_done
    assert list(key_reader.newest_first(b"nobody", 0, 30)) == []
    assert key_reader.is_done
    assert steps == sorted(steps)


@pytest.mark.parametrize("keys", [[b"a", b"key-42", "ключ".encode(), secrets.token_bytes(19), b""]])
def test_partitions_are_those_of_java(keys: list[bytes]) -> None:
    assert [partition_of(key, 17) for key in keys] == [java_partition(key, 17) for key in keys]


def test_a_named_crawl_is_not_looked_for_before_its_time() -> None:
    assert TrailSearch("20261121T120000Z-beef").begin == datetime(2026, 11, 21, 11, 59, tzinfo=UTC).timestamp()
    assert TrailSearch("20261121T120000Z-beef", since=2e9).begin == 2e9
    assert TrailSearch("monday", since=5.0).begin == 5.0
