"""A real Redis Cluster on loopback: masters without replicas, every slot with one of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis

from tests.polling import until
from tests.servers.ports import BUS, free_port
from tests.servers.redis import HOST, RedisServer, newest

SLOTS = 16_384
_OPTIONS = {
    "cluster_enabled": "yes",
    "cluster_config_file": "nodes.conf",
    "cluster_node_timeout": 1000,
    "cluster_require_full_coverage": "no",
    "appendonly": "yes",
    "appendfsync": "always",
}


class RedisCluster:
    """`with RedisCluster(folder) as cluster:` returns when every node sees the whole cluster in good state."""

    def __init__(self, folder: Path, size: int = 3):
        binary = newest()
        self.nodes = [RedisServer(folder / f"node-{number}", binary, **_OPTIONS) for number in range(size)]

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.port = free_port(BUS)
                node.start()
            self._assign()
            self._meet()
            until(self.is_good, "the cluster is not in good state")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @property
    def url(self) -> str:
        """Of the first node."""
        return self.nodes[0].url

    def is_good(self) -> bool:
        """Whether every node knows who has which slot."""
        for node in self.nodes:
            with node.client() as client:
                seen = client.execute_command("CLUSTER", "INFO").split()
            wanted = {b"cluster_state:ok", b"cluster_slots_ok:%d" % SLOTS, b"cluster_known_nodes:%d" % len(self.nodes)}
            if not wanted <= set(seen):
                return False
        return True

    def node_of(self, key: str) -> RedisServer:
        """The node that serves `key`."""
        with self.nodes[0].client() as client:
            slot = client.execute_command("CLUSTER", "KEYSLOT", key)
            for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody serves {key}")

    def move(self, key: str, to: RedisServer, half_way: Callable[[], None] = lambda: None) -> None:
        """Move the slot of `key`, with all that is in it, to another node, as `redis-cli --cluster reshard` does.

        `half_way` is called when neither node has all of it.
        """
        source = self.node_of(key)
        with source.client() as giver, to.client() as taker:
            slot = giver.execute_command("CLUSTER", "KEYSLOT", key)
            taker.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(giver))
            giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(taker))
            keys = giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1_000_000)
            middle = len(keys) // 2
            for part in (keys[:middle], keys[middle:]):
                if part:
                    giver.execute_command("MIGRATE", HOST, to.port, "", 0, 5000, "KEYS", *part)
                half_way()
            name = _id(taker)
            for client in (taker, giver):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)

    def _assign(self) -> None:
        for number, node in enumerate(self.nodes):
            first, after = (SLOTS * n // len(self.nodes) for n in (number, number + 1))
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(first, after))
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)

    def _meet(self) -> None:
        """Everyone everyone: hearsay takes seconds."""
        for node, other in permutations(self.nodes, 2):
            with node.client() as client:
                client.execute_command("CLUSTER", "MEET", HOST, other.port)

    def _stop(self) -> None:
        for node in self.nodes:
            node.kill()


def _id(client: Redis) -> bytes:
    name: bytes = client.execute_command("CLUSTER", "MYID")
    return name
