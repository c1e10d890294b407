"""Others read what Seine writes: a Java consumer with Apache's own clients, and kcat."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest

from deploy.demo_shop import DemoShop
from pipelines.avro import decode
from pipelines.schemas import VERSIONS, committed_versions, schema_names, schema_text
from pipelines.schemas.samples import samples
from tests import kcat
from tests.java_programs import JavaPrograms
from tests.support import Seine
from tests.truth import differences

_PAGES = 60


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> JavaPrograms:
    return JavaPrograms(tmp_path_factory.mktemp("java"))


@dataclass(frozen=True)
class Crawled:
    """A topic that a crawl of the demo shop has filled, and what the shop says of its products, by address."""

    brokers: str
    registry: str
    topic: str
    truth: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def crawled(
    tmp_path_factory: pytest.TempPathFactory, kafka_env: dict[str, str], running_demo_shop: DemoShop
) -> Crawled:
    folder = tmp_path_factory.mktemp("crawled")
    (folder / "demo.toml").write_text(running_demo_shop.site_toml())
    rows = [row for row in running_demo_shop.truth() if row["reachable"] and row["markup"] != "visible"]
    truth = {row["url"]: row for row in rows[:: max(1, len(rows) // _PAGES)]}
    topic = f"products-{secrets.token_hex(4)}"
    names = {"KAFKA_TOPIC_PRODUCTS": topic, "KAFKA_TOPIC_DEAD_LETTERS": f"{topic}.dlq", "REDIS_URL": ""}
    seine = Seine(folder, {**kafka_env, **names, "SITES_DIR": str(folder), "DOWNLOAD_DELAY": "0"})

    finished = seine.crawl("-a", f"urls={','.join(truth)}", FRONTIER_CRAWL_ID="one")

    assert finished.code == 0, finished.err[-3000:]
    return Crawled(kafka_env["KAFKA_BOOTSTRAP_SERVERS"], kafka_env["SCHEMA_REGISTRY_URL"], topic, truth)


@pytest.fixture(scope="module")
def read_by_java(java: JavaPrograms, crawled: Crawled) -> list[dict[str, Any]]:
    """{key, partition, partition_of_java, headers, value} of each record."""
    return java.run("ProductConsumer", crawled.brokers, crawled.registry, crawled.topic)


def test_a_java_consumer_reads_the_products_as_the_shop_has_them(
    crawled: Crawled, read_by_java: list[dict[str, Any]]
) -> None:
    values = {record["value"]["canonical_url"]: _typed(record["value"]) for record in read_by_java}

    assert len(read_by_java) == len(values) == len(crawled.truth)
    assert {len(row["price"].partition(".")[2]) for row in crawled.truth.values()} > {0}, "prices of several scales"
    assert {url: bad for url, row in crawled.truth.items() if (bad := differences(row, values[url]))} == {}


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    price = value["price"]
    assert price is None or len(price.partition(".")[2]) == 4, "a decimal of scale 4"
    return value | {"price": None if price is None else Decimal(price)}


def test_a_java_consumer_reads_keys_headers_times_and_empty_branches(read_by_java: list[dict[str, Any]]) -> None:
    for record in read_by_java:
        value, headers = record["value"], record["headers"]
        assert record["key"] == f"demo/{value['sku']}" == f"{value['site']}/{value['identity']}"
        assert headers["record_id"] == headers["ce_id"] == value["record_id"]
        assert headers["crawl_id"] == value["crawl_id"] == "one"
        assert datetime.fromisoformat(value["fetched_at"]) == datetime.fromisoformat(headers["ce_time"])
        assert headers["content-type"] == "application/avro"
        assert (value["rendered_by"], value["proxy"], value["changed_fields"]) == (None, None, [])
    assert {record["value"]["gtin"] is None for record in read_by_java} == {True, False}


def test_each_key_is_on_the_partition_that_a_java_producer_chooses(read_by_java: list[dict[str, Any]]) -> None:
    elsewhere = [one["key"] for one in read_by_java if one["partition"] != one["partition_of_java"]]
    assert elsewhere == []
    assert len({one["partition"] for one in read_by_java}) == 6


@pytest.mark.parametrize("name", schema_names())
def test_java_reads_the_records_of_every_committed_version_by_the_current_schema(
    java: JavaPrograms, tmp_path: Path, name: str
) -> None:
    versions = committed_versions(name)
    (tmp_path / "reader.avsc").write_text(schema_text(name))
    files = [str(VERSIONS / f"{name}.{number}.avro") for number in versions]
    read = java.run("VersionReader", str(tmp_path / "reader.avsc"), *files)

    defaults = {field["name"]: field.get("default") for field in json.loads(schema_text(name))["fields"]}
    assert [one["compatibility"] for one in read] == ["COMPATIBLE"] * len(versions)
    for one, text in zip(read, versions.values(), strict=True):
        assert one["records"] == [_as_json({**defaults, **sample}) for sample in samples(text)]


def _as_json(value: Any) -> Any:
    """A sample as the Java programs print it."""
    match value:
        case dict():
            return {name: _as_json(one) for name, one in value.items()}
        case list():
            return [_as_json(one) for one in value]
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


@pytest.mark.skipif(not kcat.is_installed(), reason="kcat is not installed: apt-get install kcat, as .ci/run does")
def test_kcat_reads_keys_headers_partitions_and_values(crawled: Crawled, read_by_java: list[dict[str, Any]]) -> None:
    schema = fastavro.parse_schema(json.loads(schema_text("products")))
    records = kcat.read(crawled.brokers, crawled.topic)

    assert len(records) == len(read_by_java)
    by_java = {one["key"]: one for one in read_by_java}
    for record in records:
        same = by_java[record.key.decode()]
        assert (record.partition, record.headers) == (same["partition"], same["headers"])
        assert decode(record.value, lambda _: schema)["name"] == same["value"]["name"]


@pytest.mark.skipif(
    not (kcat.is_installed() and kcat.decodes_avro()), reason="this machine's kcat is none that was built with Avro"
)
def test_kcat_decodes_avro_by_the_registry(crawled: Crawled, read_by_java: list[dict[str, Any]]) -> None:
    lines = kcat.lines(crawled.brokers, crawled.topic, "-s", "value=avro", "-r", crawled.registry)
    names = {json.loads(line)["name"] for line in lines}
    assert names == {one["value"]["name"] for one in read_by_java}
    assert len(lines) == len(read_by_java)
