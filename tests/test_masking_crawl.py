"""What a crawl leaves of personal data: in records, dead letters, files and logs, on the real services."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.demo_shop import DemoShop
from pipelines.claims.resolver import decoded
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine, consume

_PERSONAL = (
    *("jane@shop.example", "Jane@Shop.Example", "jane%40", "Jane Doe"),
    *("901820", "0044 0532", "00440532", "1111 1111", "11111111"),  # longer than what any log may hold by chance
)
_TEXT = "Ask Jane@Shop.Example or +49 30 901820. DE89 3704 0044 0532 0130 00, 4111 1111 1111 1111"
_KEYS = f"k2:{'n' * 32},k1:{'o' * 32}"


def _page(**product: Any) -> Page:
    data = {"@context": "https://schema.org", "@type": "Product", "sku": "4111111111111111", "gtin13": "4006381333931"}
    data |= {"name": "Lamp", "offers": {"@type": "Offer", "price": "4111.11", "priceCurrency": "EUR"}, **product}
    script = f'<script type="application/ld+json">{json.dumps(data)}</script>'
    return Page(f'<html lang="de">{script}<h1>{data["name"]}</h1></html>')


def _site(sites: Path, name: str, server: WebServer, seed: str, rest: str = "") -> None:
    seeds = f'seeds = ["{server.url}{seed}"]'
    (sites / f"{name}.toml").write_text(f'name = "{name}"\ndomains = ["{server.domain}"]\n{seeds}\n{rest}\n')


def _everything(seine: Seine, topics: list[str]) -> bytes:
    """Every byte of the topics: keys, values, headers."""
    consumer = Consumer({"bootstrap.servers": seine.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "test-bytes"})
    parts: list[bytes] = []
    try:
        for topic in topics:
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                consumer.assign([TopicPartition(topic, partition, 0)])
                for _ in range(end):
                    message = consumer.poll(30)
                    assert message is not None
                    parts += [message.key() or b"", message.value() or b"", repr(message.headers()).encode()]
    finally:
        consumer.close()
    return b"\n".join(parts)


def _found(data: str) -> list[str]:
    return [one for one in _PERSONAL if one in data]


def test_nothing_personal_leaves_a_crawl_by_any_way(
    seine: Seine, sites: Path, web: Callable[..., WebServer], tmp_path: Path
) -> None:
    """The rules of the settings and of the sites together; records, dead letters, stored pages, the export, the log."""
    good, bad = "/p/1?seller=Jane%20Doe&to=jane%40shop.example", "/p/2?to=Jane@Shop.Example"
    texts = {"name": f"Lamp {_TEXT}", "description": _TEXT, "brand": "Jane Doe", "image": "/i/logo@2x.png"}
    server, other = web({good: _page(**texts)}), web({bad: _page(**texts, gtin13="")})
    stored = web({"/p/3": _page(name="Desk", description=f"{_TEXT} {secrets.token_hex(2000)}")})
    rest = 'locale = "de-DE"\n[masking.fields]\nbrand = "drop"\n[masking.query]\nseller = "mask"'
    _site(sites, "shop", server, good, rest)
    _site(sites, "other", other, bad, f'identity = "gtin"\n{rest}')
    _site(sites, "stored", stored, "/p/3")
    keys, out = tmp_path / "keys", tmp_path / "out.jsonl"
    keys.write_text(_KEYS.replace(",", "\n"))
    rules = {"MASKING_PATTERNS": "email=tokenise,phone=mask,iban=mask,card=mask", "MASKING_KEYS_FILE": str(keys)}

    store = {"STORE_CONTENT": 1, "CLAIM_CHECK_URL": f"file://{tmp_path}/store", "CLAIM_CHECK_THRESHOLD": 1}

    finished = seine.crawl("-O", str(out), LOG_LEVEL="DEBUG", **rules, **store)

    assert finished.code == 0, finished.err[-3000:]
    records = {one.value["site"]: one for one in consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])}
    record = records["shop"]
    [letter] = consume(seine.env, seine.env["KAFKA_TOPIC_DEAD_LETTERS"], avro=False)
    value = record.value
    token = re.search("tok_k2_[a-p]{32}", value["name"])
    assert token
    assert value["name"] == f"Lamp Ask {token[0]} or *phone*. *iban*, *card*"
    assert value["description"] == f"Ask {token[0]} or *phone*. *iban*, *card*"
    assert value["brand"] is None
    assert (value["content"], len(value["content_hash"])) == (None, 64)
    claim = records["stored"].value["content"]
    [blob] = (one for one in (tmp_path / "store").rglob("*") if one.is_file())
    assert claim["sha256"] == blob.name
    page = decoded(blob.read_bytes(), claim["content_encoding"]).decode()
    assert f"Ask {token[0]} or *phone*. *iban*, *card*" in page
    assert not _found(page.replace("4111111111111111", "").replace("4111.11", ""))
    assert value["images"] == [f"{server.url}/i/logo@2x.png"]
    assert (value["sku"], value["gtin"], str(value["price"])) == ("4111111111111111", "4006381333931", "4111.1100")
    assert value["url"] == f"{server.url}/p/1?seller=*seller*&to={token[0]}"
    assert re.fullmatch(rf"shop/{re.escape(server.url)}/p/1\?seller=\*seller\*&to=tok_k1_[a-p]{{32}}", record.key)
    assert letter.headers["stage"] == "validation"
    assert letter.value["description"] == value["description"]
    for shown in (finished.err, out.read_text(), letter.headers["url"], json.dumps(letter.value)):
        assert not _found(shown.replace("4111111111111111", "").replace("4111.11", ""))
        assert "*email*" in shown or "tok_k" in shown
    topics = [seine.env[f"KAFKA_TOPIC_{name}"] for name in ("PRODUCTS", "DEAD_LETTERS")]
    assert not _found(_everything(seine, topics).decode("utf-8", "replace").replace("4111111111111111", ""))
    assert "nnnnnn" not in finished.err


def test_without_rules_nothing_is_touched(offline: Seine, sites: Path, web: Callable[..., WebServer]) -> None:
    server = web({"/p/1": _page(name=_TEXT, description=_TEXT)})
    _site(sites, "shop", server, "/p/1")
    out = offline.folder / "out.jsonl"
    finished = offline.crawl("-O", str(out))
    assert finished.code == 0, finished.err[-2000:]
    [row] = map(json.loads, out.read_text().splitlines())
    assert (row["name"], row["description"]) == (_TEXT, _TEXT)


def test_a_shops_own_numbers_come_through_with_every_pattern_on(offline: Seine, sites: Path, shop: DemoShop) -> None:
    """The demo shop's products are as the shop has them: nobody's data is in them."""
    (sites / "demo.toml").write_text(shop.site_toml())
    out = offline.folder / "out.jsonl"
    rules = "email=mask,phone=mask,iban=mask,card=mask"

    finished = offline.crawl("-O", str(out), LOG_LEVEL="ERROR", MASKING_PATTERNS=rules, MASKING_FIELDS="mpn=patterns")

    assert finished.code == 0, finished.err[-3000:]
    found = {row["canonical_url"]: row for row in map(json.loads, out.read_text().splitlines())}
    truth = {row["url"]: row for row in shop.truth() if row["reachable"] and row["markup"] != "visible"}
    assert set(found) == set(truth)
    for url, row in truth.items():
        expected = {name: row[name] for name in ("name", "sku", "mpn", "gtin", "brand", "images") if row.get(name)}
        assert {name: found[url][name] for name in expected} == expected
    assert not [row for row in found.values() if "*" in json.dumps(row)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MASKING_PATTERNS": "email=tokenise"}, "tokenise needs a key. Set MASKING_KEYS_FILE (or MASKING_KEYS)"),
        ({"MASKING_PATTERNS": "mail=mask"}, "MASKING_PATTERNS: unknown mail, expected one of email, phone, iban, card"),
        ({"MASKING_KEYS": "k1:not-long-enough"}, "MASKING_KEYS: key 1: expected id:secret"),
    ],
)
def test_a_wrong_rule_stops_the_start_in_one_line(offline: Seine, settings: dict[str, str], message: str) -> None:
    finished = offline.crawl("-a", "urls=http://127.0.0.1:9/", **settings)
    _assert_refused(finished, message)
    assert "not-long-enough" not in finished.err


def test_a_wrong_rule_of_a_site_stops_the_start_by_file_and_line(offline: Seine, sites: Path) -> None:
    (sites / "shop.toml").write_text('name = "shop"\ndomains = ["shop.example"]\n[masking.patterns]\nmail = "mask"\n')
    _assert_refused(offline.crawl(), f"{sites}/shop.toml:4: unknown key masking.patterns.mail")


def test_passwords_of_settings_are_in_no_line_of_the_log(offline: Seine, web: Callable[..., WebServer]) -> None:
    """A proxy that is away is told in errors of all kinds; its password is not."""
    server = web({"/p/1": _page()})
    finished = offline.crawl(
        "-a",
        f"urls={server.url}/p/1?token=proxy-password",
        PROXIES="http://user:proxy-password@127.0.0.1:9",
        RETRY_TIMES=0,
    )
    assert finished.code == 1
    assert finished.events("request", outcome="dead")
    assert "proxy-password" not in finished.err


def _assert_refused(finished: Finished, message: str) -> None:
    [line] = [line for line in finished.err.splitlines() if line.startswith("seine: ")]
    assert message in line
    assert finished.code == 2
    assert "Traceback" not in finished.err
