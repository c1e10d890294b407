"""Three brokers, each a controller too, on loopback: started, killed and started again one by one."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local import StackConfig
from deploy.local.config import HOST
from deploy.local.kafka import CONFIG, KafkaService
from tests.polling import until
from tests.servers.ports import free_port

NODES = (1, 2, 3)
_SINGLE = {
    "node.id=1": "node.id={node}",
    "controller.quorum.bootstrap.servers={host}:{controller}": "controller.quorum.voters={voters}",
    "replication.factor=1": "replication.factor=3",
    "log.min.isr=1": "log.min.isr=2",
}
"""What a cluster's configuration has instead of the embedded broker's."""


class KafkaCluster:
    """Topics that it is asked for need three replicas of their own; two of them must be in sync."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._service = KafkaService(StackConfig(folder))
        self._ports = {node: (free_port(), free_port()) for node in NODES}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        try:
            for node in NODES:
                self._configure(node)
                format_store = ("format", f"--cluster-id={cluster}", f"--config={self._config(node)}")
                subprocess.run(self._service._java("kafka.tools.StorageTool", format_store), check=True, stdout=-3)
            for node in NODES:
                self.start(node)
            self.wait_for(len(NODES))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @property
    def servers(self) -> str:
        """KAFKA_BOOTSTRAP_SERVERS."""
        return ",".join(f"{HOST}:{port}" for port, _ in self._ports.values())

    def start(self, node: int) -> None:
        """It joins the others by itself."""
        command = self._service._java("kafka.Kafka", [str(self._config(node))])
        with (self._folder / f"kafka-{node}.log").open("ab") as log:
            self._processes[node] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, node: int) -> None:
        """End it as a power cut does."""
        process = self._processes.pop(node)
        process.kill()
        process.wait()

    def wait_for(self, brokers: int) -> None:
        """Return when so many serve, each with all of its partitions in sync."""
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

        def serves() -> bool:
            try:
                metadata = admin.list_topics(timeout=2)
            except KafkaException:
                return False
            partitions = [part for topic in metadata.topics.values() for part in topic.partitions.values()]
            return len(metadata.brokers) >= brokers and all(len(part.isrs) >= brokers for part in partitions)

        until(serves, f"no {brokers} brokers", 60)

    def _config(self, node: int) -> Path:
        return self._folder / f"node-{node}" / "server.properties"

    def _configure(self, node: int) -> None:
        text = CONFIG
        for single, several in _SINGLE.items():
            text = text.replace(single, several)
        voters = ",".join(f"{one}@{HOST}:{controller}" for one, (_, controller) in self._ports.items())
        port, controller = self._ports[node]
        home = self._config(node).parent
        home.mkdir(parents=True)
        given = {"host": HOST, "port": port, "controller": controller, "home": home, "node": node, "voters": voters}
        self._config(node).write_text(text.format(**given))

    def _stop(self) -> None:
        for node in list(self._processes):
            self.kill(node)
