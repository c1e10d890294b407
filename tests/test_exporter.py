"""The exporter, at a real Kafka: how far behind consumers are, how the replicas are, when certificates end."""

from __future__ import annotations

import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from cryptography import x509

from deploy.exporter.__main__ import main
from deploy.exporter.certificates import expiry
from deploy.exporter.looking import Exporter
from deploy.exporter.positions import Ages, Lag, positions
from deploy.exporter.replicas import replicas
from deploy.exporter.serving import server
from tests.polling import until
from tests.servers import kafka
from tests.servers.certificates import Authority
from tests.servers.kafka_cluster import KafkaCluster
from tests.servers.web import WebServer

NOW = 1_700_000_000.0
OLD = [NOW - 600, NOW - 300, NOW - 100]
"""When the records were written, by the clock that the tests read."""


@pytest.fixture
def servers(kafka_env: dict[str, str]) -> str:
    return kafka_env["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture
def topic(servers: str) -> str:
    """One with two partitions, whose records keep their producers' times."""
    name = f"lag-{secrets.token_hex(4)}"
    new = NewTopic(name, 2, 1, config={"message.timestamp.type": "CreateTime", "retention.ms": "-1"})
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([new])[name].result(10)
    produce(servers, name, OLD)
    return name


@pytest.fixture
def ages(servers: str) -> Iterator[Ages]:
    reader = Ages({"bootstrap.servers": servers}, clock=lambda: NOW)
    yield reader
    reader.close()


def produce(servers: str, topic: str, times: list[float], **config: str) -> None:
    producer = Producer({"bootstrap.servers": servers, **config})
    if config:
        producer.init_transactions(10)
        producer.begin_transaction()
    for moment in times:
        producer.produce(topic, b"x", partition=0, timestamp=round(moment * 1000))
    if config:
        producer.commit_transaction(10)
    producer.flush(10)


def commit(servers: str, topic: str, offset: int, partition: int = 0) -> str:
    """A group that has read up to there."""
    group = f"group-{secrets.token_hex(4)}"
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()
    return group


def lag_of(servers: str, ages: Ages, group: str, topic: str) -> Lag:
    admin = AdminClient({"bootstrap.servers": servers})
    found = [one for one in positions(admin) if one.group == group]
    return ages.lags(found)[group, topic]


@pytest.mark.parametrize(("offset", "records", "seconds"), [(0, 3, 600.0), (1, 2, 300.0), (2, 1, 100.0), (3, 0, 0.0)])
def test_lag_is_records_and_the_age_of_the_first_unread_one(
    servers: str, topic: str, ages: Ages, offset: int, records: int, seconds: float
) -> None:
    assert lag_of(servers, ages, commit(servers, topic, offset), topic) == (records, seconds)


def test_groups_at_different_places_of_a_partition_have_lags_of_their_own(servers: str, topic: str, ages: Ages) -> None:
    groups = [commit(servers, topic, offset) for offset in range(3)]
    found = [one for one in positions(AdminClient({"bootstrap.servers": servers})) if one.group in groups]
    assert [ages.lags(found)[group, topic].seconds for group in groups] == [600.0, 300.0, 100.0]


def test_a_group_that_stands_still_grows_older_without_being_read_again(servers: str, topic: str) -> None:
    now = [NOW]
    reader = Ages({"bootstrap.servers": servers}, clock=lambda: now[0])
    group = commit(servers, topic, 1)
    assert lag_of(servers, reader, group, topic).seconds == 300
    reader._read = None  # type: ignore[method-assign, assignment]
    now[0] += 50
    assert lag_of(servers, reader, group, topic).seconds == 350
    reader.close()


def test_what_is_behind_a_transaction_is_no_record(servers: str, topic: str, ages: Ages) -> None:
    """A commit takes an offset: a consumer that has read all may be one behind, and has nothing to read."""
    produce(servers, topic, [NOW - 50], **{"transactional.id": f"t-{topic}"})
    lag = lag_of(servers, ages, commit(servers, topic, 4), topic)
    assert lag == (1, 0.0)


def test_a_topic_that_is_gone_is_left_out(servers: str, topic: str) -> None:
    group = commit(servers, topic, 1)
    admin = AdminClient({"bootstrap.servers": servers})
    admin.delete_topics([topic])[topic].result(10)
    until(lambda: topic not in admin.list_topics(timeout=10).topics, "it is still there")
    assert not [one for one in positions(admin) if one.group == group]


def test_a_broker_that_is_gone_leaves_partitions_without_a_replica(tmp_path: Path) -> None:
    with KafkaCluster(tmp_path) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.servers, "log_level": 0})
        for topic, made in admin.create_topics([NewTopic("three", 2, 3), NewTopic("one", 3, 1)]).items():
            made.result(10)
            until(lambda topic=topic: topic in admin.list_topics(timeout=10).topics, f"no topic {topic}")
        until(lambda: replicas(admin) == (3, 0, 0), "it does not settle", 60)
        cluster.kill(3)
        until(lambda: replicas(admin) == (2, 3, 1), "the broker is not missed", 60)


