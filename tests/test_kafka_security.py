"""The locks on Kafka's and the registry's doors: TLS, certificates, users, rights; and secrets that stay secret."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from crawlers import metrics
from crawlers.exceptions import UserError
from deploy.demo_shop import DemoShop
from pipelines.kafka_config import client_config, registry_access
from pipelines.producer import Producer, Record, producer_config
from tests.outages import topics_of
from tests.polling import eventually
from tests.servers import kafka, registry_gate
from tests.servers.kafka import GuardedBroker
from tests.servers.registry_gate import RegistryGate
from tests.support import Seine, consume

SECRETS = (kafka.PASSWORD, kafka.KEY_PASSWORD, registry_gate.PASSWORD, registry_gate.KEY_PASSWORD)


@pytest.fixture
def behind_doors(seine: Seine, guarded: GuardedBroker, tmp_path: Path) -> Iterator[Seine]:
    """Seine with a broker and a registry that ask who it is."""
    guarded.allow(*topics_of(seine))
    with RegistryGate(seine.env["SCHEMA_REGISTRY_URL"], tmp_path / "gate") as gate:
        seine.env |= {**guarded.tls_env, **gate.env}
        yield seine


def test_a_crawl_with_scram_certificates_and_a_guarded_registry(behind_doors: Seine, shop: DemoShop) -> None:
    row = next(row for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    finished = behind_doors.crawl("-a", f"urls={row['url']}", LOG_LEVEL="DEBUG")
    assert finished.code == 0, finished.err[-3000:]
    tailed = behind_doors.run("records", "tail", "--format", "json")
    assert row["sku"] in tailed.out, tailed.err
    checked = behind_doors.run("schema", "check")
    assert checked.code == 0, checked.err
    for text in (finished.out, finished.err, tailed.err, checked.out, checked.err):
        assert not [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("KAFKA_SASL_PASSWORD", "Authentication failed"),
        ("KAFKA_SSL_KEY_PASSWORD", "no client can be made of these settings"),
        ("SCHEMA_REGISTRY_PASSWORD", "answers: who are you?"),
        ("SCHEMA_REGISTRY_SSL_KEY_PASSWORD", "the certificates or the key cannot be used"),
    ],
)
def test_a_wrong_password_stops_the_start_and_is_not_shown(behind_doors: Seine, name: str, told: str) -> None:
    behind_doors.env[name] = "a-wrong-pass-word"
    finished = behind_doors.crawl("-a", "urls=http://127.0.0.1:9/")
    assert finished.code in (1, 2)
    last = finished.err.strip().splitlines()[-1]
    assert last.startswith("seine: ")
    assert told in last
    assert "Traceback" not in finished.err
    assert "a-wrong-pass-word" not in finished.err
    assert not [secret for secret in SECRETS if secret in finished.err]


def test_a_worker_without_any_right_waits_until_it_is_given_one(guarded: GuardedBroker, seine: Seine) -> None:
    """No right to write anywhere is a fatal error to an idempotent producer, which is then of no more use."""
    topic = f"topic-{secrets.token_hex(4)}"
    env = {**guarded.plain_env(kafka.STRANGER), "KAFKA_DELIVERY_TIMEOUT": 5}
    producer = Producer(producer_config(Settings(env)), drain_seconds=5)
    rebuilt = metrics.PRODUCER_REBUILDS._value.get()

    async def work() -> None:
        records = [Record(topic, b"key-%d" % number, b"1", []) for number in range(50)]
        sends = asyncio.gather(*(producer.send(record) for record in records))
        await eventually(lambda: metrics.PRODUCER_REBUILDS._value.get() > rebuilt, "no fatal error came")
        guarded.allow(topic, user=kafka.STRANGER)
        guarded.create(topic)
        await asyncio.wait_for(sends, 60)
        await producer.close()

    asyncio.run(work())
    assert metrics.PRODUCER_REBUILDS._value.get() - rebuilt < 10, "rebuilt for each of its records"
    found = consume({**seine.env, "KAFKA_BOOTSTRAP_SERVERS": guarded.servers}, topic, avro=False)
    assert {record.key for record in found} == {f"key-{number}" for number in range(50)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN"}, "needs KAFKA_SASL_USERNAME"),
        ({"KAFKA_SASL_PASSWORD": "secret"}, "KAFKA_SASL_PASSWORD is set and KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"KAFKA_SSL_CERTIFICATE_LOCATION": "a.pem"}, "KAFKA_SSL_KEY_LOCATION: set both"),
        ({"SCHEMA_REGISTRY_USERNAME": "seine"}, "SCHEMA_REGISTRY_PASSWORD: set both"),
        ({"SCHEMA_REGISTRY_SSL_KEY_LOCATION": "a.key"}, "SCHEMA_REGISTRY_SSL_KEY_LOCATION: set both"),
    ],
)
def test_half_of_a_lock_is_a_mistake(given: dict[str, Any], told: str) -> None:
    settings = Settings(given)
    with pytest.raises(UserError) as raised:
        client_config(settings), registry_access(settings)
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)


def test_half_of_a_lock_stops_the_start(seine: Seine) -> None:
    finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", KAFKA_SECURITY_PROTOCOL="SASL_SSL")
    assert finished.code == 2
    assert finished.err.splitlines()[-1] == "seine: KAFKA_SECURITY_PROTOCOL=SASL_SSL needs KAFKA_SASL_MECHANISM"
