"""The topics of the record contract: their settings, and their presence at start-up."""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource
from confluent_kafka.cimpl import NewTopic

from crawlers.changes.topic import Topic
from crawlers.exceptions import StartupError, UserError
from pipelines.delivery import is_exactly_once
from pipelines.kafka_config import client_config

_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS
_WEEK_MS = 7 * _DAY_MS
_BROKERS_CLOCK = {"message.timestamp.type": "LogAppendTime"}
"""So that retention, compaction and what the broker accepts do not hang on a worker's clock."""
_KEYED = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(52 * _WEEK_MS),
    "min.compaction.lag.ms": str(_HOUR_MS),
    "max.compaction.lag.ms": str(_DAY_MS),  # without it a forgotten record may stay until its retention ends
    "delete.retention.ms": str(_WEEK_MS),  # a consumer may be away for as long and still see a tombstone
    **_BROKERS_CLOCK,
}
_LOG = {
    "cleanup.policy": "delete",
    "retention.ms": str(4 * _WEEK_MS),
    "segment.ms": str(_DAY_MS),  # segments are deleted whole: this is how much longer than its retention a record stays
    **_BROKERS_CLOCK,
}
_TIMEOUT = 10.0
_INTERVAL = 0.05
"""Seconds between two questions whether a new topic is shown: Kafka tells nobody when it is."""
_PATIENCE = (1.0, 2.0, 7.0)
"""Seconds that are waited for an answer; in between, whether there is hope."""
_HOPELESS = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}


def contract_topics(settings: Any) -> dict[str, dict[str, str]]:
    """Every topic that the pipelines write, with its configuration."""
    topics = {settings["KAFKA_TOPIC_PRODUCTS"]: _KEYED, settings["KAFKA_TOPIC_DEAD_LETTERS"]: _LOG}
    if is_exactly_once(settings):
        lag = str(round(settings.getfloat("KAFKA_LEDGER_LAG") * 1000))
        topics[settings["KAFKA_TOPIC_LEDGER"]] = {"cleanup.policy": "compact", "min.compaction.lag.ms": lag}
    if settings.get("KAFKA_TOPIC_PAGES"):
        topics[settings["KAFKA_TOPIC_PAGES"]] = _LOG
    return topics


def require_kafka(settings: Any) -> None:
    """Make sure of what every start with Kafka needs: a registry beside it, and the contract's topics.

    Blocks. Raises StartupError.
    """
    if not settings.get("SCHEMA_REGISTRY_URL"):
        raise StartupError("KAFKA_BOOTSTRAP_SERVERS is set and SCHEMA_REGISTRY_URL is not: set both, or neither")
    ensure_topics(settings)


def ensure_topics(settings: Any) -> None:
    """Make sure that the contract's topics exist, creating them where KAFKA_CREATE_TOPICS allows it.

    Blocks. Raises StartupError where Kafka is unreachable, or where a topic is missing and may not be created.
    """
    admin, existing = _existing(settings)
    wanted = contract_topics(settings)
    missing = [topic for topic in wanted if topic not in existing]
    if not missing:
        return
    if not settings.getbool("KAFKA_CREATE_TOPICS"):
        commands = "; ".join(_command(settings, topic, wanted[topic]) for topic in missing)
        raise StartupError(f"Kafka lacks {_listed(missing)}. Create: {commands} (or set KAFKA_CREATE_TOPICS=1)")
    _create(admin, settings, {topic: wanted[topic] for topic in missing})


def retention_seconds(settings: Any, topics: list[str]) -> dict[str, float]:
    """How long each topic keeps a record; infinity where nothing but compaction ends it. Blocks.

    Raises StartupError where Kafka is unreachable or lacks a topic.
    """
    return {name: _retention(config) for name, config in _configs(settings, topics).items()}


def _configs(settings: Any, topics: list[str]) -> dict[str, Any]:
    admin, existing = _existing(settings)
    missing = [topic for topic in topics if topic not in existing]
    if missing:
        raise StartupError(f"Kafka lacks {_listed(missing)}")
    asked = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics])
    try:
        return {resource.name: answer.result(_TIMEOUT) for resource, answer in asked.items()}
    except KafkaException as error:
        raise StartupError(f"Kafka does not tell the topics' retention: {error.args[0].str()}") from None


