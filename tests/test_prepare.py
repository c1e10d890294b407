"""What `python -m deploy.prepare` does, on real services: topics, users with rights, schemas, the claims' folder."""

from __future__ import annotations

import getpass
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from crawlers.exceptions import UserError
from deploy.local.hdfs import HdfsService
from deploy.prepare.__main__ import main
from deploy.prepare.claims import prepare_folder
from deploy.prepare.rights import grant, rights
from tests.polling import until
from tests.servers.hdfs import HdfsServer
from tests.servers.kafka import GuardedBroker
from tests.support import own_topics

DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)


class GuardedHdfs(HdfsService):
    """One that asks who may do what, as HDFS does unless it is told otherwise."""

    @property
    def hdfs_site(self) -> dict[str, str]:
        return {**super().hdfs_site, "dfs.permissions.enabled": "true"}


@pytest.fixture
def prepared(kafka_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command with the services' environment, and topics of its own."""
    for name, value in {**kafka_env, **own_topics(), "REDIS_URL": ""}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, **env: str) -> int:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "crawlers.settings", raising=False)  # which reads the environment
        return main(list(arguments))

    return run


@pytest.fixture(scope="module")
def guarded_hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsServer]:
    with HdfsServer(tmp_path_factory.mktemp("hdfs"), GuardedHdfs) as server:
        yield server


@pytest.fixture
def granted(guarded: GuardedBroker, tmp_path: Path) -> Settings:
    """Topics of the test's own, and a user for each role, whose password is the role's name."""
    settings = get_project_settings()
    settings.update({**own_topics(), "KAFKA_BOOTSTRAP_SERVERS": guarded.servers})
    for topic in ("PRODUCTS", "DEAD_LETTERS", "PAGES"):
        guarded.create(settings[f"KAFKA_TOPIC_{topic}"])
    for role in rights(settings):
        (tmp_path / f"kafka_{role}_password").write_text(f"{role}\n")
    assert grant(settings, tmp_path) == ["worker", "scheduler", "status", "registry", "exporter"]
    assert grant(settings, tmp_path), "a second time"
    return settings


def client(guarded: GuardedBroker, role: str) -> dict[str, Any]:
    """Of librdkafka, as that role."""
    env = guarded.tls_env
    return {
        "bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"],
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": role,
        "sasl.password": role,
        "ssl.ca.location": env["KAFKA_SSL_CA_LOCATION"],
        "ssl.certificate.location": env["KAFKA_SSL_CERTIFICATE_LOCATION"],
        "ssl.key.location": env["KAFKA_SSL_KEY_LOCATION"],
        "ssl.key.password": env["KAFKA_SSL_KEY_PASSWORD"],
        "log_level": 0,
    }


def may_write(guarded: GuardedBroker, role: str, topic: str, *, idempotent: bool = False) -> bool:
    """To an idempotent producer, a right that is missing is fatal."""
    errors: list[KafkaError] = []
    config = {"enable.idempotence": idempotent, "acks": "all", "message.timeout.ms": 20_000}
    producer = Producer({**client(guarded, role), **config})
    producer.produce(topic, b"value", on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert len(errors) == 1
    return errors[0] is None


def may_read(guarded: GuardedBroker, role: str, topic: str) -> bool:
    """Whether it gets the topic's first record."""
    consumer = Consumer({**client(guarded, role), "group.id": "seine-test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(30)
    finally:
        consumer.close()
    assert message is not None
    if (error := message.error()) is None:
        return True
    assert error.code() in DENIED, error
    return False


def test_a_role_may_do_what_it_needs_and_nothing_else(guarded: GuardedBroker, granted: Settings) -> None:
    products, letters = granted["KAFKA_TOPIC_PRODUCTS"], granted["KAFKA_TOPIC_DEAD_LETTERS"]
    until(lambda: may_write(guarded, "worker", products), "a worker may not write")
    assert may_write(guarded, "worker", products, idempotent=True)
    assert may_write(guarded, "scheduler", letters, idempotent=True)
    for role in ("status", "exporter", "registry"):
        assert not may_write(guarded, role, products), role
    assert not may_read(guarded, "worker", products)
    assert not may_read(guarded, "registry", products)
    for role in ("scheduler", "status", "exporter"):
        assert may_read(guarded, role, products), role


def test_a_worker_may_open_the_transactions_of_its_slots_and_no_others(
    guarded: GuardedBroker, granted: Settings
) -> None:
    slot = f"{granted['FRONTIER_NAMESPACE']}-{granted['KAFKA_TOPIC_LEDGER']}-0"
    Producer({**client(guarded, "worker"), "transactional.id": slot}).init_transactions(30)
    with pytest.raises(KafkaException) as raised:
        Producer({**client(guarded, "worker"), "transactional.id": "another"}).init_transactions(30)
    assert raised.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_a_missing_password_is_named_with_the_way_out(granted: Settings, tmp_path: Path) -> None:
    (tmp_path / "kafka_status_password").unlink()
    with pytest.raises(UserError, match=r"kafka_status_password: cannot be read: .*make-secrets makes it"):
        grant(granted, tmp_path)


def test_topics_and_schemas_are_made_once(prepared: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert prepared("kafka", "schemas", KAFKA_CREATE_TOPICS="1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["kafka", "schemas"] * 2
    assert lines[1].count("version 1") == 2
    assert lines[1] == lines[3]


def test_what_is_missing_is_one_line(prepared: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert prepared("kafka", KAFKA_CREATE_TOPICS="0") == 1
    assert capsys.readouterr().err.startswith("seine: Kafka lacks the topics ")
    assert prepared("claims") == 2
    assert capsys.readouterr().err == "seine: CLAIM_CHECK_URL is not set: there is no folder to prepare\n"


def test_the_claims_folder_belongs_to_its_user(guarded_hdfs: HdfsServer) -> None:
    folder = f"claims-{secrets.token_hex(4)}"
    settings = Settings({"CLAIM_CHECK_URL": guarded_hdfs.url(folder), "CLAIM_CHECK_USER": "seine"})
    for _ in range(2):
        assert prepare_folder(settings, getpass.getuser()) == f"folder /{folder} of seine"
    address = f"http://127.0.0.1:{guarded_hdfs.port}/webhdfs/v1/{folder}?op=GETFILESTATUS&user.name=seine"
    status = json.load(urlopen(address))["FileStatus"]
    assert (status["owner"], status["permission"]) == ("seine", "750")