def test_the_end_of_a_certificate_is_seen_whoever_signed_it(tmp_path: Path, web: type[WebServer]) -> None:
    certificate = Authority(tmp_path).issue("server")
    shown = web({}, certificate)
    ends = x509.load_pem_x509_certificate(certificate.certificate.read_bytes()).not_valid_after_utc
    port = int(shown.url.rsplit(":", 1)[1].strip("/"))
    assert datetime.fromtimestamp(expiry(f"127.0.0.1:{port}"), UTC) == ends


def test_a_guarded_broker_shows_its_certificate(guarded: kafka.GuardedBroker) -> None:
    assert expiry(f"127.0.0.1:{guarded.service.tls_port}") > time.time()


def test_prometheus_gets_all_of_it(servers: str, topic: str, nowhere: str) -> None:
    group = commit(servers, topic, 1)
    exporter = Exporter({"bootstrap.servers": servers}, [nowhere], interval=15)
    exporter.look()
    with server(exporter, "127.0.0.1", 0) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        address = f"http://127.0.0.1:{listening.server_port}"
        text = urllib.request.urlopen(f"{address}/metrics").read().decode()
        assert urllib.request.urlopen(f"{address}/healthz").read() == b"ok\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/else")
        listening.shutdown()
    assert f'seine_consumer_lag_records{{group="{group}",topic="{topic}"}} 2.0' in text
    assert f'seine_consumer_lag_seconds{{group="{group}",topic="{topic}"}}' in text
    assert "seine_kafka_brokers 1.0" in text
    assert "seine_kafka_under_replicated_partitions 0.0" in text
    assert "seine_kafka_offline_partitions 0.0" in text
    assert 'seine_exporter_errors_total{what="certificates"} 1.0' in text
    assert 'seine_exporter_errors_total{what="groups"} 0.0' in text


def test_what_is_old_is_told_no_longer(servers: str) -> None:
    now = [0.0]
    exporter = Exporter({"bootstrap.servers": servers}, [], interval=10, clock=lambda: now[0])
    exporter.look()
    now[0] = 50
    assert "seine_kafka_brokers" in {family.name for family in exporter.collect()}
    assert exporter.healthy
    now[0] = 51
    assert not list(exporter.collect())
    now[0] = 200
    assert not exporter.healthy


@pytest.mark.parametrize("arguments", [["--certificate", "host"], ["--certificate", ":443"], ["--port", "x"]])
def test_a_mistake_in_the_command_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_kafka_has_to_be_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert main([]) == 2
    assert capsys.readouterr().err == "seine: KAFKA_BOOTSTRAP_SERVERS is not set: there is no Kafka to look at\n"