def _retention(config: Any) -> float:
    milliseconds = int(config["retention.ms"].value)
    return milliseconds / 1000 if _deletes(config) and milliseconds >= 0 else math.inf


def _deletes(config: Any) -> bool:
    return "delete" in config["cleanup.policy"].value


def products_topic(settings: Any) -> Topic:
    """What is known of KAFKA_TOPIC_PRODUCTS. Blocks. StartupError where Kafka does not tell it.

    UserError where nobody can tell how long it keeps a record.
    """
    if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
        return Topic()
    name = settings["KAFKA_TOPIC_PRODUCTS"]
    admin = _admin(client_config(settings))
    try:
        asked = admin.describe_topics(TopicCollection([name]), request_timeout=_TIMEOUT)
        described = asked[name].result(_TIMEOUT)
    except KafkaException as error:
        raise StartupError(f"Kafka does not describe the topic {name}: {error.args[0].str()}") from None
    config = _configs(settings, [name])[name]
    if _deletes(config) and int(config["retention.bytes"].value) >= 0:
        raise UserError(
            f"the topic {name} has retention.bytes: it may delete a record before EMIT=changes writes it again. "
            "Unset that, or set EMIT=all"
        )
    return Topic(f"{name}:{described.topic_id}", _retention(config))


def _existing(settings: Any) -> tuple[AdminClient, set[str]]:
    """A client, and the topics that are there."""
    errors: list[KafkaError] = []
    admin = _admin({**client_config(settings), "error_cb": errors.append})
    for seconds in _PATIENCE:
        try:
            return admin, set(admin.list_topics(timeout=seconds).topics)
        except KafkaException as error:
            errors.append(error.args[0])
        admin.poll(0)  # which tells what else went wrong
        if any(error.code() in _HOPELESS for error in errors):
            break
    why = next((error for error in errors if error.code() in _HOPELESS), errors[-1]).str()
    raise StartupError(
        f"Kafka does not answer at {settings['KAFKA_BOOTSTRAP_SERVERS']} (KAFKA_BOOTSTRAP_SERVERS): {why}. "
        "On a laptop: scrapy stack up"
    )


def _admin(config: dict[str, Any]) -> AdminClient:
    try:
        return AdminClient(config, logger=logging.getLogger("seine.librdkafka"))
    except KafkaException as error:  # it reads certificates and keys
        raise UserError(f"KAFKA_*: no client can be made of these settings: {error.args[0].str()}") from None


def _create(admin: AdminClient, settings: Any, topics: dict[str, dict[str, str]]) -> None:
    replicas = settings.getint("KAFKA_REPLICATION_FACTOR")
    new = [NewTopic(topic, _partitions(settings, topic), replicas, config=config) for topic, config in topics.items()]
    for topic, created in admin.create_topics(new, operation_timeout=_TIMEOUT).items():
        try:
            created.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StartupError(f"topic {topic} cannot be created: {error.args[0].str()}") from None
    _wait_until_shown(admin, set(topics))


def _wait_until_shown(admin: AdminClient, topics: set[str]) -> None:
    """Kafka's controller has made them; return when the broker that answers here knows."""
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        with suppress(KafkaException):
            if topics <= set(admin.list_topics(timeout=_TIMEOUT).topics):
                return
        time.sleep(_INTERVAL)
    raise StartupError(f"Kafka does not show {_listed(sorted(topics))} within {_TIMEOUT:g} s of their creation")


def _partitions(settings: Any, topic: str) -> int:
    return int(settings.getint("KAFKA_SLOTS" if topic == settings["KAFKA_TOPIC_LEDGER"] else "KAFKA_PARTITIONS"))


def _command(settings: Any, topic: str, config: dict[str, str]) -> str:
    options = " ".join(f"--config {name}={value}" for name, value in config.items())
    servers, partitions = settings["KAFKA_BOOTSTRAP_SERVERS"], _partitions(settings, topic)
    return (
        f"kafka-topics.sh --bootstrap-server {servers} --create --topic {topic} --partitions {partitions} "
        f"--replication-factor {settings['KAFKA_REPLICATION_FACTOR']} {options}"
    )


def _listed(topics: list[str]) -> str:
    return f"the topic{'s' if len(topics) > 1 else ''} {', '.join(topics)}"
