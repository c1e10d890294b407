"""Who may do what in Kafka: a user for each role of the fleet, with the rights that it needs and no other.

The user that this runs as is a superuser, as are the brokers. Users' passwords are files of one folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from crawlers.exceptions import StartupError, UserError
from pipelines.kafka_config import client_config

_TIMEOUT = 30.0
_ITERATIONS = 8192
_EVERYTHING = "*"
_REGISTRY = ("kafkasql-journal", "kafkasql-snapshots", "registry-events")
"""The registry's own topics."""
_REPLAY = "seine-dlq-replay-"
"""What the transactional ids of `scrapy dlq replay` start with."""

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
CREATE, CONFIGS = AclOperation.CREATE, AclOperation.DESCRIBE_CONFIGS


class Right(NamedTuple):
    """Operations on a resource; on all whose name starts so, where it is a prefix."""

    kind: ResourceType
    name: str
    operations: tuple[AclOperation, ...]
    is_prefix: bool = False


def rights(settings: Any) -> dict[str, list[Right]]:
    """By role. READ and WRITE include DESCRIBE."""
    topics = [settings["KAFKA_TOPIC_PRODUCTS"], settings["KAFKA_TOPIC_DEAD_LETTERS"]]
    if pages := settings.get("KAFKA_TOPIC_PAGES"):
        topics.append(pages)
    ledger = settings["KAFKA_TOPIC_LEDGER"]
    # Nobody joins a group; librdkafka asks for its coordinator all the same.
    asks = Right(ResourceType.GROUP, "seine-", (DESCRIBE,), True)
    reads = [Right(ResourceType.TOPIC, topic, (READ,)) for topic in topics]
    works = [
        asks,
        *(Right(ResourceType.TOPIC, topic, (WRITE, CONFIGS)) for topic in topics),
        Right(ResourceType.TOPIC, ledger, (READ, WRITE)),
        Right(ResourceType.TRANSACTIONAL_ID, f"{settings['FRONTIER_NAMESPACE']}-{ledger}-", (WRITE, DESCRIBE), True),
    ]
    return {
        "worker": works,
        # What a schedule starts is a worker; `scrapy dlq replay` and `scrapy claims gc` read besides.
        "scheduler": [
            *works,
            *reads,
            Right(ResourceType.TRANSACTIONAL_ID, _REPLAY, (WRITE, DESCRIBE), True),
        ],
        "status": [asks, *reads],
        "registry": [
            *(Right(ResourceType.TOPIC, name, (READ, WRITE, CREATE, CONFIGS)) for name in _REGISTRY),
            Right(ResourceType.GROUP, "apicurio", (READ,), True),
        ],
        # It reads one record of each partition that a group is behind in, for its time.
        "exporter": [
            Right(ResourceType.TOPIC, _EVERYTHING, (READ,)),
            Right(ResourceType.GROUP, _EVERYTHING, (DESCRIBE,)),
            Right(ResourceType.BROKER, "kafka-cluster", (DESCRIBE,)),
        ],
    }


def grant(settings: Any, passwords: Path) -> list[str]:
    """Make every role's user, with the password in the file kafka_ROLE_password, and give it its rights.

    Returns the roles. Raises UserError for a password that is missing, StartupError where Kafka refuses.
    """
    roles = rights(settings)
    users = {role: _password(passwords / f"kafka_{role}_password") for role in roles}
    admin = AdminClient(client_config(settings))
    try:
        _make_users(admin, users)
        bindings = [binding for role, granted in roles.items() for right in granted for binding in _acls(role, right)]
        for done in admin.create_acls(bindings, request_timeout=_TIMEOUT).values():
            done.result()
    except KafkaException as error:
        raise StartupError(f"Kafka does not make users or rights: {error.args[0].str()}") from None
    return list(roles)


def _password(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. deploy/compose/make-secrets makes it") from None


def _make_users(admin: AdminClient, users: dict[str, bytes]) -> None:
    kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
    changes = [UserScramCredentialUpsertion(user, kind, password) for user, password in users.items()]
    for done in admin.alter_user_scram_credentials(changes, request_timeout=_TIMEOUT).values():
        done.result()


def _acls(role: str, right: Right) -> list[AclBinding]:
    pattern = ResourcePatternType.PREFIXED if right.is_prefix else ResourcePatternType.LITERAL
    who = (f"User:{role}", "*")
    return [
        AclBinding(right.kind, right.name, pattern, *who, operation, AclPermissionType.ALLOW)
        for operation in right.operations
    ]
