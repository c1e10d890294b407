"""A real Kafka broker of a test's own: users by SCRAM over TLS with client certificates, by PLAIN, and with ACLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from deploy.local import Stack, StackConfig
from deploy.local.config import HOST
from deploy.local.kafka import KafkaService
from tests.polling import until
from tests.servers.certificates import Authority
from tests.servers.disk import small_disk
from tests.servers.ports import free_port, stack_ports

MEGABYTES = 64
"""Of its disk."""
STRANGER = "stranger"
"""A user whom nobody has given a right."""
USER, PASSWORD, KEY_PASSWORD = "seine", "pass-word-of-seine", "pass-word-of-the-key"

_CONFIG = """\
listeners={listeners}
advertised.listeners={listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_PLAINTEXT,TLS:SASL_SSL
listener.name.users.sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}" user_{stranger}="{password}";
listener.name.tls.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.tls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.tls.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


class GuardedKafkaService(KafkaService):
    """Whoever comes to the plain port, as tests do, may do everything; users only what an ACL allows."""

    def __init__(self, config: StackConfig):
        super().__init__(config)
        self.users_port, self.tls_port = free_port(), free_port()
        self.authority = Authority(config.data_dir / "certificates")
        server = self.authority.issue("broker")
        self.client = self.authority.issue("worker", KEY_PASSWORD)
        self._keystore = config.data_dir / "certificates" / "keystore.pem"
        self._keystore.write_bytes(server.key.read_bytes() + server.certificate.read_bytes())

    @property
    def properties(self) -> str:
        ports = {"PLAINTEXT": self.ports.kafka, "CONTROLLER": self.ports.kafka_controller}
        ports |= {"USERS": self.users_port, "TLS": self.tls_port}
        listeners = ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
        files = {"keystore": self._keystore, "authority": self.authority.certificate}
        own = _CONFIG.format(listeners=listeners, user=USER, stranger=STRANGER, password=PASSWORD, **files)
        return super().properties + own  # of a property that is there twice, the last one counts

    @property
    def format_options(self) -> list[str]:
        return ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]


class GuardedBroker:
    """The broker, the disk that it has for itself, and what points a worker at it as USER."""

    def __init__(self, folder: Path):
        self.stack = Stack(StackConfig(folder, ports=stack_ports()), [GuardedKafkaService])
        service = self.stack.services["kafka"]
        assert isinstance(service, GuardedKafkaService)
        self.service = service
        self._things = ExitStack()

    def __enter__(self) -> Self:
        logs = self.service.home / "logs"
        self.disk = self._things.enter_context(small_disk(logs, MEGABYTES, lambda: process_of(self.stack).pid))
        self._things.callback(self.stack.down)
        self.stack.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._things.close()

    @property
    def servers(self) -> str:
        """For who may do everything."""
        return self.service.endpoint["bootstrap_servers"]

    def plain_env(self, user: str = USER) -> dict[str, str]:
        """SASL_PLAINTEXT and PLAIN."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.service.users_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    @property
    def tls_env(self) -> dict[str, str]:
        """SASL_SSL and SCRAM, with a client's certificate whose key has a password."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.service.tls_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_LOCATION": str(self.service.authority.certificate),
            "KAFKA_SSL_CERTIFICATE_LOCATION": str(self.service.client.certificate),
            "KAFKA_SSL_KEY_LOCATION": str(self.service.client.key),
            "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD,
        }

    def allow(self, *topics: str, user: str = USER) -> None:
        """The user may do everything with these topics, and create them."""
        acls = [_acl(topic, user) for topic in topics]
        client = self._admin()
        for done in client.create_acls(acls).values():
            done.result(10)

    def forbid(self, *topics: str) -> None:
        """USER may do nothing with these topics any more."""
        filters = [_acl(topic, USER, AclBindingFilter) for topic in topics]
        client = self._admin()
        for done in client.delete_acls(filters).values():
            assert done.result(10), "there was no such ACL"
        for one in filters:
            until(lambda one=one: not client.describe_acls(one).result(10), "the broker still knows the ACL")

    def create(self, topic: str) -> None:
        """A topic with one partition."""
        client = self._admin()
        client.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers})


def _acl(topic: str, user: str, kind: type = AclBinding) -> AclBinding:
    found: AclBinding = kind(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.ALL,
        AclPermissionType.ALLOW,
    )
    return found


def process_of(stack: Stack) -> psutil.Process:
    """The broker's."""
    process = stack.services["kafka"].daemons[0].process()
    assert process is not None, "Kafka is not running"
    return process


def stop(stack: Stack) -> None:
    """End the broker as an operator does."""
    stack.down(services=["kafka"])


def kill(stack: Stack) -> None:
    """End the broker as a power cut does."""
    process = process_of(stack)
    process.kill()
    process.wait(10)


@contextmanager
def away(stack: Stack, end: Callable[[Stack], None] = stop) -> Iterator[None]:
    """There is no broker, as `end` has ended it; afterwards there is one again."""
    end(stack)
    try:
        yield
    finally:
        stack.up(["kafka"])


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    """Connections to the broker stay, and nothing answers."""
    process = process_of(stack)
    process.suspend()
    try:
        yield
    finally:
        process.resume()
