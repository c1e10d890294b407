"""A master, its replicas, and the Sentinels that make one of them master when it dies: all real, all on loopback."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.exceptions import ResponseError

from tests.polling import until
from tests.servers.redis import HOST, RedisServer, newest

MASTER_NAME = "mymaster"
SILENCE = 500
"""Milliseconds until a Sentinel takes a server for dead."""

_CONFIG = f"""\
sentinel monitor {MASTER_NAME} {HOST} {{master}} {{quorum}}
sentinel down-after-milliseconds {MASTER_NAME} {SILENCE}
sentinel failover-timeout {MASTER_NAME} 2000
"""
_HURRY = ("info-period", 200, "publish-period", 200)
_WRONG = "wrong"


class SentinelServer(RedisServer):
    """One Sentinel. It keeps in its configuration file what it has learnt."""

    def __init__(self, folder: Path, binary: str, master: RedisServer, quorum: int):
        super().__init__(folder, binary)
        self._watched = _CONFIG.format(master=master.port, quorum=quorum)

    def _launch(self) -> None:
        config = self.folder / "sentinel.conf"
        if not config.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            config.write_text(f"bind {HOST}\nport {self.port}\ndir {self.folder}\n{self._watched}")
        command = [self.binary, str(config), "--sentinel"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def hurry(self) -> None:
        """Look at the others more often than once in ten seconds, where this version (7.0) can be told to."""
        with self.client() as client, suppress(ResponseError):
            client.execute_command("SENTINEL", "DEBUG", *_HURRY)


class SentinelFleet:
    """The first of `servers` is the master at first, the others are its replicas."""

    def __init__(self, folder: Path, replicas: int = 1, sentinels: int = 1):
        binary = newest()
        folders = (folder / f"redis-{number}" for number in range(replicas + 1))
        self.servers = [RedisServer(each, binary, repl_diskless_sync_delay=0) for each in folders]
        self.sentinels: list[SentinelServer] = []
        self._folder = folder
        self._number = sentinels

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @property
    def addresses(self) -> str:
        """REDIS_SENTINELS."""
        return ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)

    @property
    def master(self) -> RedisServer:
        """The one that the first Sentinel tells its clients; another one when a failover is through."""
        with self.sentinels[0].client() as client:
            port = client.sentinel_master(MASTER_NAME)["port"]
        return next(server for server in self.servers if server.port == port)

    def cut_replication(self) -> None:
        """The replicas have what was written, and from now on hear nothing."""
        master = self.master
        self._catch_up(master)
        for replica in self.servers:
            if replica is not master:
                with replica.client() as client:
                    client.config_set("masterauth", _WRONG)  # a master without a password refuses it
                    client.client_kill_filter(_type="master")
        until(lambda: replicas_of(master) == 0, "replication is not cut")

    def mend_replication(self) -> None:
        """Whoever is a replica hears its master again."""
        for server in self.servers:
            if server.is_running:
                with server.client() as client:
                    client.config_set("masterauth", "")

    def _start(self) -> None:
        master, *replicas = self.servers
        master.start()
        for replica in replicas:
            replica.start()
            follow(replica, master)
        self._catch_up(master)
        for number in range(self._number):
            folder = self._folder / f"sentinel-{number}"
            self.sentinels.append(SentinelServer(folder, master.binary, master, self._number // 2 + 1))
            self.sentinels[-1].start()
            self.sentinels[-1].hurry()
        until(self._is_known, "the Sentinels do not know each other and the replicas")

    def _stop(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()

    def _catch_up(self, master: RedisServer) -> None:
        """Return when the replicas have what was written so far."""
        with master.client() as client:
            client.set("barrier", 1)  # WAIT is about what its own connection wrote
            assert client.wait(len(self.servers) - 1, 5000) == len(self.servers) - 1

    def _is_known(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                seen = client.sentinel_master(MASTER_NAME)
            if seen["num-slaves"] < len(self.servers) - 1 or seen["num-other-sentinels"] < self._number - 1:
                return False
        return True


def follow(replica: RedisServer, master: RedisServer) -> None:
    """Make one server the replica of another; return when it has what the other has."""
    with replica.client() as client:
        client.replicaof(HOST, master.port)
        until(lambda: client.info("replication")["master_link_status"] == "up", "no replication")


def replicas_of(server: RedisServer) -> int:
    """How many replicas are connected."""
    with server.client() as client:
        return int(client.info("replication")["connected_slaves"])
