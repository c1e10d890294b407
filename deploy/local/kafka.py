"""Kafka: one KRaft node that is broker and controller."""

from __future__ import annotations

import socket
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

from deploy.local.config import HOST
from deploy.local.daemon import Daemon
from deploy.local.java import class_path, java
from deploy.local.service import PROBE_TIMEOUT, Service, write

HEAP_MB = 512
CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={home}/logs
# Topics are created on purpose, with the settings of the record contract.
auto.create.topics.enable=false
unclean.leader.election.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# A killed broker may come back only when its last session has ended (9 s by default).
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
"""


class KafkaService(Service):
    name = "kafka"
    jars = "kafka"

    @property
    def endpoint(self) -> dict[str, str]:
        return {"bootstrap_servers": f"{HOST}:{self.ports.kafka}"}

    @property
    def environment(self) -> dict[str, str]:
        return {"KAFKA_BOOTSTRAP_SERVERS": self.endpoint["bootstrap_servers"], "KAFKA_CREATE_TOPICS": "1"}

    @property
    def listens(self) -> dict[str, int]:
        return {"STACK_KAFKA_PORT": self.ports.kafka, "STACK_KAFKA_CONTROLLER_PORT": self.ports.kafka_controller}

    @cached_property
    def daemons(self) -> list[Daemon]:
        return [self.java_daemon("kafka", partial(self._java, "kafka.Kafka", [str(self._config_file)]), self._jars)]

    @property
    def properties(self) -> str:
        """server.properties."""
        ports = {"port": self.ports.kafka, "controller": self.ports.kafka_controller}
        return CONFIG.format(host=HOST, home=self.home, **ports)

    @property
    def format_options(self) -> list[str]:
        """What an empty store is given beside its cluster's id."""
        return []

    def prepare(self) -> None:
        write(self._config_file, self.properties)
        if not (self.home / "logs" / "meta.properties").exists():
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
            format_store = ["format", "--standalone", f"--cluster-id={cluster}", f"--config={self._config_file}"]
            format_store += self.format_options
            self.run_once("format its store", self._java("kafka.tools.StorageTool", format_store))

    def answers(self) -> bool:
        # Refused connections are the common case while it starts, and dearer to notice for the client.
        socket.create_connection((HOST, self.ports.kafka), PROBE_TIMEOUT).close()
        return _serves_metadata(self.endpoint["bootstrap_servers"])

    @property
    def _config_file(self) -> Path:
        return self.home / "server.properties"

    @cached_property
    def _jars(self) -> list[Path]:
        return [item.path for item in self.artifacts()]

    def _java(self, main: str, arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        return java(["-cp", class_path(self._jars), main, *arguments], HEAP_MB, options=options)


def _serves_metadata(servers: str) -> bool:
    """Whether a client gets the cluster's metadata, with a broker in it."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": servers, "log_level": 0, "socket.timeout.ms": 1000})
    try:
        return bool(client.list_topics(timeout=PROBE_TIMEOUT).brokers)
    except KafkaException:
        return False
